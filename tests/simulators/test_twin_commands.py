"""What a person can do to the machines of a hub over the control port, and what is shown of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from simulators.layout import Layout, parse_layout
from simulators.running import Running, simulate

Post = Callable[..., Any]
Until = Callable[..., Any]
EPC = "3114257BF4499602D2000000"


@pytest.fixture
def layout() -> Layout:
    """One of every machine; the conveyor has an endpoint."""
    belt = {"length_m": 3.0, "speed_mm_s": 1000}
    return parse_layout(
        {
            "lines": [
                {
                    "name": "line",
                    "machines": [
                        {"kind": "conveyor", "name": "infeed", **belt, "endpoints": [{"kind": "modbus-tcp"}]},
                        {"kind": "scale", "name": "weigher", **belt},
                        {"kind": "portal", "name": "portal", **belt},
                        {"kind": "sorter", "name": "sorter", "chutes": ["A", "B", "rest"]},
                    ],
                }
            ],
            "platforms": [{"name": "counter", "loads_per_hour": 0.001}],
            "doors": [{"name": "door"}],
        }
    )


@pytest.fixture
async def running(layout: Layout) -> AsyncIterator[Running]:
    async with asyncio.timeout(30), simulate(layout, seed=1, speed_factor=20) as running:
        yield running


async def test_the_twin_shows_every_machine(running: Running) -> None:
    async with aiohttp.ClientSession(running.control_url) as http, http.get("/twin") as response:
        twin = json.loads(await response.text())
    assert list(twin["conveyors"]) == ["infeed", "weigher", "portal"]
    assert list(twin["scales"]) == ["weigher", "counter"]
    assert list(twin["portals"]) == ["portal", "door"]
    assert list(twin["sorters"]) == ["sorter"]


async def test_a_load_is_put_on_a_scale_and_taken_off(running: Running, post: Post, until: Until) -> None:
    cell = running.twin.scales["counter"]
    assert (await post("/twin", {"scale": "counter", "load_kg": 12.5}))[0] == 200
    await until(lambda: cell.indication().is_stable and abs(cell.indication().gross_kg) > 12)
    assert (await post("/twin", {"scale": "counter", "load_kg": 0}))[0] == 200
    await until(lambda: cell.indication().is_stable and abs(cell.indication().gross_kg) < 1)


async def test_a_tag_is_placed_at_a_portal_and_removed(running: Running, post: Post) -> None:
    status, answer = await post("/twin", {"portal": "door", "place": EPC.lower(), "away_m": 0.5})
    assert status == 200
    assert answer["door"]["standing"] == [{"epc": EPC, "away_m": 0.5}]
    seen = {sighting.epc.hex().upper() for sighting in running.twin.portals["door"].inventory([1, 2])}
    assert EPC in seen
    status, answer = await post("/twin", {"portal": "door", "remove": EPC})
    assert answer["door"]["standing"] == []


async def test_a_sorter_is_commanded_and_its_speed_set(running: Running, post: Post, until: Until) -> None:
    sorter = running.twin.sorters["sorter"]
    status, answer = await post("/twin", {"sorter": "sorter", "command": "hold", "speed_m_s": 0.5})
    assert status == 200
    assert answer["sorter"]["state"] in {"HOLDING", "HELD"}
    assert sorter.speed_setpoint_m_s == 0.5
    await until(lambda: sorter.state.name == "HELD")


async def test_a_chute_is_emptied(running: Running, post: Post, until: Until) -> None:
    sorter = running.twin.sorters["sorter"]
    await until(lambda: sorter.held["A"].held > 0)
    received = sorter.chutes["A"]
    status, answer = await post("/twin", {"sorter": "sorter", "empty": "A"})
    assert status == 200
    assert answer["sorter"]["chutes"]["A"]["held"] == 0
    assert sorter.chutes["A"] >= received


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"scale": "infeed", "load_kg": 1}, 'there is no scale "infeed"; there are weigher, counter'),
        ({"scale": "counter"}, "nothing to do; give one of: load_kg"),
        ({"scale": "counter", "load_kg": "heavy"}, "load_kg: "),
        ({"scale": "counter", "sorter": "sorter"}, "name one machine"),
        ({"portal": "door", "place": "E2"}, "place: "),
        ({"portal": "door", "place": "xyzt"}, "place: "),
        ({"portal": "door", "remove": EPC}, f'no tag "{EPC}" stands at "door"'),
        ({"portal": "door", "remove": EPC, "away_m": 1}, '"away_m" goes with "place"'),
        ({"sorter": "sorter", "command": "jump"}, 'there is no command "jump"; there are reset, start'),
        ({"sorter": "sorter", "command": "start"}, '"sorter" takes no "start" while it is EXECUTE'),
        ({"sorter": "sorter", "speed_m_s": 2.5}, '"speed_m_s" of "sorter" must be 0 to 2'),
        ({"sorter": "sorter", "empty": "Z"}, 'there is no chute "Z"; there are A, B, rest'),
        ({"sorter": "sorter", "jam": True}, "jam: Extra inputs"),
        ("[", "Invalid JSON"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_the_reason(post: Post, body: Any, says: str) -> None:
    status, answer = await post("/twin", body)
    assert status == 400
    assert says in answer["error"]
