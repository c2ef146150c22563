"""The control port: what it shows, what it commands, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from simulators.running import Running

Post = Callable[..., Any]


async def get(running: Running, path: str) -> Any:
    async with aiohttp.ClientSession(running.control_url) as http, http.get(path) as response:
        assert response.status == 200
        return await response.json()


async def test_the_root_lists_endpoints_with_units_and_faults(running: Running, post: Post) -> None:
    await post("/faults", {"endpoint": "plc-2", "unit": 7, "fault": "hang"})
    shown = (await get(running, "/"))["endpoints"]
    assert {name: endpoint["url"] for name, endpoint in shown.items()} == running.endpoints
    assert shown["line-1"]["units"] == {"1": "third", "2": "fourth"}
    assert shown["plc-2"]["faults"] == {"7": "hang"}
    assert shown["plc-1"]["faults"] == {}


async def test_the_twin_is_shown_as_it_is(running: Running) -> None:
    twin = await get(running, "/twin")
    assert list(twin["conveyors"]) == ["first", "second", "third", "fourth"]
    on_belts = sum(len(conveyor["parcels"]) for conveyor in twin["conveyors"].values())
    assert twin["entered"] - twin["gone"] - on_belts in {0, 1}, "at most one is on the chute"


async def test_the_twin_takes_commands(running: Running, post: Post) -> None:
    status, answer = await post("/twin", {"conveyor": "first", "run": False, "speed_mm_s": 300, "jam": True})
    assert status == 200
    assert (answer["first"]["run"], answer["first"]["setpoint_mm_s"]) == (False, 300)
    belt = running.twin.conveyors["first"]
    assert (belt.run, belt.setpoint_mm_s) == (False, 300)


async def test_a_jam_is_made_and_cleared(running: Running, post: Post) -> None:
    belt = running.twin.conveyors["first"]
    await post("/twin", {"conveyor": "first", "jam": True})
    twin = await get(running, "/twin")
    while twin["conveyors"]["first"]["stuck"] is None:
        twin = await get(running, "/twin")
    status, _ = await post("/twin", {"conveyor": "first", "jam": False})
    assert status == 200
    assert belt.stuck is None


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{", "Invalid JSON"),
        ("[]", "Input should be an object"),
        ({"endpoint": "plc-1", "fault": "explode"}, "fault: Input should be 'none', 'refuse'"),
        ({"endpoint": "nowhere", "fault": "hang"}, 'there is no endpoint "nowhere"; there are plc-1'),
        ({"device": "nobody", "fault": "hang"}, 'there is no device "nobody"'),
        ({"device": "first", "fault": "hang"}, "plc-1 unit 1, plc-2 unit 7; name the endpoint too"),
        ({"fault": "hang"}, "name an endpoint or a device"),
        ({"unit": 1, "device": "third", "fault": "hang"}, "a unit goes with an endpoint"),
        ({"endpoint": "plc-1", "unit": 3, "fault": "hang"}, 'there is no unit 3 on "plc-1"; it has 1'),
        ({"endpoint": "plc-1", "unit": 1, "fault": "refuse"}, "concerns the connection"),
        ({"endpoint": "line-1", "fault": "refuse"}, "is not possible"),
        ({"endpoint": "plc-1", "fault": "slow"}, '"delay_ms" goes with'),
        ({"endpoint": "plc-1", "fault": "hang", "delay_ms": 5}, '"delay_ms" goes with'),
        ({"endpoint": "plc-1", "fault": "exception"}, '"code" goes with'),
        ({"endpoint": "plc-1", "fault": "exception", "code": 300}, 'code 300 is not possible on "plc-1": 1 to 255'),
        ({"endpoint": "plc-1", "fault": "exception", "code": 0}, "code: "),
        ({"endpoint": "plc-1", "fault": "hang", "offset_s": 5}, '"offset_s" goes with'),
        ({"endpoint": "plc-1", "fault": "overload"}, "it can: none, refuse, reset, hang"),
        ({"endpoint": "plc-1", "fault": "hang", "for_s": -1}, "for_s: "),
        ({"endpoint": "plc-1", "fault": "none", "for_s": 1}, '"for_s" does not go with'),
        ({"endpoint": "plc-1", "fault": "hang", "for": 1}, "for: Extra inputs"),
    ],
)
async def test_faults_that_cannot_be_are_refused_with_the_reason(post: Post, body: Any, says: str) -> None:
    status, answer = await post("/faults", body)
    assert status == 400
    assert says in answer["error"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"conveyor": "fifth", "jam": True}, 'there is no conveyor "fifth"; there are first, second, third, fourth'),
        ({"conveyor": "first"}, "nothing to do"),
        ({"conveyor": "first", "jam": False, "clear_after_s": 3}, '"clear_after_s" goes with'),
        ({"conveyor": "first", "speed_mm_s": 2501}, "speed_mm_s: "),
        ({"jam": True}, "name one machine; the key is one of: conveyor, scale, portal, sorter"),
    ],
)
async def test_commands_that_cannot_be_are_refused_with_the_reason(post: Post, body: Any, says: str) -> None:
    status, answer = await post("/twin", body)
    assert status == 400
    assert says in answer["error"]
