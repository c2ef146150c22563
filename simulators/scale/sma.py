"""SMA SCP-0499 (Scale Manufacturers Association, Scale Serial Communication Protocol), level 2 without high resolution.

A command is `LF letter [data] CR`; what stands outside LF and CR is ignored, ESC ends whatever goes on. A weight is
twenty characters at fixed places: LF, status, range, gross or net, motion, reserved, ten of weight, three of unit, CR.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from math import inf

from simulators.faces import Indication, Load, ScaleFace
from simulators.scale.dialect import MOST_WAITING_BYTES, Dialect, decimals, shown

REPEAT_EVERY_S = 0.1
_ESC = 0x1B
_DASHES = "-" * 10
_TARE = re.compile(r"T *(\d{1,7}(?:\.\d{1,6})?)")
_STATUS = {Load.WITHIN: " ", Load.OVER: "O", Load.UNDER: "U"}


class Sma(Dialect):
    """One client's conversation."""

    def __init__(self, face: ScaleFace) -> None:
        super().__init__(face)
        self._command: bytearray | None = None
        self._repeats = False
        self._dialogue: Iterator[str] = iter(())
        self._answers: dict[str, Callable[[], bytes]] = {
            **dict.fromkeys(("W", "P", "R", "U", "Ukg", "Ukg_", "Ukg "), self._weight_now),
            "Z": lambda: self._done(succeeded=face.zero(), refused="E"),
            "T": lambda: self._done(succeeded=face.tare(), refused="T"),
            "M": lambda: self._weight(face.indication(), kind="T"),
            "C": self._clear_tare,
            "D": lambda: _message("    "),
            "A": lambda: self._begin("MFG:HUB", "MOD:TERMINAL", "REV:1.0", "SN_:B207696838"),
            "I": lambda: self._begin("TYP:S", self._capacity(), "CMD:PRTMCU"),
            "B": self._continue,
            "N": self._continue,
        }

    @property
    def speaks_unasked(self) -> bool:
        return self._repeats

    def powered_up(self, now_s: float) -> list[bytes]:
        self._command, self._repeats = None, False
        return super().powered_up(now_s)

    def answer_to(self, data: bytes, now_s: float) -> list[bytes]:
        answers = []
        for byte in data:
            if byte == _ESC:
                self._command, self._repeats, self.next_s = None, False, inf
            elif byte == ord("\n"):
                self._command = bytearray()
            elif self._command is None:
                continue
            elif byte == ord("\r"):
                command, self._command = self._command.decode("latin-1"), None
                answers.append(self._obey(command, now_s))
            elif len(self._command) < MOST_WAITING_BYTES:
                self._command.append(byte)
            else:
                self._command = None
                answers.append(_message("!"))
        return answers

    def tick(self, now_s: float) -> list[bytes]:
        if not self._repeats or now_s < self.next_s:
            return []
        self.next_s = now_s + REPEAT_EVERY_S
        return [self._weight_now()]

    def _obey(self, command: str, now_s: float) -> bytes:
        self._repeats = command == "R"
        self.next_s = now_s + REPEAT_EVERY_S if self._repeats else inf
        if preset := _TARE.fullmatch(command):
            return self._done(succeeded=self._face.preset_tare(Decimal(preset[1])), refused="T")
        answer = self._answers.get(command)
        return _message("?") if answer is None else answer()

    def _weight_now(self) -> bytes:
        return self._weight(self._face.indication())

    def _done(self, *, succeeded: bool, refused: str) -> bytes:
        """The weight after a command, or the error of one that was refused."""
        return self._weight(self._face.indication(), refused="" if succeeded else refused)

    def _clear_tare(self) -> bytes:
        self._face.clear_tare()
        return self._weight_now()

    def _begin(self, *lines: str) -> bytes:
        """Begin a dialogue, whose lines are asked for one by one."""
        self._dialogue = iter((*lines, "END:"))
        return _message("SMA:2/1.0")

    def _continue(self) -> bytes:
        return _message(next(self._dialogue, "END:"))

    def _weight(self, indication: Indication, *, kind: str = "", refused: str = "") -> bytes:
        """`kind` T shows the tare; `refused` is the error in place of a weight."""
        status = refused or _STATUS[indication.load]
        if not refused and indication.load is Load.WITHIN and not indication.gross_kg:
            status = "Z"
        kind = kind or ("N" if indication.tare_kg else "G")
        weight_kg = {"T": indication.tare_kg, "N": indication.net_kg, "G": indication.gross_kg}[kind]
        text = _DASHES if refused else f"{shown(weight_kg, self._face.interval_kg):>10}"
        motion = " " if indication.is_stable else "M"
        return _message(f"{status}1{kind}{motion} {text}kg ")

    def _capacity(self) -> str:
        digits = decimals(self._face.interval_kg)
        count_by = int(self._face.interval_kg.scaleb(digits))
        return f"CAP:kg_:{self._face.capacity_kg:.{digits}f}:{count_by}:{digits}"


def _message(text: str) -> bytes:
    return f"\n{text}\r".encode("ascii")
