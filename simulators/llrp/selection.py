"""How an antenna is to be used, and which tags take part there: AntennaConfiguration and its C1G2Filters.

LLRP 1.0.1, sections 12.2.6 (AntennaConfiguration) and 15.2.1 (C1G2InventoryCommand). A filter compares bits of a tag's
memory. Its action says what becomes of tags that match and of those that do not: selected, unselected, or as before.
What a first filter leaves as before is the opposite of what it does to the others, so that one filter always divides
the tags. Power, mode and session are checked and kept, and have no influence on which tags the twin shows.
"""

from __future__ import annotations

import struct
from binascii import crc_hqx
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from simulators.llrp.codes import Status, Tlv
from simulators.llrp.grammar import Fields, bad_field, bad_parameter
from simulators.llrp.model import MAX_FILTERS, Model
from simulators.llrp.wire import tlv

_EPC_BANK = 1
_BANKS = (1, 2, 3)
_TRUNCATE = 2
_PC_LENGTH_SHIFT = 11
_SESSION_MASK = 0xC0


class _Fate(IntEnum):
    SELECT = 0
    UNSELECT = 1
    AS_BEFORE = 2


_ACTIONS = (
    (_Fate.SELECT, _Fate.UNSELECT),
    (_Fate.SELECT, _Fate.AS_BEFORE),
    (_Fate.AS_BEFORE, _Fate.UNSELECT),
    (_Fate.UNSELECT, _Fate.AS_BEFORE),
    (_Fate.UNSELECT, _Fate.SELECT),
    (_Fate.AS_BEFORE, _Fate.SELECT),
)
"""By action: what becomes of a tag that matches, and of one that does not."""


@dataclass(frozen=True, slots=True)
class Filter:
    """`mask` has `bits` bits, the first in the highest bit of the first byte; `pointer` counts bits of the bank."""

    bank: int
    pointer: int
    bits: int
    mask: bytes
    action: int = 0

    def matches(self, epc: bytes) -> bool:
        """Whether a tag with this EPC and no other memory has the bits of the mask at the pointer."""
        memory = epc_memory(epc) if self.bank == _EPC_BANK else b""
        beyond = 8 * len(memory) - self.pointer - self.bits
        if beyond < 0:
            return False
        found = int.from_bytes(memory) >> beyond & (1 << self.bits) - 1
        return found == int.from_bytes(self.mask) >> 8 * len(self.mask) - self.bits


@dataclass(frozen=True, slots=True)
class AntennaSettings:
    """What one AntennaConfiguration says; None where it is silent. The bytes are whole parameters."""

    receiver: bytes | None = None
    transmitter: bytes | None = None
    command: bytes | None = None
    filters: tuple[Filter, ...] | None = None

    def over(self, below: AntennaSettings) -> AntennaSettings:
        """These, and where they are silent those `below`."""
        return AntennaSettings(
            self.receiver or below.receiver,
            self.transmitter or below.transmitter,
            self.command or below.command,
            below.filters if self.filters is None else self.filters,
        )


def factory_settings(model: Model) -> AntennaSettings:
    """Highest power, first channel, no filter."""
    control = struct.pack(">HH", model.mode, 0)
    return AntennaSettings(
        receiver=tlv(Tlv.RF_RECEIVER, struct.pack(">H", 1)),
        transmitter=tlv(Tlv.RF_TRANSMITTER, struct.pack(">HHH", 0, 1, len(model.powers_cdbm))),
        command=tlv(
            Tlv.C1G2_INVENTORY_COMMAND,
            b"\x00",
            tlv(Tlv.C1G2_RF_CONTROL, control),
            tlv(Tlv.C1G2_SINGULATION_CONTROL, struct.pack(">BHI", 0, 32, 0)),
        ),
        filters=(),
    )


def takes_part(epc: bytes, filters: Sequence[Filter]) -> bool:
    """Whether a tag is selected once all filters have had their say; all are without any."""
    selected = not filters or _before_first(filters[0])
    for each in filters:
        fate = _ACTIONS[each.action][0 if each.matches(epc) else 1]
        if fate is not _Fate.AS_BEFORE:
            selected = fate is _Fate.SELECT
    return selected


def epc_memory(epc: bytes) -> bytes:
    """The EPC bank of a tag from its start: CRC, PC, EPC (Gen2 air interface, 6.3.2.1.2)."""
    return crc(epc).to_bytes(2) + pc(epc).to_bytes(2) + epc


def pc(epc: bytes) -> int:
    """The PC word: the number of EPC words in its five highest bits, and GS1 numbering."""
    return (len(epc) + 1) // 2 << _PC_LENGTH_SHIFT


def crc(epc: bytes) -> int:
    """The CRC-16 over PC and EPC: polynomial 0x1021, start value 0xFFFF, inverted."""
    return crc_hqx(pc(epc).to_bytes(2) + epc, 0xFFFF) ^ 0xFFFF


