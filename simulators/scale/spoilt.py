"""What a fault makes of one message of an indicator. Pure: the random source is handed in."""

from __future__ import annotations

from random import Random

from simulators.faces import Indication, Load, ScaleFace
from simulators.faults import Fault, FaultKind

MESSAGE_FAULTS = frozenset(
    {
        FaultKind.NONE,
        FaultKind.HANG,
        FaultKind.SILENT,
        FaultKind.SLOW,
        FaultKind.SPLIT,
        FaultKind.GARBLE,
        FaultKind.HALF_FRAME,
        FaultKind.WRONG_CHECKSUM,
        FaultKind.OVERLOAD,
        FaultKind.RESTART,
    }
)


def pieces(message: bytes, fault: Fault, *, random: Random) -> list[bytes]:
    """What is sent in place of `message`, piece by piece; nothing for a machine that hangs."""
    match fault.kind:
        case FaultKind.HANG:
            return []
        case FaultKind.GARBLE:
            return [random.randbytes(len(message))]
        case FaultKind.HALF_FRAME:
            return [message[: len(message) // 2]]
        case FaultKind.WRONG_CHECKSUM:
            return [message[:-1] + bytes((message[-1] ^ 1,))]
        case FaultKind.SPLIT:
            cut = random.randrange(1, len(message))
            return [message[:cut], message[cut:]]
        case _:
            return [message]


class Loaded:
    """A face that shows an overload while `is_overloaded`, and is otherwise the one behind it."""

    def __init__(self, face: ScaleFace) -> None:
        self._face = face
        self.is_overloaded = False
        self.name = face.name
        self.capacity_kg = face.capacity_kg
        self.interval_kg = face.interval_kg
        self.zero = face.zero
        self.tare = face.tare
        self.preset_tare = face.preset_tare
        self.clear_tare = face.clear_tare
        self.power_cycle = face.power_cycle

    def indication(self) -> Indication:
        shown = self._face.indication()
        if not self.is_overloaded:
            return shown
        return Indication(self.capacity_kg * 2, shown.tare_kg, is_stable=shown.is_stable, load=Load.OVER)
