"""From settings and capabilities to what the ROSpec says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drivers.rfid.llrp.capabilities import Capabilities, parse_capabilities
from drivers.rfid.llrp.plan import inventory
from drivers.rfid.llrp.requests import Air, Inventory, Transmitter
from drivers.rfid.settings import RfidDeviceSettings
from tests.drivers.rfid import scripted_reader as scripted

ETSI = parse_capabilities(scripted.CAPABILITIES)
FCC = replace(ETSI, hop_tables=(3,), fixed_channels=0)
UNKNOWN = Capabilities()


def _device(**keys: Any) -> RfidDeviceSettings:
    return RfidDeviceSettings.model_validate({"name": "portal", "driver": "rfid", "url": "llrp://reader", **keys})


def test_without_settings_everything_is_left_as_it_is() -> None:
    assert inventory([_device()], ETSI) == Inventory(antennas=(0,), air={})


def test_settings_without_antennas_are_those_of_all() -> None:
    found = inventory([_device(power=12, mode=1000, session=2, filter="31")], ETSI)
    air = Air(Transmitter(1, hop_table=0, channel=1), mode=1000, session=2, population=32, prefixes=("31",))
    assert found == Inventory(antennas=(0,), air={0: air})


def test_each_portal_has_its_own_settings_at_its_own_antennas() -> None:
    found = inventory([_device(antennas=[2], session=1, population=5), _device(antennas=[1])], ETSI)
    assert found == Inventory(antennas=(2, 1), air={2: Air(session=1, population=5)})


def test_a_region_with_fixed_frequencies_has_a_channel_and_no_hop_table() -> None:
    found = inventory([_device(power=30, channel=4)], ETSI)
    assert found.air == {0: Air(Transmitter(2, hop_table=0, channel=4))}


def test_a_region_that_hops_has_the_hop_table_that_the_reader_names() -> None:
    assert inventory([_device(power=30)], FCC).air == {0: Air(Transmitter(2, hop_table=3, channel=1))}


def test_time_is_told_in_milliseconds() -> None:
    found = inventory([_device(duration="1.5s", periodic="1m")], ETSI)
    assert (found.duration_ms, found.period_ms) == (1500, 60_000)


@pytest.mark.parametrize(
    ("keys", "capabilities", "message"),
    [
        ({"antennas": [1, 3]}, ETSI, "there is no antenna 3; the reader has 2"),
        ({"mode": 7}, ETSI, "there is no mode 7; the reader has 1000"),
        ({"filter": ["31", "30", "33"]}, ETSI, "filter has 3 entries; the reader takes 2"),
        ({"power": 30, "channel": 5}, ETSI, "there is no channel 5; the reader has 4"),
        ({"power": 30, "channel": 1}, FCC, "there is no channel 1; the reader hops"),
        ({"power": 9}, ETSI, "power 9 dBm is not possible; the reader offers 10 to 30 dBm"),
        ({"power": 9}, UNKNOWN, "no table of powers"),
    ],
)
def test_what_the_reader_cannot_do_is_told(keys: dict[str, Any], capabilities: Capabilities, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inventory([_device(**keys)], capabilities)


def test_a_reader_that_says_nothing_of_itself_is_believed_to_do_it() -> None:
    found = inventory([_device(antennas=[9], mode=7, filter=["31", "30", "33"])], UNKNOWN)
    assert found.antennas == (9,)
