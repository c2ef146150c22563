"""A regular expression with named groups, and what it finds in a line."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches

import regex

MATCH_TIMEOUT_S = 0.05
"""An honest expression takes microseconds for a line; one that backtracks without end must not hold up the loop."""


class TooSlow(Exception):
    """Matching one line took longer than `MATCH_TIMEOUT_S`."""

    def __init__(self) -> None:
        super().__init__(f"the pattern took longer than {MATCH_TIMEOUT_S * 1000:g} ms for one line")


class Pattern:
    """A compiled expression. Made by `compile_pattern`."""

    def __init__(self, expression: regex.Pattern[str]) -> None:
        self._expression = expression

    @property
    def groups(self) -> frozenset[str]:
        """The names of its groups."""
        return frozenset(self._expression.groupindex)

    def match(self, line: str) -> Mapping[str, str] | None:
        """The text of each group that took part, when the *whole* line matches; else None. Raises `TooSlow`.

        Whole, because a part that happens to look right is how the second half of a line becomes a wrong value.
        """
        try:
            found = self._expression.fullmatch(line, timeout=MATCH_TIMEOUT_S)
        except TimeoutError:
            raise TooSlow from None
        if found is None:
            return None
        return {name: text for name, text in found.groupdict().items() if text is not None}


def compile_pattern(text: str, *, groups: Collection[str], needs: Collection[str]) -> Pattern:
    """An expression whose groups are among `groups`, with all of `needs`. Raises ValueError in an operator's words."""
    try:
        expression = regex.compile(text)
    except regex.error as error:
        where = "" if error.pos is None else f" at character {error.pos + 1}"
        raise ValueError(f"the pattern is not a regular expression: {error.msg}{where}") from None
    for name in expression.groupindex:
        if name not in groups:
            close = get_close_matches(name, groups, 1)
            hint = f'; did you mean "{close[0]}"?' if close else ""
            raise ValueError(f'the pattern has a group "{name}"; known are {", ".join(sorted(groups))}{hint}')
    if missing := sorted(set(needs) - expression.groupindex.keys()):
        raise ValueError(f"the pattern needs a group (?P<{missing[0]}>…) that takes the {missing[0]}")
    return Pattern(expression)
