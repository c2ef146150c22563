"""One device: from what its antennas see to readings."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from drivers.model import Point, PointGroup, Quality, Reading, Reason, all_bad, bad
from drivers.rfid.clock import iso_text
from drivers.rfid.deduplicate import Deduplicator
from drivers.rfid.epc import pure_identity
from drivers.rfid.settings import RfidDeviceSettings
from drivers.rfid.sighting import Sighting

_log = logging.getLogger(__name__)

POINTS = (
    Point("epc"),
    Point("uri"),
    Point("antenna"),
    Point("rssi", "dBm"),
    Point("seen_count"),
    Point("first_seen"),
    Point("last_seen"),
)
"""Those of every RFID device; the README and the config file cannot change them."""
_ANTENNA = 2


class Portal:
    """A device with its stays. Lives as long as the driver."""

    def __init__(self, device: RfidDeviceSettings) -> None:
        self.group = PointGroup(device.name, 0.0, POINTS, events=True)
        self.antennas = frozenset(device.antennas)
        """Empty: all of them."""
        self._prefixes = device.filter
        self._stays = (
            None if device.window is None else Deduplicator(window_s=device.window, report_tags=device.report_tags)
        )
        self._untold: list[Reading] = []
        self._has_complained = False
        self._in_use = set(device.antennas)
        """The antennas that are expected to work: those of the settings, and any that has seen a tag."""
        self._disconnected: set[int] = set()

    @property
    def next_end_s(self) -> float:
        """When `end_stays` has something to report, in monotonic seconds; infinity when it has not."""
        return float("inf") if self._stays is None else self._stays.next_end_s

    def see(self, seen: Sighting, *, now_s: float, is_timed: bool = False) -> Sequence[Reading]:
        """What is to be reported of it. `now_s` is monotonic; `is_timed` as `Deduplicator.see`."""
        if seen.antenna is not None:
            self._in_use.add(seen.antenna)
            if seen.antenna in self._disconnected:  # it was plugged in while the reader could not tell
                self._connected(seen.antenna)
        if self._prefixes and not seen.epc.startswith(self._prefixes):
            return ()  # a tag that has missed the reader's mask answers all the same
        if self._stays is None:
            return (self._reading(seen),)
        told = self._stays.see(seen, now_s=now_s, is_timed=is_timed)
        if self._stays.ended_early and not self._has_complained:
            self._has_complained = True
            _log.warning(
                "%s: more than %d tags in its window; those seen longest ago count as new when they are seen again; "
                "shorten window",
                self.group,
                len(self._stays),
            )
        return [self._reading(each) for each in told] if told else ()

    def end_stays(self, *, now_s: float) -> Sequence[Reading]:
        """The stays that have ended and are to be reported."""
        return () if self._stays is None else [self._reading(each) for each in self._stays.end_stays(now_s=now_s)]

    def start_anew(self) -> None:
        """The reader is being connected, perhaps again: whether a tag has stayed since is not known, so none has."""
        if self._stays is not None:
            self._untold += [self._reading(each) for each in self._stays.end_all()]

    def untold(self) -> Sequence[Reading]:
        """The stays of an earlier connection that are to be reported; from then on they have been."""
        told, self._untold = self._untold, []
        return told

    def failed(self, reason: Reason, *, now_ns: int) -> Reading:
        """Something went wrong that is no tag: reports were lost, or could not be understood."""
        return all_bad(self.group, now_ns, reason)

    def antenna_changed(self, antenna: int, *, is_connected: bool, now_ns: int) -> Sequence[Reading]:
        """A cable came off or was plugged in. Of antennas that are not in use nobody wants to hear."""
        if is_connected:
            if antenna in self._disconnected:
                self._connected(antenna)
            return ()
        if antenna in self._disconnected or antenna not in self._in_use:
            return ()
        self._disconnected.add(antenna)
        _log.error("%s: antenna %d is disconnected: no tag is read there; check its cable", self.group, antenna)
        quality: dict[int, Quality] = dict.fromkeys(range(len(POINTS)), bad(Reason.DEVICE_ERROR))
        del quality[_ANTENNA]
        values = tuple(antenna if index == _ANTENNA else None for index in range(len(POINTS)))
        return (Reading(self.group, now_ns, values, quality),)

    def _connected(self, antenna: int) -> None:
        self._disconnected.remove(antenna)
        _log.warning("%s: antenna %d is connected again", self.group, antenna)

    def _reading(self, seen: Sighting) -> Reading:
        uri = pure_identity(seen.epc, size_bits=seen.size_bits, afi=seen.afi)
        first, last = iso_text(seen.first_seen_ns), iso_text(seen.last_seen_ns)
        values = (seen.epc, uri, seen.antenna, seen.rssi, seen.seen_count, first, last)
        return Reading(self.group, seen.last_seen_ns, values)
