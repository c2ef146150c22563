"""The part of the reader that reads: settings, the one ROSpec, what it has seen, and when that becomes a report."""

from __future__ import annotations

from collections.abc import Callable

from simulators.faces import PortalFace
from simulators.llrp import events
from simulators.llrp.codes import Event
from simulators.llrp.model import Model
from simulators.llrp.outbox import Outbox
from simulators.llrp.reports import Gathered, ReportSpec, TagReport, Told
from simulators.llrp.rospec import RoSpec
from simulators.llrp.run import Run
from simulators.llrp.settings import ReaderSettings


class Inventory:
    """It goes on without a client; `run.Watcher` for the run that it owns."""

    def __init__(
        self, face: PortalFace, outbox: Outbox, *, model: Model, round_s: float, utc_us: Callable[[], int]
    ) -> None:
        self.settings = ReaderSettings()
        self.run: Run | None = None
        self.lost_antennas: frozenset[int] = frozenset()
        self._face = face
        self._outbox = outbox
        self._model = model
        self._round_s = round_s
        self._utc_us = utc_us
        self._told: Told = None
        self._gathered = self._nothing_gathered()

    def tell_all_anew(self, *, to_client: bool) -> None:
        """Whoever reads the next report has seen none before. While there is no client, nothing is left out."""
        self._told = {} if to_client and self._model.omits_unchanged else None

    def change(self, settings: ReaderSettings) -> None:
        """These settings hold from now on."""
        self.settings = settings
        self._outbox.warns = Event.REPORT_BUFFER_FILL_WARNING in settings.notifications
        self._renew()

    def add(self, rospec: RoSpec) -> None:
        """Have this ROSpec, Disabled; there must be none."""
        self.run = Run(rospec, face=self._face, round_s=self._round_s, watcher=self, utc_us=self._utc_us)
        self._renew()

    def delete(self) -> None:
        """Have no ROSpec any more. What it has seen is reported."""
        if self.run is not None:
            self.run.stop()
            self._report()
            self.run = None

    def advance(self, now_s: float) -> None:
        """Let happen what is due."""
        if self.run is not None:
            self.run.advance(now_s, settings=self.settings, lost=self.lost_antennas)

    def take_report(self) -> bytes:
        """The body of a report of all that has been seen since the last; empty when that is nothing."""
        return self._gathered.take(self._told)

    def notify(self, event: Event, body: bytes) -> None:
        """Tell the client if it wants to know."""
        if event in self.settings.notifications:
            self._outbox.event(body)

    def started(self, rospec: RoSpec) -> None:
        self.notify(Event.ROSPEC, events.rospec_started(rospec.id))

    def seen(self, tag: TagReport) -> None:
        if not self._gathered.add(tag):
            self._outbox.overflow()
        spec = self._report_spec
        if spec.trigger and spec.every and len(self._gathered) >= spec.every:
            self._report()

    def ai_spec_ended(self, rospec: RoSpec, spec_index: int) -> None:
        if self._report_spec.trigger == 1:
            self._report()
        self.notify(Event.AI_SPEC, events.ai_spec_ended(rospec.id, spec_index))

    def ended(self, rospec: RoSpec) -> None:
        if self._report_spec.trigger == 2:
            self._report()
        self.notify(Event.ROSPEC, events.rospec_ended(rospec.id))

    @property
    def _report_spec(self) -> ReportSpec:
        own = None if self.run is None else self.run.rospec.report
        return own or self.settings.report

    def _nothing_gathered(self) -> Gathered:
        return Gathered(self._report_spec.content, capacity=self._model.report_capacity)

    def _renew(self) -> None:
        """The reported fields may be others from now on."""
        if self._gathered.content != self._report_spec.content:
            self._report()
            self._gathered = self._nothing_gathered()

    def _report(self) -> None:
        if len(self._gathered) and not self._outbox.report(self._gathered.take(self._told)):
            self.tell_all_anew(to_client=self._told is not None)
