"""Lines of text, described by a pattern: the formats that are known here, and what any of them says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from drivers.pattern import Pattern, TooSlow, compile_pattern
from drivers.scale.indication import GARBLED, WITH_WEIGHT, Indication, Status, number

GROUPS = frozenset({"weight", "gross", "net", "tare", "kind", "sign", "unit", "status", "stable"})
"""Names of groups that mean something."""
_NUMBERS = ("weight", "gross", "net", "tare")
_KINDS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("G", "GS", "GROSS", "B"), "gross"),
        **dict.fromkeys(("N", "NT", "NET"), "net"),
        **dict.fromkeys(("T", "TR", "PT", "TARE"), "tare"),
    }
)
STATUSES: Mapping[str, Status] = MappingProxyType(
    {
        **dict.fromkeys(("", "S", "ST", "OK"), Status.OK),
        **dict.fromkeys(("D", "M", "US", "?"), Status.MOTION),
        **dict.fromkeys(("HD",), Status.HOLD),
        **dict.fromkeys(("O", "OL", "OVER", "+", "H", "HIGH"), Status.OVERLOAD),
        **dict.fromkeys(("U", "UL", "UNDER", "-", "L", "LOW"), Status.UNDERLOAD),
        **dict.fromkeys(("--", "C", "CAL"), Status.BUSY),
        **dict.fromkeys(("E", "ERR", "ERROR"), Status.ERROR),
    }
)
"""What the text of the group `status` means, in whatever case. Any other text is an error of the instrument."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A format that is known, and how its instrument is asked for it."""

    pattern: str
    request: str
    statuses: Mapping[str, Status] = field(default_factory=lambda: STATUSES)
    starts_alike: bool = True
    """No line looks like the second part of another one."""


class PresetName(StrEnum):
    """Formats that are known."""

    A_D = "a-d"
    SARTORIUS_SBI = "sartorius-sbi"
    OHAUS = "ohaus"
    DINI_ARGEO = "dini-argeo"


PRESETS: Mapping[PresetName, Preset] = MappingProxyType(
    {
        # A&D AD-4406 manual, p. 45 to 48: `ST,GS,+00123.0kg`. Balances leave out the second header. AD-4402 says LO
        # where others say OL.
        PresetName.A_D: Preset(
            r"(?P<status>ST|US|OL|LO|HD)[, ]+(?:(?P<kind>GS|NT|TR|PT|G|N|T) ?,)?\s*"
            r"(?P<weight>[+-]?[\d ]{0,10}[.,]?[\d ]{0,10}?)\s*(?P<unit>kg|g|t|lb|oz)\s*",
            r"RW\r\n",
            MappingProxyType({**STATUSES, "LO": Status.OVERLOAD}),
        ),
        # Sartorius CPA manual, p. 57: sign, space, 8 characters, space, 3 of unit; perhaps 6 characters of ID before
        # them. Without a unit the weight has not settled, or a text stands in place of the number.
        PresetName.SARTORIUS_SBI: Preset(
            r"(?:(?P<kind>[NGT])[ #] {4})?(?P<sign>[+ -]) (?P<weight>[ \d.\[\]]{7,9}[\d\]])"
            r"(?: (?P<stable>(?P<unit>[a-zA-Z%/ ]{0,3})))?"
            r"|(?:Stat {2})?\s*(?P<status>High|Low|H|L|--|C(?=\s*$)|(?:Err|Cal)(?=[ .]))[\w .]*",
            r"\eP\r\n",
        ),
        # Ohaus Defender 3000 manual, p. 35: sign, space, 7 characters, space, 5 of unit, `?` while it moves, legend.
        # Balances have 10 to 12 characters, with the sign among them.
        PresetName.OHAUS: Preset(
            r"(?:(?P<sign>[- ]) (?P<weight>[ \d.]{6}\d)|(?P<weight>[- \d.]{9,11}\d)) +(?P<unit>[a-zA-Z%/]{1,5}) *"
            r"(?P<status>\??) *(?P<kind>NET|[GNT])?\s*",
            r"IP\r\n",
            starts_alike=False,
        ),
        # Dini Argeo 3590 technical manual, p. 65: `ST,GS,  123.45,kg`, with an address of two digits on RS-485.
        PresetName.DINI_ARGEO: Preset(
            r"(?:\d\d)?(?P<status>ST|US|OL|UL),(?P<kind>NT|GS),(?P<weight>.{8}), *(?P<unit>kg|g|t|lb)\s*",
            r"READ\r\n",
        ),
    }
)


def compile_text(text: str) -> Pattern:
    """An operator's pattern. Raises ValueError in an operator's words."""
    pattern = compile_pattern(text, groups=GROUPS, needs=())
    if not pattern.groups & {"weight", "gross", "net"}:
        raise ValueError("the pattern needs a group (?P<weight>…) that takes the weight; or one of gross, net")
    return pattern


def tells_stability(pattern: Pattern) -> bool:
    """Whether its lines say that the weight has settled."""
    return bool(pattern.groups & {"status", "stable"})


def indication(line: str, pattern: Pattern, statuses: Mapping[str, Status] = STATUSES) -> Indication | None:
    """What a line says; `GARBLED` when it does not match, or not as it should.

    None for a line that matches without a number or a status: a heading, a date, whatever the pattern lets pass.
    Raises `TooSlow`.
    """
    found = pattern.match(line)
    if found is None:
        return GARBLED
    given = {name: found[name] for name in _NUMBERS if name in found}
    if not given and "status" not in found:
        return None
    status = _status(found, pattern, statuses)
    if status not in WITH_WEIGHT:
        return Indication(status, unit=found.get("unit", "").strip())
    numbers = _numbers(given, found)
    if numbers is None:
        return GARBLED
    stable = status in (Status.OK, Status.ZERO) if tells_stability(pattern) else None
    weight, gross, net, tare = (numbers.get(name) for name in _NUMBERS)
    if weight is None:
        weight = net if net is not None else gross
    if weight is None:
        status = Status.BUSY
    return Indication(status, weight, gross, net, tare, found.get("unit", "").strip(), stable)


def _status(found: Mapping[str, str], pattern: Pattern, statuses: Mapping[str, Status]) -> Status:
    status = statuses.get(found.get("status", "").strip().upper(), Status.ERROR)
    if status is Status.OK and "stable" in pattern.groups:
        text = found.get("stable", "").strip().upper()
        if not text or statuses.get(text) is Status.MOTION:
            return Status.MOTION
    return status


def _numbers(given: Mapping[str, str], found: Mapping[str, str]) -> dict[str, Decimal] | None:
    """The numbers by what they are; None when one of them is none, or the line says something that is not known."""
    sign = found.get("sign", "").strip()
    numbers: dict[str, Decimal] = {}
    for name, text in given.items():
        value = number(sign + text.strip() if name != "tare" else text)
        if value is None:
            return None
        numbers[name] = value
    kind = found.get("kind", "").strip().upper()
    if kind and "weight" in numbers:
        if kind not in _KINDS:
            return None
        numbers[_KINDS[kind]] = numbers["weight"]
        if _KINDS[kind] == "tare":
            del numbers["weight"]
    return numbers


__all__ = ["PRESETS", "STATUSES", "PresetName", "TooSlow", "compile_text", "indication", "tells_stability"]
