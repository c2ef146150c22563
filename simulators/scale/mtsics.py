"""MT-SICS, levels 0 and 1: `S      12.34 kg` and its kin (Mettler-Toledo Standard Interface Command Set).

Commands are upper case and end with CR LF; so do answers. A weight is ten characters, right-aligned, then a blank and
the unit. Weights are net. There is one command at a time: another one ends the wait for a stable weight.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from math import inf

from simulators.faces import Indication, Load, ScaleFace
from simulators.scale.dialect import MOST_WAITING_BYTES, Dialect, shown

STABLE_WITHIN_S = 5.0
"""How long `S`, `Z` and `T` wait for a stable weight before they answer `I`."""

REPEAT_EVERY_S = 1 / 15
_LOOK_EVERY_S = 0.05
_LEAST_CHANGE_INTERVALS = 30
_CHANGE_SHARE = Decimal("0.125")

_COMMANDS = {0: ("@", "I0", "I1", "I2", "I3", "I4", "S", "SI", "SIR", "Z", "ZI"), 1: ("SR", "T", "TA", "TAC", "TI")}
_WAITING = frozenset({"S", "SR", "Z", "T"})
"""Commands that are answered once the weight is stable."""

_PRESET = re.compile(r"TA (\d{1,7}(?:\.\d{1,6})?) kg")
_SIGNS = {Load.OVER: "+", Load.UNDER: "-"}


@dataclass(slots=True)
class _Wait:
    """Somebody waits until the weight is stable."""

    answer: Callable[[Indication], str]
    command: str
    until_s: float


class MtSics(Dialect):
    """One client's conversation."""

    def __init__(self, face: ScaleFace, *, serial: str = "B207696838") -> None:
        super().__init__(face)
        self._serial = serial
        self._received = bytearray()
        self._wait: _Wait | None = None
        self._repeats = False
        self._watched_kg: Decimal | None = None
        self._watches = False
        self._at_once: dict[str, Callable[[], list[bytes]]] = {
            "@": self._identity,
            "I0": self._list,
            "I1": lambda: [_line('I1 A "01" "2.00" "2.20"')],
            "I2": lambda: [_line(f'I2 A "HUB Terminal {face.capacity_kg} kg"')],
            "I3": lambda: [_line('I3 A "2.10 10.28.0.493.142"')],
            "I4": self._identity,
            "SI": lambda: [self._weight(face.indication())],
            "SIR": lambda: [self._weight(face.indication())],
            "ZI": self._zero_now,
            "TI": self._tare_now,
            "TA": lambda: [self._tare_memory()],
            "TAC": self._clear_tare,
        }

    @property
    def speaks_unasked(self) -> bool:
        return self._wait is None and (self._repeats or self._watches)

    def powered_up(self, now_s: float) -> list[bytes]:
        super().powered_up(now_s)
        self._stop()
        self._received.clear()
        return self._identity()

    def answer_to(self, data: bytes, now_s: float) -> list[bytes]:
        self._received += data
        *lines, rest = bytes(self._received).split(b"\r\n")
        self._received[:] = rest
        answers = [answer for line in lines for answer in self._obey(line, now_s)]
        if len(rest) > MOST_WAITING_BYTES:
            self._received.clear()
            answers.append(b"ET\r\n")
        return answers

    def tick(self, now_s: float) -> list[bytes]:
        if now_s < self.next_s:
            return []
        indication = self._face.indication()
        if self._wait is not None:
            return self._look(self._wait, indication, now_s)
        if self._repeats:
            self.next_s = now_s + REPEAT_EVERY_S
            return [self._weight(indication)]
        if self._watches:
            self.next_s = now_s + _LOOK_EVERY_S
            return self._watch(indication)
        self.next_s = inf
        return []

    def _obey(self, line: bytes, now_s: float) -> list[bytes]:
        command = line.decode("latin-1")
        if preset := _PRESET.fullmatch(command):
            weight_kg = Decimal(preset[1])
            return [self._tare_memory() if self._face.preset_tare(weight_kg) else _line("TA L")]
        if not any(command in commands for commands in _COMMANDS.values()):
            return [b"ES\r\n"]
        self._stop()
        if command in _WAITING:
            return self._when_stable(command, now_s)
        if command == "SIR":
            self._repeats, self.next_s = True, now_s + REPEAT_EVERY_S
        return self._at_once[command]()

    def _when_stable(self, command: str, now_s: float) -> list[bytes]:
        answers: dict[str, Callable[[Indication], bytes]] = {
            "S": self._weight,
            "SR": self._weight,
            "Z": lambda indication: _line(f"Z {'A' if (told := self._zero(indication)) == 'S' else told}"),
            "T": lambda indication: self._tare("T", indication),
        }
        identity = command[0]
        self._watches = command == "SR"
        wait = _Wait(lambda indication: answers[command](indication).decode(), identity, now_s + STABLE_WITHIN_S)
        self._wait = wait
        return self._look(wait, self._face.indication(), now_s)

    def _look(self, wait: _Wait, indication: Indication, now_s: float) -> list[bytes]:
        """Answer who waits, if it is time."""
        if indication.is_stable or indication.load is not Load.WITHIN:
            told = wait.answer(indication).encode()
            self._watched_kg = indication.net_kg
        elif now_s >= wait.until_s:
            told = _line(f"{wait.command} I")
        else:
            self.next_s = now_s + _LOOK_EVERY_S
            return []
        self._wait = None
        self.next_s = now_s + _LOOK_EVERY_S if self._watches else inf
        return [told]

    def _watch(self, indication: Indication) -> list[bytes]:
        """`SR`: one line when the weight begins to change, one when it is stable again."""
        if self._watched_kg is None:
            if not indication.is_stable:
                return []
            self._watched_kg = indication.net_kg
            return [self._weight(indication)]
        threshold_kg = max(abs(self._watched_kg) * _CHANGE_SHARE, _LEAST_CHANGE_INTERVALS * self._face.interval_kg)
        if abs(indication.net_kg - self._watched_kg) < threshold_kg:
            return []
        self._watched_kg = indication.net_kg if indication.is_stable else None
        return [self._weight(indication)]

    def _weight(self, indication: Indication) -> bytes:
        if indication.load is not Load.WITHIN:
            return _line(f"S {_SIGNS[indication.load]}")
        return self._line_of("S", "S" if indication.is_stable else "D", indication.net_kg)

    def _zero(self, indication: Indication) -> str:
        """`S` for done; `+` or `-` for a load beyond the range that can be set to zero."""
        if indication.load is Load.WITHIN and self._face.zero():
            return "S"
        return "-" if indication.gross_kg < 0 else "+"

    def _tare(self, identity: str, indication: Indication) -> bytes:
        if indication.load is Load.WITHIN and self._face.tare():
            return self._line_of(identity, "S", self._face.indication().tare_kg)
        return _line(f"{identity} {'-' if indication.gross_kg < 0 else '+'}")

    def _tare_memory(self) -> bytes:
        return self._line_of("TA", "A", self._face.indication().tare_kg)

    def _zero_now(self) -> list[bytes]:
        indication = self._face.indication()
        return [_line(f"ZI {self._zero(indication)}" if indication.is_stable else "ZI I")]

    def _tare_now(self) -> list[bytes]:
        indication = self._face.indication()
        return [self._tare("TI", indication) if indication.is_stable else _line("TI I")]

    def _clear_tare(self) -> list[bytes]:
        self._face.clear_tare()
        return [_line("TAC A")]

    def _identity(self) -> list[bytes]:
        return [_line(f'I4 A "{self._serial}"')]

    def _list(self) -> list[bytes]:
        named = [f'{level} "{command}"' for level, commands in _COMMANDS.items() for command in commands]
        last = len(named) - 1
        return [_line(f"I0 {'A' if index == last else 'B'} {text}") for index, text in enumerate(named)]

    def _line_of(self, identity: str, status: str, weight_kg: Decimal) -> bytes:
        return _line(f"{identity} {status} {shown(weight_kg, self._face.interval_kg):>10} kg")

    def _stop(self) -> None:
        """Whatever was going on, it ends."""
        self._wait = self._watched_kg = None
        self._repeats = self._watches = False
        self.next_s = inf


def _line(text: str) -> bytes:
    return f"{text}\r\n".encode("ascii")
