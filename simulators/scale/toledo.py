"""Toledo continuous output: a frame as often as the display changes, and single letters in.

Mettler-Toledo Wildcat Technical Manual, pages 6-4 and 6-5; letters as in KERN's and IND445's manuals. Frame: STX, three
status bytes, six digits of the displayed weight, six of the tare, CR, and a checksum if the terminal is set to it.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from simulators.faces import Load
from simulators.scale.dialect import Dialect, Message, next_due
from simulators.scale.display import Condition, Display, Shown, Unit

PERIOD_S = 1 / 7
"""A Wildcat sends about seven frames a second."""

WAIT_S = 3.0
"""How long tare and zero wait until the load is still."""

_STX, _CR = 0x02, 0x0D
_DIGITS = 6
_FIXED = 0x20
_STEP_BITS = {1: 0b01, 2: 0b10, 5: 0b11}
_NET, _NEGATIVE, _OUT_OF_RANGE, _MOTION, _KILOGRAMS, _NOT_ZEROED = 0x01, 0x02, 0x04, 0x08, 0x10, 0x40
_PRINT_REQUEST = 0x08


def frame(shown: Shown, *, checksum: bool, print_request: bool = False) -> bytes:
    """17 bytes, or 18 with `checksum`."""
    weight = shown.weight
    places = 2 - shown.interval.exponent
    status_a = _FIXED | _STEP_BITS[shown.interval.step] << 3 | places
    status_b = _FIXED
    for bit, is_on in (
        (_NET, shown.is_net),
        (_NEGATIVE, weight < 0 or shown.load is Load.UNDER),
        (_OUT_OF_RANGE, shown.load is not Load.WITHIN),
        (_MOTION, not shown.is_stable),
        (_KILOGRAMS, shown.unit is Unit.KG),
        (_NOT_ZEROED, shown.condition is not Condition.WEIGHING),
    ):
        status_b |= bit if is_on else 0
    status_c = _FIXED | (_PRINT_REQUEST if print_request else 0)
    exponent = shown.interval.exponent
    text = f"{_digits(weight, exponent)}{_digits(shown.tare, exponent)}".encode()
    whole = bytes((_STX, status_a, status_b, status_c)) + text + bytes((_CR,))
    return whole + bytes((check_byte(whole),)) if checksum else whole


def check_byte(data: bytes) -> int:
    """What makes the sum of all bytes zero in its low seven bits."""
    return -sum(data) & 0x7F


class ToledoContinuous(Dialect):
    """A terminal in continuous mode: `P` print, `T` tare, `Z` zero, `C` clear tare. What it refuses it does not say."""

    def __init__(self, display: Display, *, checksum: bool = True) -> None:
        super().__init__(display)
        self._checksum = checksum
        self._due_s = 0.0
        self._print_request = False
        self._waiting: Callable[[], bool] | None = None
        self._until_s = 0.0

    @property
    def due_s(self) -> float:
        return self._due_s

    def start(self, now_s: float) -> list[Message]:
        self._due_s = now_s
        self._print_request = False
        self._waiting = None
        return []

    def greet(self) -> list[Message]:
        return []

    def receive(self, data: bytes, now_s: float) -> list[Message]:
        for letter in data:
            match letter:
                case 0x50:  # P
                    self._print_request = True
                case 0x54:  # T
                    self._waiting, self._until_s = self._display.tare, now_s + WAIT_S
                case 0x5A:  # Z
                    self._waiting, self._until_s = self._display.zero, now_s + WAIT_S
                case 0x43:  # C
                    self._display.face.clear_tare()
                case _:
                    pass
        return []

    def advance(self, now_s: float) -> list[Message]:
        if now_s < self._due_s:
            return []
        self._due_s = next_due(self._due_s, PERIOD_S, now_s)
        if self._waiting is not None and (self._display.look().is_stable or now_s >= self._until_s):
            self._waiting()
            self._waiting = None
        whole = frame(self._display.look(), checksum=self._checksum, print_request=self._print_request)
        self._print_request = False
        return [Message(whole, unasked=True)]


def _digits(weight: Decimal, exponent: int) -> str:
    """Without sign and point; nines when there are more than fit."""
    count = min(int(abs(weight).scaleb(-exponent)), 10**_DIGITS - 1)
    return f"{count:0{_DIGITS}d}"
