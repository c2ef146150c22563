"""What machines show to whatever wire dialect speaks for them: the seam between the twin and the dialects.

A dialect (MT-SICS, LLRP, OPC UA …) asks a face and never looks behind it. Nothing here knows of clocks or sockets.
Weights are `Decimal`s on the scale's own grid of intervals, as a display shows them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Protocol


class Load(StrEnum):
    """Where the load is relative to what the scale may weigh."""

    WITHIN = "within"
    OVER = "over"
    UNDER = "under"


@dataclass(frozen=True, slots=True)
class Indication:
    """What a scale's display shows at one instant. Net is gross minus tare."""

    gross_kg: Decimal
    tare_kg: Decimal
    is_stable: bool
    load: Load = Load.WITHIN

    @property
    def net_kg(self) -> Decimal:
        return self.gross_kg - self.tare_kg


class ScaleFace(Protocol):
    """A weighing instrument. What it refuses it answers with False, and nothing has changed."""

    @property
    def name(self) -> str: ...

    @property
    def capacity_kg(self) -> Decimal: ...

    @property
    def interval_kg(self) -> Decimal:
        """The smallest step of the display, for example 0.005."""
        ...

    def indication(self) -> Indication: ...

    def zero(self) -> bool:
        """Show zero for what lies on it now. Refused in motion and beyond 2 % of the capacity."""
        ...

    def tare(self) -> bool:
        """Take what lies on it as the tare. Refused in motion, below zero and above capacity."""
        ...

    def preset_tare(self, tare_kg: Decimal) -> bool:
        """Take a tare that is known. Refused below zero, above capacity and off the grid of intervals."""
        ...

    def clear_tare(self) -> None: ...

    def power_cycle(self) -> None:
        """Forget zero and tare."""
        ...


@dataclass(frozen=True, slots=True)
class Sighting:
    """One tag answering one antenna once."""

    antenna: int
    epc: bytes
    rssi_dbm: int
    channel: int


class PortalFace(Protocol):
    """An RFID portal: antennas over a belt, and the tags that answer there."""

    @property
    def name(self) -> str: ...

    @property
    def antennas(self) -> int:
        """They are numbered from 1."""
        ...

    def inventory(self, antennas: Collection[int]) -> Sequence[Sighting]:
        """One inventory round: who answers now. Another call is another round, in which a weak tag may be missed."""
        ...


class PackState(IntEnum):
    """ISA-TR88.00.02 StateCurrent."""

    CLEARING = 1
    STOPPED = 2
    STARTING = 3
    IDLE = 4
    SUSPENDED = 5
    EXECUTE = 6
    STOPPING = 7
    ABORTING = 8
    ABORTED = 9
    HOLDING = 10
    HELD = 11
    UNHOLDING = 12
    SUSPENDING = 13
    UNSUSPENDING = 14
    RESETTING = 15
    COMPLETING = 16
    COMPLETE = 17


class PackCommand(IntEnum):
    """ISA-TR88.00.02 CntrlCmd."""

    RESET = 1
    START = 2
    STOP = 3
    HOLD = 4
    UNHOLD = 5
    SUSPEND = 6
    UNSUSPEND = 7
    ABORT = 8
    CLEAR = 9


class SorterFace(Protocol):
    """A sorter with chutes, run by a PackML state machine."""

    @property
    def name(self) -> str: ...

    @property
    def state(self) -> PackState: ...

    @property
    def design_speed_m_s(self) -> float: ...

    @property
    def speed_setpoint_m_s(self) -> float: ...

    @property
    def speed_m_s(self) -> float:
        """How fast it moves now; 0 unless it executes."""
        ...

    @property
    def blocked(self) -> bool:
        """It could run and cannot get rid of parcels: a chute is full."""
        ...

    @property
    def starved(self) -> bool:
        """It runs and no parcel comes."""
        ...

    @property
    def chutes(self) -> Mapping[str, int]:
        """Chute → parcels that it has received, in the order of the line."""
        ...

    @property
    def full_chutes(self) -> Collection[str]: ...

    @property
    def sorted_count(self) -> int:
        """Parcels that reached the chute of their destination."""
        ...

    @property
    def missorted_count(self) -> int:
        """Parcels that went to the last chute because theirs was full, unknown or unread."""
        ...

    @property
    def last_destination(self) -> str:
        """The chute that the last parcel went to; empty before the first."""
        ...

    def set_speed(self, speed_m_s: float) -> bool:
        """Refused outside 0 to the design speed."""
        ...

    def command(self, command: PackCommand) -> bool:
        """Refused when the state machine has no such transition from the state it is in."""
        ...
