"""The driver and the twin's LLRP reader, written by different hands from one standard: what one says the other gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from drivers.contract import DeviceUnavailable
from drivers.model import Reason
from simulators.faces import Sighting
from simulators.faults import Fault, FaultKind
from simulators.llrp import LlrpEndpoint
from tests.drivers.rfid.listener import carried, driver, reading

SSCC, SGTIN = "3114257BF4499602D2000000", "3034257BF7194E4000001A85"


@dataclass
class Portal:
    """Antenna 1 sees a pallet, antenna 2 a carton."""

    name: str = "portal-1"
    antennas: int = 2
    tags: list[Sighting] = field(
        default_factory=lambda: [
            Sighting(1, bytes.fromhex(SSCC), -53, 3),
            Sighting(2, bytes.fromhex(SGTIN), -61, 3),
        ]
    )

    def inventory(self, antennas: Collection[int]) -> Sequence[Sighting]:
        return [tag for tag in self.tags if tag.antenna in antennas]


@pytest.fixture
async def endpoint() -> AsyncIterator[LlrpEndpoint]:
    made = LlrpEndpoint("portal-1", Portal(), host="127.0.0.1", port=0, random=Random(1), rounds_per_s=100)
    async with asyncio.TaskGroup() as group:
        await made.open(group)
        yield made
        await made.close()


def _driver(endpoint: LlrpEndpoint, **keys: Any) -> Any:
    return driver(endpoint.url, **({"keepalive": "100ms", "timeout": "1s"} | keys))


async def _failure(made: Any) -> DeviceUnavailable:
    try:
        async with reading(made) as readings:
            async for _ in readings:
                pass
    except DeviceUnavailable as error:
        return error
    raise AssertionError("readings end by an error only")


async def test_tags_at_their_antennas_are_read(endpoint: LlrpEndpoint) -> None:
    async with reading(_driver(endpoint)) as readings:
        found = [carried(await anext(readings)) for _ in range(2)]
    assert {(each["epc"], each["uri"], each["antenna"], each["rssi"]) for each in found} == {
        (SSCC, "urn:epc:id:sscc:0614141.1234567890", 1, -53),
        (SGTIN, "urn:epc:id:sgtin:0614141.812345.6789", 2, -61),
    }


async def test_every_setting_is_accepted(endpoint: LlrpEndpoint) -> None:
    keys = {
        "antennas": [2],
        "power": 27.5,
        "channel": 4,
        "session": 2,
        "population": 8,
        "mode": 1000,
        "filter": ["31", "3034"],
        "factory_reset": True,
    }
    async with reading(_driver(endpoint, **keys)) as readings:
        assert carried(await anext(readings))["epc"] == SGTIN


async def test_the_filter_reaches_the_reader(endpoint: LlrpEndpoint) -> None:
    async with reading(_driver(endpoint, filter="3034", window="none")) as readings:
        assert {carried(await anext(readings))["epc"] for _ in range(5)} == {SGTIN}


async def test_a_periodic_inventory_is_read(endpoint: LlrpEndpoint) -> None:
    keys = {"duration": "20ms", "periodic": "60ms", "window": "none"}
    async with reading(_driver(endpoint, **keys)) as readings:
        for _ in range(20):
            assert carried(await anext(readings))["epc"] in (SSCC, SGTIN)


async def test_who_asks_for_llrp_1_1_gets_along_with_a_reader_of_1_0_1(endpoint: LlrpEndpoint) -> None:
    async with reading(_driver(endpoint, version="1.1")) as readings:
        await anext(readings)


async def test_a_reader_is_free_again_after_leave_was_taken(endpoint: LlrpEndpoint) -> None:
    made = _driver(endpoint)
    for _ in range(3):
        async with reading(made) as readings:
            await anext(readings)


async def test_a_reader_that_has_a_client_refuses_the_next(endpoint: LlrpEndpoint) -> None:
    async with reading(_driver(endpoint)) as readings:
        await anext(readings)
        error = await _failure(_driver(endpoint))
        assert "another client has it" in error.message
        await anext(readings)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (FaultKind.BUSY, Reason.DEVICE_ERROR),
        (FaultKind.CLOSE_EVENT, Reason.COMM_FAILURE),
        (FaultKind.HANG, Reason.TIMEOUT),
        (FaultKind.SILENT, Reason.TIMEOUT),
        (FaultKind.REFUSE, Reason.COMM_FAILURE),
        (FaultKind.RESET, Reason.COMM_FAILURE),
        (FaultKind.EXCEPTION, Reason.DEVICE_ERROR),
    ],
)
async def test_a_reader_at_fault_is_unavailable_and_read_again_when_it_is_well(
    endpoint: LlrpEndpoint, fault: FaultKind, reason: Reason
) -> None:
    made = _driver(endpoint, timeout="200ms")
    await endpoint.impose(Fault(fault, code=101 if fault is FaultKind.EXCEPTION else 0))
    assert (await _failure(made)).reason is reason
    await endpoint.impose(Fault())
    async with reading(made) as readings:
        await anext(readings)


@pytest.mark.parametrize("fault", [FaultKind.SPLIT, FaultKind.MERGED])
async def test_messages_that_come_in_pieces_or_together_are_read(endpoint: LlrpEndpoint, fault: FaultKind) -> None:
    await endpoint.impose(Fault(fault))
    async with reading(_driver(endpoint, window="none")) as readings:
        for _ in range(20):
            assert carried(await anext(readings))["epc"] in (SSCC, SGTIN)


@pytest.mark.parametrize("fault", [FaultKind.GARBLE, FaultKind.HALF_FRAME])
async def test_garbage_is_never_a_tag(endpoint: LlrpEndpoint, fault: FaultKind) -> None:
    async with reading(_driver(endpoint, window="none", timeout="200ms")) as readings:
        await anext(readings)
        await endpoint.impose(Fault(fault))
        found: list[object] = []

        async def listen() -> None:
            async for reading in readings:
                found.append(carried(reading)["epc"])  # noqa: PERF401  what came before the error counts

        with pytest.raises(DeviceUnavailable):
            await listen()
        assert set(found) <= {SSCC, SGTIN, None}


async def test_a_reader_that_restarts_is_read_again(endpoint: LlrpEndpoint) -> None:
    made = _driver(endpoint)
    async with reading(made) as readings:
        await anext(readings)
        await endpoint.impose(Fault(FaultKind.RESTART))
        with pytest.raises(DeviceUnavailable):
            async for _ in readings:
                pass
    async with reading(made) as readings:
        await anext(readings)


async def test_lost_reports_and_a_lost_antenna_are_told(endpoint: LlrpEndpoint) -> None:
    async with reading(_driver(endpoint, antennas=[1, 2])) as readings:
        for _ in range(2):
            await anext(readings)
        await endpoint.impose(Fault(FaultKind.ANTENNA_LOST, code=2))
        found = await anext(readings)
        assert (carried(found)["antenna"], carried(found)["epc"]) == (2, None)
        await endpoint.impose(Fault(FaultKind.BUFFER_OVERFLOW))
        found = await anext(readings)
        assert {str(quality) for quality in found.quality.values()} == {"bad:device-error"}


async def test_a_reader_with_a_wrong_clock_is_read_in_our_time(endpoint: LlrpEndpoint) -> None:
    await endpoint.impose(Fault(FaultKind.WRONG_CLOCK, offset_s=-8e8))
    async with reading(_driver(endpoint)) as readings:
        assert str(carried(await anext(readings))["last_seen"]) > "2026"