def read_antenna(fields: Fields, *, antennas: int, model: Model) -> tuple[int, AntennaSettings]:
    """An AntennaConfiguration: antenna (0 for all) and what it says. Raises `Refused`."""
    (antenna,) = fields.take("H")
    if antenna > antennas:
        raise bad_field(Tlv.ANTENNA_CONFIGURATION, 0, f"there is no antenna {antenna}", Status.A_OUT_OF_RANGE)
    receiver = transmitter = command = None
    filters = None
    if (part := fields.optional(Tlv.RF_RECEIVER)) is not None:
        receiver = tlv(Tlv.RF_RECEIVER, part.raw())
        _check_receiver(part)
    if (part := fields.optional(Tlv.RF_TRANSMITTER)) is not None:
        transmitter = tlv(Tlv.RF_TRANSMITTER, part.raw())
        _check_transmitter(part, model)
    if (part := fields.optional(Tlv.C1G2_INVENTORY_COMMAND)) is not None:
        command = tlv(Tlv.C1G2_INVENTORY_COMMAND, part.raw())
        filters = _read_command(part, model)
    fields.end()
    return antenna, AntennaSettings(receiver, transmitter, command, filters)


def settings_of(antenna: int, *layers: Mapping[int, AntennaSettings]) -> AntennaSettings:
    """What holds for one antenna; the first layer wins, and in a layer the antenna itself over antenna 0."""
    found = AntennaSettings()
    for layer in layers:
        for key in (antenna, 0):
            if key in layer:
                found = found.over(layer[key])
    return found


def _check_receiver(fields: Fields) -> None:
    (sensitivity,) = fields.take("H")
    fields.end()
    if sensitivity != 1:
        raise bad_field(Tlv.RF_RECEIVER, 0, f"there is no sensitivity {sensitivity}", Status.A_OUT_OF_RANGE)


def _check_transmitter(fields: Fields, model: Model) -> None:
    """The hop table is ignored, as the region has fixed channels."""
    _, channel, power = fields.take("HHH")
    fields.end()
    if not 1 <= channel <= len(model.channels_khz):
        raise bad_field(Tlv.RF_TRANSMITTER, 1, f"there is no channel {channel}", Status.A_OUT_OF_RANGE)
    if not 1 <= power <= len(model.powers_cdbm):
        raise bad_field(Tlv.RF_TRANSMITTER, 2, f"there is no transmit power {power}", Status.A_OUT_OF_RANGE)


def _read_command(fields: Fields, model: Model) -> tuple[Filter, ...]:
    (flags,) = fields.take("B")
    if flags:
        raise bad_field(Tlv.C1G2_INVENTORY_COMMAND, 0, "inventory by tag state is not supported")
    found = fields.many(Tlv.C1G2_FILTER)
    if len(found) > MAX_FILTERS:
        text = f"{len(found)} filters are more than {MAX_FILTERS}"
        raise bad_parameter(Tlv.C1G2_FILTER, Status.P_OVERFLOW_PARAMETER, text)
    filters = tuple(_read_filter(each) for each in found)
    if (part := fields.optional(Tlv.C1G2_RF_CONTROL)) is not None:
        mode, _ = part.take("HH")
        part.end()
        if mode != model.mode:
            raise bad_field(Tlv.C1G2_RF_CONTROL, 0, f"there is no mode {mode}", Status.A_OUT_OF_RANGE)
    if (part := fields.optional(Tlv.C1G2_SINGULATION_CONTROL)) is not None:
        session, _, _ = part.take("BHI")
        part.end()
        if session & ~_SESSION_MASK:
            raise bad_field(Tlv.C1G2_SINGULATION_CONTROL, 0, "reserved bits are not zero")
    fields.end()
    return filters


def _read_filter(fields: Fields) -> Filter:
    (truncate,) = fields.take("B")
    if truncate >> 6 >= _TRUNCATE:
        raise bad_field(Tlv.C1G2_FILTER, 0, "truncated replies are not supported")
    part = fields.one(Tlv.C1G2_TAG_INVENTORY_MASK)
    bank, pointer, bits = part.take("BHH")
    mask = part.octets((bits + 7) // 8)
    part.end()
    if bank >> 6 not in _BANKS:
        raise bad_field(Tlv.C1G2_TAG_INVENTORY_MASK, 0, f"there is nothing to select by in memory bank {bank >> 6}")
    action = 0
    if (unaware := fields.optional(Tlv.C1G2_STATE_UNAWARE_FILTER_ACTION)) is not None:
        (action,) = unaware.take("B")
        unaware.end()
        if action >= len(_ACTIONS):
            raise bad_field(Tlv.C1G2_STATE_UNAWARE_FILTER_ACTION, 0, f"there is no action {action}")
    fields.end()
    return Filter(bank >> 6, pointer, bits, mask, action)


def _before_first(first: Filter) -> bool:
    return _Fate.SELECT not in _ACTIONS[first.action]
