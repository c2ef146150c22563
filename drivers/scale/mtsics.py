"""MT-SICS: the Mettler-Toledo Standard Interface Command Set, levels 0 and 1, as lines of text. Pure.

Shape of an answer (reference manual 11780711, "General structure of responses"): an ID, a status letter, data, a unit,
CR LF. `SI` and `SIR` answer with the ID `S`; general errors are two letters alone. The weight stands right-aligned in
ten characters, but some terminals use another width, so that fields are told apart by the spaces between them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from drivers.scale.indication import GARBLED, Indication, Status

_WEIGHT = re.compile(r"-?\d{1,15}(?:\.\d{1,9})?", re.ASCII)
_UNIT = re.compile(r"[A-Za-z%/]{1,6}[0-9]?")
_ID = re.compile(r"[A-Z@][A-Z0-9]{0,3}")
_ERRORS = frozenset({"ES", "ET", "EL"})
_STATUSES = frozenset("SDABIL+-^E")
"""`^` and `E` are of the two-step answers of RADWAG: range exceeded, not settled in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One line. A general error has no ID, and its two letters as its status."""

    id: str
    status: str
    weight: Decimal | None = None
    unit: str = ""
    text: str = ""
    """What stands behind the status when that is no weight."""

    def __str__(self) -> str:
        weight = "" if self.weight is None else str(self.weight)
        return " ".join(filter(None, (self.id, self.status, weight, self.unit, self.text)))

    @property
    def is_error(self) -> bool:
        """Whether it is a general error: ES syntax, ET transmission, EL logic."""
        return not self.id

    @property
    def is_power_up(self) -> bool:
        """Whether the instrument tells its serial number, which it does unasked when it was switched on."""
        return self.id == "I4" and self.status == "A"


def parse(line: str) -> Answer | None:
    """The answer in a line; None when it is none, as one is that has lost a part."""
    if line in _ERRORS:
        return Answer("", line)
    parts = line.split()
    if len(parts) < 2 or line != line.lstrip() or not _ID.fullmatch(parts[0]) or parts[1] not in _STATUSES:
        return None
    found_id, status, *data = parts
    if status in "SDA" and len(data) == 2 and _WEIGHT.fullmatch(data[0]):
        return Answer(found_id, status, Decimal(data[0]), data[1]) if _UNIT.fullmatch(data[1]) else None
    if found_id == "S" and data and data[0] != "Error":
        return None
    return Answer(found_id, status, text=" ".join(data))


def indication(answer: Answer) -> Indication:
    """What an answer with the ID `S` says. MT-SICS tells net weights and nothing about gross."""
    match answer.status:
        case "S" | "D" if answer.weight is not None:
            status = Status.OK if answer.status == "S" else Status.MOTION
            stable = answer.status == "S"
            return Indication(status, answer.weight, net=answer.weight, unit=answer.unit, stable=stable)
        case "S" | "D" if answer.text.startswith("Error"):
            return Indication(Status.ERROR)
        case "+":
            return Indication(Status.OVERLOAD)
        case "-":
            return Indication(Status.UNDERLOAD)
        case "I":
            return Indication(Status.BUSY)
        case _:
            return GARBLED
