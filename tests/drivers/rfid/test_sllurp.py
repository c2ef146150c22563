"""sllurp, an LLRP client of other people, builds the same requests and reads the same reports."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sllurp.llrp import LLRPMessage
from sllurp.llrp_proto import LLRPROSpec

from drivers.rfid.llrp import events, requests
from drivers.rfid.llrp.capabilities import parse_capabilities
from drivers.rfid.llrp.framing import Framer, frame
from drivers.rfid.llrp.reports import parse_reports
from drivers.rfid.llrp.requests import Air, Event, Inventory, Request, Transmitter
from tests.drivers.rfid import scripted_reader as scripted

TIME_US = 1767225600123456


def _theirs(name: str, **fields: Any) -> bytes:
    built: bytes = LLRPMessage({name: {"Ver": 1, "ID": 257, **fields}}).msgbytes
    return built


OUR_ROSPEC = 0x48474154


def _ours(request: Request) -> bytes:
    return frame(request.kind, 257, request.body)


def _rospec(**fields: Any) -> Any:
    """Theirs, with what we do otherwise: it is started by us, reports every tag, and tells more of it."""
    rospec = LLRPROSpec({"ModeIdentifier": 1000, "MaxTari": 0}, OUR_ROSPEC, **fields)
    rospec["ROBoundarySpec"]["ROSpecStartTrigger"]["ROSpecStartTriggerType"] = "Null"
    rospec["ROReportSpec"]["N"] = 1
    selector = rospec["ROReportSpec"]["TagReportContentSelector"]
    selector |= {"EnableChannelIndex": True, "EnableFirstSeenTimestamp": True}
    selector["C1G2EPCMemorySelector"]["EnablePCBits"] = True
    return rospec


def test_the_same_rospec_is_built() -> None:
    air = Air(Transmitter(power_index=81, hop_table=1, channel=1), mode=1000, session=1, population=32)
    theirs = _rospec(antennas=(1, 2), tx_power=81, session=1, tag_population=32)
    assert _ours(requests.add_rospec(Inventory((1, 2), {1: air, 2: air}))) == _theirs("ADD_ROSPEC", ROSpec=theirs)


def test_the_same_mask_is_built() -> None:
    air = Air(prefixes=("3034F0",), mode=1000, session=0, population=1)
    theirs = _theirs("ADD_ROSPEC", ROSpec=_rospec(session=0, tag_population=1, tag_filter_mask=["3034F0"]))
    mask = bytes.fromhex("014c000c4000200018 3034f0")
    assert mask in theirs
    assert mask in _ours(requests.add_rospec(Inventory((1,), {1: air})))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (requests.get_capabilities(), _theirs("GET_READER_CAPABILITIES", RequestedData=0)),
        (requests.delete_rospec(0), _theirs("DELETE_ROSPEC", ROSpecID=0)),
        (requests.enable_rospec(), _theirs("ENABLE_ROSPEC", ROSpecID=OUR_ROSPEC)),
        (requests.start_rospec(), _theirs("START_ROSPEC", ROSpecID=OUR_ROSPEC)),
        (requests.stop_rospec(), _theirs("STOP_ROSPEC", ROSpecID=OUR_ROSPEC)),
        (requests.close_connection(), _theirs("CLOSE_CONNECTION")),
        (
            requests.set_config(
                keepalive_ms=10_000, events=[(Event.ROSPEC, True), (Event.AISPEC_END, False), (Event.ANTENNA, True)]
            ),
            _theirs(
                "SET_READER_CONFIG",
                ResetToFactoryDefaults=False,
                ReaderEventNotificationSpec={
                    "EventNotificationState": {"ROSpecEvent": True, "AISpecEvent": False, "AntennaEvent": True}
                },
                KeepaliveSpec={"KeepaliveTriggerType": 1, "TimeInterval": 10_000},
            ),
        ),
    ],
)
def test_the_same_request_is_built(ours: Request, theirs: bytes) -> None:
    assert _ours(ours) == theirs


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        (
            "ConnectionAttemptEvent",
            {"Status": "Failed (a Client initiated connection already exists)"},
            events.ConnectionAttempt(2),
        ),
        ("ConnectionCloseEvent", {}, events.ConnectionClosed()),
        ("AntennaEvent", {"EventType": "Disconnected", "AntennaID": 2}, events.AntennaChanged(2, is_connected=False)),
        (
            "ROSpecEvent",
            {"EventType": "End_of_ROSpec", "ROSpecID": 1, "PreemptingROSpecID": 0},
            events.InventoryEnded(1, was_preempted=False),
        ),
        ("ReportBufferOverflowErrorEvent", {}, events.BufferOverflowed()),
    ],
)
def test_an_event_that_they_build_is_read(name: str, fields: dict[str, Any], expected: events.Event) -> None:
    data = {"UTCTimestamp": {"Microseconds": TIME_US}, name: fields}
    built = _theirs("READER_EVENT_NOTIFICATION", ReaderEventNotificationData=data)
    (message,) = Framer().feed(built)
    assert events.parse_notification(message.body) == events.Notification(TIME_US, (expected,))


@given(
    st.lists(
        st.tuples(
            st.binary(min_size=12, max_size=12),
            st.integers(1, 65535),
            st.integers(-128, 127),
            st.integers(0, 2**64 - 1),
            st.integers(0, 65535),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_both_read_the_same_tags(tags: list[tuple[bytes, int, int, int, int]]) -> None:
    frame_ = scripted.report(
        *(
            scripted.tag(epc, antenna=antenna, rssi=rssi, first_us=time_us, last_us=time_us, count=count)
            for epc, antenna, rssi, time_us, count in tags
        )
    )
    theirs = LLRPMessage(msgbytes=frame_).msgdict["RO_ACCESS_REPORT"]["TagReportData"]
    (message,) = Framer().feed(frame_)
    ours = [*parse_reports(message.body)]
    assert [
        (
            report.epc.hex().encode(),
            report.antenna,
            report.rssi_dbm,
            report.seen_count,
            report.first_seen_us,
            report.last_seen_us,
        )
        for report in ours
    ] == [
        (
            tag["EPC"],
            tag["AntennaID"],
            tag["PeakRSSI"],
            tag["TagSeenCount"],
            tag["FirstSeenTimestampUTC"],
            tag["LastSeenTimestampUTC"],
        )
        for tag in theirs
    ]


def test_both_read_the_same_capabilities() -> None:
    body = scripted.CAPABILITIES
    theirs = LLRPMessage(msgbytes=scripted.message(11, 1, body)).msgdict["GET_READER_CAPABILITIES_RESPONSE"]
    ours = parse_capabilities(body)
    general, regulatory = theirs["GeneralDeviceCapabilities"], theirs["RegulatoryCapabilities"]
    assert ours.antennas == general["MaxNumberOfAntennaSupported"]
    assert (ours.manufacturer, ours.model) == (general["DeviceManufacturerName"], general["ModelName"])
    band = regulatory["UHFBandCapabilities"]
    powers = [(power["Index"], power["TransmitPowerValue"]) for power in band["TransmitPowerLevelTableEntry"]]
    assert ours.powers == tuple(powers)
    assert ours.fixed_channels == band["FrequencyInformation"]["FixedFrequencyTable"]["NumFrequencies"]
    assert ours.modes == tuple(mode["ModeIdentifier"] for mode in band["UHFC1G2RFModeTable"]["UHFC1G2RFModeTableEntry"])
    assert ours.holds_reports == theirs["LLRPCapabilities"]["SupportsEventAndReportHolding"]
