"""Mettler-Toledo ("Toledo") continuous output: a frame of 17 or 18 bytes as often as the display changes.

STX, three status words, six digits of weight, six of tare, CR, and a checksum that makes the low seven bits of the sum
of all bytes zero (Wildcat technical manual, 6-4). Single letters with CR are commands: tare, zero, clear tare, print.
"""

from __future__ import annotations

from decimal import Decimal

from simulators.faces import Indication, Load, ScaleFace
from simulators.scale.dialect import MOST_WAITING_BYTES, Dialect

REPEAT_EVERY_S = 0.1
WAKES_FOR_S = 2.0
"""How long after power-up the weight is marked as not yet zeroed."""

_INCREMENTS = {1: 0b01, 2: 0b10, 5: 0b11}
_LARGEST = 999_999


class Toledo(Dialect):
    """What one listener hears."""

    def __init__(self, face: ScaleFace, *, now_s: float, awake_s: float | None = None, checksum: bool = True) -> None:
        """`awake_s` is when the instrument is awake that was switched on before.

        Raises ValueError for an interval that the status words cannot say: 1, 2 or 5 times a power of ten."""
        super().__init__(face)
        self.next_s = now_s
        self._has_checksum = checksum
        self._awake_s = now_s if awake_s is None else awake_s
        self._received = bytearray()
        self._code, self._increment = _scaling(face.interval_kg)

    @property
    def speaks_unasked(self) -> bool:
        return True

    def powered_up(self, now_s: float) -> list[bytes]:
        self._received.clear()
        self.next_s = now_s
        self._awake_s = now_s + WAKES_FOR_S
        return []

    def answer_to(self, data: bytes, now_s: float) -> list[bytes]:
        self._received += data.replace(b"\n", b"")
        *commands, rest = bytes(self._received).split(b"\r")
        self._received[:] = rest[:MOST_WAITING_BYTES]
        for command in commands:
            match command:
                case b"T":
                    self._face.tare()
                case b"Z":
                    if self._face.zero():
                        self._awake_s = now_s
                case b"C":
                    self._face.clear_tare()
        return [self.frame(self._face.indication(), now_s) for command in commands if command == b"P"]

    def tick(self, now_s: float) -> list[bytes]:
        if now_s < self.next_s:
            return []
        self.next_s = max(now_s, self.next_s + REPEAT_EVERY_S)
        return [self.frame(self._face.indication(), now_s)]

    def frame(self, indication: Indication, now_s: float) -> bytes:
        """What is sent for this indication."""
        is_net = bool(indication.tare_kg)
        weight_kg = indication.net_kg if is_net else indication.gross_kg
        first = 1 << 5 | self._increment << 3 | self._code
        second = (
            1 << 5
            | is_net
            | (weight_kg < 0) << 1
            | (indication.load is not Load.WITHIN) << 2
            | (not indication.is_stable) << 3
            | 1 << 4
            | (now_s < self._awake_s) << 6
        )
        digits = f"{self._digits(weight_kg):06d}{self._digits(indication.tare_kg):06d}"
        body = bytes((0x02, first, second, 1 << 5)) + digits.encode() + b"\r"
        return body + bytes((-sum(body) & 0x7F,)) if self._has_checksum else body

    def _digits(self, weight_kg: Decimal) -> int:
        return min(_LARGEST, int(abs(weight_kg).scaleb(self._code - 2)))


def _scaling(interval_kg: Decimal) -> tuple[int, int]:
    """The code of the decimal point, with weight = digits x 10^(2 - code), and the code of the increment."""
    for code in range(8):
        counted = interval_kg.scaleb(code - 2)
        if counted in _INCREMENTS:
            return code, _INCREMENTS[int(counted)]
    raise ValueError(f"an interval of {interval_kg} kg cannot be told; it is 1, 2 or 5 times a power of ten")
