"""What a reader says it can do (GET_READER_CAPABILITIES_RESPONSE, section 9.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from drivers.rfid.llrp.parameters import Malformed, ParameterType, fields, parameters, text

_FIRST_PARAMETER = {
    ParameterType.REGULATORY_CAPABILITIES: 4,
    ParameterType.UHF_BAND_CAPABILITIES: 0,
    ParameterType.FREQUENCY_INFORMATION: 1,
    ParameterType.C1G2_RF_MODE_TABLE: 0,
}
"""The parameters that only hold others which are looked for, and how many bytes of fields stand before those."""


@dataclass(slots=True)
class Capabilities:
    """What is used of them. A part that the reader left out keeps its default, which promises nothing."""

    antennas: int = 0
    """How many it has; 0 when it does not say."""
    manufacturer: int = 0
    """IANA private enterprise number."""
    model: int = 0
    firmware: str = ""
    warns_of_full_buffer: bool = False
    holds_reports: bool = False
    """Whether it can keep events and reports back until it is told to send them."""
    most_filters: int = 0
    """How many masks one query may have; 0 when it does not say."""
    powers: tuple[tuple[int, int], ...] = ()
    """(index, hundredths of a dBm) in the reader's own order."""
    hop_tables: tuple[int, ...] = ()
    """Identifiers; a region with frequency hopping has at least one."""
    fixed_channels: int = 0
    """How many channels a region with fixed frequencies has; they count from 1."""
    modes: tuple[int, ...] = ()
    """Identifiers of the RF modes."""


def parse_capabilities(body: bytes) -> Capabilities:
    """From the body of a response whose status is success. Raises `Malformed`."""
    found = Capabilities()
    for kind, value in _flattened(body, 0):
        if kind == ParameterType.GENERAL_DEVICE_CAPABILITIES:
            found.antennas, _, found.manufacturer, found.model = fields("HHII", value, kind)
            found.firmware, _ = text(value, 12, kind)
        elif kind == ParameterType.LLRP_CAPABILITIES:
            (flags,) = fields("B", value, kind)
            found.warns_of_full_buffer, found.holds_reports = bool(flags & 0x40), bool(flags & 0x08)
        elif kind == ParameterType.TRANSMIT_POWER_LEVEL:
            index, power = fields("Hh", value, kind)
            found.powers += ((index, power),)
        elif kind == ParameterType.FREQUENCY_HOP_TABLE:
            found.hop_tables += fields("B", value, kind)
        elif kind == ParameterType.FIXED_FREQUENCY_TABLE:
            (found.fixed_channels,) = fields("H", value, kind)
        elif kind == ParameterType.C1G2_RF_MODE:
            found.modes += fields("I", value, kind)
        elif kind == ParameterType.C1G2_LLRP_CAPABILITIES:
            _, found.most_filters = fields("BH", value, kind)
    return found


def power_index(powers: tuple[tuple[int, int], ...], wanted_dbm: float) -> int:
    """The index of the highest power that is not above `wanted_dbm`.

    Powers are compared by value: a table need not be sorted. Raises ValueError, with what is possible, when every power
    is above it.
    """
    possible = [(power, index) for index, power in powers if power <= round(100 * wanted_dbm)]
    if not possible:
        values = [power / 100 for _, power in powers]
        offer = f"{min(values):g} to {max(values):g} dBm" if values else "no table of powers"
        raise ValueError(f"power {wanted_dbm:g} dBm is not possible; the reader offers {offer}")
    return max(possible)[1]


def _flattened(data: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    for kind, value in parameters(data, start):
        yield kind, value
        first = _FIRST_PARAMETER.get(kind)  # type: ignore[call-overload]
        if first is not None:
            if len(value) < first:
                raise Malformed(f"parameter {kind} has {len(value)} bytes of value where {first} belong")
            yield from _flattened(value, first)
