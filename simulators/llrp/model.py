"""What kind of reader this is, and how it answers GET_READER_CAPABILITIES (LLRP 1.0.1, sections 9.1 and 16.2.3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from simulators.llrp.codes import Tlv
from simulators.llrp.wire import tlv

_HAS_UTC_CLOCK = 0x4000
_WARNS_OF_FULL_BUFFER_AND_HOLDS_REPORTS = 0x48
_BLOCK_WRITE = 0x40
_C1G2 = 1

MAX_SPECS = 32
"""How many AISpecs a ROSpec may have."""
MAX_FILTERS = 2
GPIO_PORTS = 4


@dataclass(frozen=True, slots=True)
class Model:
    """A reader for ETSI EN 302 208 with four channels; its numbers are those of an Impinj Speedway R420.

    It keeps one ROSpec, as that reader does. `report_capacity` is how many reports and events it keeps for a client
    that does not take them, and how many tags it collects in one report. With `omits_unchanged` it leaves out fields of
    a report that have the value of the last one sent, as section 14.2.3 allows.
    """

    manufacturer: int = 25882
    model: int = 2001002
    firmware: str = "sim-1.0"
    mac: bytes = bytes.fromhex("001625fffe100001")
    powers_cdbm: tuple[int, ...] = (1000, 3000)
    channels_khz: tuple[int, ...] = (865700, 866300, 866900, 867500)
    mode: int = 1000
    report_capacity: int = 10_000
    omits_unchanged: bool = False


def general(model: Model, antennas: int) -> bytes:
    firmware = model.firmware.encode()
    return tlv(
        Tlv.GENERAL_DEVICE_CAPABILITIES,
        struct.pack(">HHIIH", antennas, _HAS_UTC_CLOCK, model.manufacturer, model.model, len(firmware)),
        firmware,
        tlv(Tlv.RECEIVE_SENSITIVITY_TABLE_ENTRY, struct.pack(">Hh", 1, 0)),
        tlv(Tlv.GPIO_CAPABILITIES, struct.pack(">HH", GPIO_PORTS, GPIO_PORTS)),
        *(
            tlv(Tlv.PER_ANTENNA_AIR_PROTOCOL, struct.pack(">HHB", antenna, 1, _C1G2))
            for antenna in range(1, antennas + 1)
        ),
    )


def llrp() -> bytes:
    """One priority, one ROSpec, one InventoryParameterSpec in an AISpec. AccessSpecs are announced as an R420 does;
    adding one is refused, since the tags of the twin have an EPC and no other memory."""
    return tlv(
        Tlv.LLRP_CAPABILITIES,
        struct.pack(">BBHIIIII", _WARNS_OF_FULL_BUFFER_AND_HOLDS_REPORTS, 1, 0, 1, MAX_SPECS, 1, 1508, 8),
    )


def regulatory(model: Model) -> bytes:
    powers = [
        tlv(Tlv.TRANSMIT_POWER_LEVEL_TABLE_ENTRY, struct.pack(">Hh", index, power))
        for index, power in enumerate(model.powers_cdbm, start=1)
    ]
    channels = struct.pack(f">H{len(model.channels_khz)}I", len(model.channels_khz), *model.channels_khz)
    mode = struct.pack(">IBBBBIIIII", model.mode, 0, 0, 0, 0, 40_000, 1500, 100_000, 100_000, 0)
    return tlv(
        Tlv.REGULATORY_CAPABILITIES,
        struct.pack(">HH", 276, 2),
        tlv(
            Tlv.UHF_BAND_CAPABILITIES,
            *powers,
            tlv(Tlv.FREQUENCY_INFORMATION, b"\x00", tlv(Tlv.FIXED_FREQUENCY_TABLE, channels)),
            tlv(Tlv.UHF_C1G2_RF_MODE_TABLE, tlv(Tlv.UHF_C1G2_RF_MODE_TABLE_ENTRY, mode)),
        ),
    )


def air_protocol() -> bytes:
    return tlv(Tlv.C1G2_LLRP_CAPABILITIES, struct.pack(">BH", _BLOCK_WRITE, MAX_FILTERS))


def capabilities(model: Model, antennas: int, *, requested: int) -> bytes:
    """The parameters after `LLRPStatus`. `requested`: 0 all, 1 general, 2 LLRP, 3 regulatory, 4 air protocol."""
    every = (general(model, antennas), llrp(), regulatory(model), air_protocol())
    return b"".join(every) if requested == 0 else every[requested - 1]
