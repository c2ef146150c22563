"""Fills in what a reader left out of a report because it is as before (section 14.2.3.1)."""

from __future__ import annotations

from drivers.rfid.llrp.reports import TagReport

MOST_REMEMBERED = 10_000
"""Tags at antennas; the one that came first is forgotten first."""


class LastReports:
    """The last report of each tag at each antenna, in one connection.

    An antenna that is left out is that of the report before, whichever tag it was; all else is what was last reported
    of the same tag at the same antenna. The standard speaks of the last value of that kind without saying whose: a
    signal strength or a time is never borrowed from another tag.
    """

    def __init__(self, *, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._antenna: int | None = None
        self._known: dict[tuple[bytes, int | None], TagReport] = {}

    def __len__(self) -> int:
        return len(self._known)

    def complete(self, report: TagReport) -> TagReport:
        """`report` with what is known of it; what never came is still None."""
        antenna = self._antenna = self._antenna if report.antenna is None else report.antenna
        key = (report.epc, antenna)
        if None in report and (before := self._known.get(key)) is not None:
            said = {name: value for name, value in report._asdict().items() if value is not None}
            report = before._replace(**said)
        elif report.antenna is None:
            report = report._replace(antenna=antenna)
        self._known[key] = report
        if len(self._known) > self._most:
            del self._known[next(iter(self._known))]
        return report
