"""An LLRP client that is not ours: sllurp inventories the simulated reader. It has threads, so it is a process."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from simulators.faults import Fault, FaultKind
from simulators.llrp import LlrpEndpoint
from tests.simulators.llrp.desk import CARTON, PALLET, StillPortal, tag

CLIENT = Path(__file__).parent / "sllurp_client.py"
FIELDS = {
    "tag_content_selector": {
        "EnableROSpecID": True,
        "EnableSpecIndex": True,
        "EnableInventoryParameterSpecID": True,
        "EnableAntennaID": True,
        "EnableChannelIndex": True,
        "EnablePeakRSSI": True,
        "EnableFirstSeenTimestamp": True,
        "EnableLastSeenTimestamp": True,
        "EnableTagSeenCount": True,
        "EnableAccessSpecID": False,
    }
}
NOW_US = 1_767_225_600_123_456


class Sllurp:
    """What the process has printed, as it comes."""

    def __init__(self, process: asyncio.subprocess.Process, endpoint: LlrpEndpoint) -> None:
        self._process = process
        self._endpoint = endpoint

    async def next(self, key: str) -> Any:
        """The next thing of this kind that it tells."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            if key in (found := json.loads(line)):
                return found[key]
        raise AssertionError(f"sllurp ended without telling {key}")

    async def end(self) -> bool:
        """Disconnect; whether its thread is still there after that.

        sllurp expects an answer only after it has sent the request, so it may miss one that comes at once.
        """
        await self._endpoint.impose(Fault(FaultKind.SLOW, delay_s=0.1))
        assert self._process.stdin is not None
        self._process.stdin.close()
        alive: bool = await self.next("alive")
        return alive


Start = Callable[..., Any]


@pytest.fixture
async def endpoint(portal: StillPortal) -> AsyncIterator[LlrpEndpoint]:
    endpoint = LlrpEndpoint("rfid-1", portal, host="127.0.0.1", port=0, random=Random(1), wall_ns=lambda: NOW_US * 1000)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        await endpoint.open(group)
        yield endpoint
        await endpoint.close()


@pytest.fixture
def sllurp(endpoint: LlrpEndpoint) -> Start:
    @asynccontextmanager
    async def run(**settings: Any) -> AsyncIterator[Sllurp]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(CLIENT),
            endpoint.url.rsplit(":", 1)[1],
            json.dumps({"antennas": [1, 2], "duration": 0.2, **FIELDS, **settings}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            yield Sllurp(process, endpoint)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    return run


async def test_it_reads_the_tags_of_the_portal(sllurp: Start, portal: StillPortal) -> None:
    portal.tags = [tag(PALLET, antenna=1, rssi=-53, channel=3), tag(CARTON, antenna=2, rssi=-61, channel=1)]
    async with sllurp() as client:
        pallet, carton = await client.next("tags")
        assert pallet.pop("TagSeenCount") > 1
        assert carton.pop("TagSeenCount") > 1
        everywhere = {
            "ROSpecID": 1,
            "SpecIndex": 1,
            "InventoryParameterSpecID": 1,
            "FirstSeenTimestampUTC": NOW_US,
            "LastSeenTimestampUTC": NOW_US,
        }
        epc = PALLET.lower()
        assert pallet == everywhere | {"EPC-96": epc, "EPC": epc, "AntennaID": 1, "PeakRSSI": -53, "ChannelIndex": 3}
        epc = CARTON.lower()
        assert carton == everywhere | {"EPC-96": epc, "EPC": epc, "AntennaID": 2, "PeakRSSI": -61, "ChannelIndex": 1}
        assert await client.end() is False


async def test_it_is_reported_to_again_and_again(sllurp: Start) -> None:
    async with sllurp() as client:
        for _ in range(3):
            ((seen),) = await client.next("tags")
            assert seen["AntennaID"] == 1
        assert await client.end() is False


async def test_a_report_for_every_n_tags(sllurp: Start) -> None:
    async with sllurp(report_every_n_tags=4, duration=None) as client:
        for _ in range(3):
            ((seen),) = await client.next("tags")
            assert seen["TagSeenCount"] == 4
        assert await client.end() is False


async def test_it_understands_what_the_reader_is(sllurp: Start) -> None:
    async with sllurp() as client:
        capabilities = await client.next("capabilities")
        general = capabilities["GeneralDeviceCapabilities"]
        assert general["MaxNumberOfAntennaSupported"] == 2
        assert general["DeviceManufacturerName"] == 25882
        assert general["ModelName"] == 2001002
        assert general["ReaderFirmwareVersion"] == "sim-1.0"
        band = capabilities["RegulatoryCapabilities"]["UHFBandCapabilities"]
        assert [each["TransmitPowerValue"] for each in band["TransmitPowerLevelTableEntry"]] == [1000, 3000]
        assert await client.end() is False


async def test_a_mode_and_a_filter_that_it_sets_are_taken(sllurp: Start, portal: StillPortal) -> None:
    portal.tags = [tag(PALLET), tag(CARTON)]
    async with sllurp(mode_identifier=1000, session=1, tag_filter_mask=["30"]) as client:
        ((seen),) = await client.next("tags")
        assert seen["EPC"] == CARTON.lower()
        assert await client.end() is False


async def test_it_hears_of_a_lost_antenna(sllurp: Start, endpoint: LlrpEndpoint) -> None:
    async with sllurp(event_selector={"AntennaEvent": True}) as client:
        await client.next("tags")
        await endpoint.impose(Fault(FaultKind.ANTENNA_LOST, code=2))
        while "AntennaEvent" not in (event := await client.next("event")):
            pass
        assert event["AntennaEvent"] == {"EventType": "Disconnected", "AntennaID": 2}
        assert await client.end() is False


@pytest.mark.parametrize("cut", [FaultKind.SPLIT, FaultKind.MERGED])
async def test_it_reads_however_the_stream_is_cut(cut: FaultKind, sllurp: Start, endpoint: LlrpEndpoint) -> None:
    await endpoint.impose(Fault(cut))
    async with sllurp() as client:
        assert [each["EPC"] for each in await client.next("tags")] == [PALLET.lower()]
        assert await client.end() is False


async def test_a_second_one_is_told_that_there_is_one_already(sllurp: Start) -> None:
    async with sllurp() as first, sllurp() as second:
        told = set()
        for client in (first, second):
            while "ConnectionAttemptEvent" not in (event := await client.next("event")):
                pass
            told.add(event["ConnectionAttemptEvent"]["Status"])
        assert "Success" in told
        assert len(told) == 2
