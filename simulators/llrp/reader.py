"""The reader itself: messages of one client in, messages for it out, and what time brings. No I/O, no waiting.

Whoever has the socket calls `connect`, `receive` and `disconnect`, calls `advance` at `due_s`, and sends what `take`
gives. What a client does not take is kept up to a bound: reports and events that are held (`EventsAndReports`), that
come while nobody is connected, or that a blocked socket cannot carry.

A lost connection ends the keepalive and nothing else: ROSpec and settings stay until a factory reset or a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from simulators.faces import PortalFace
from simulators.llrp import events
from simulators.llrp.codes import ConnectionStatus, Event, MessageType, Status, Tlv
from simulators.llrp.grammar import Fields, Refused, bad_field, bad_message_field, status
from simulators.llrp.inventory import Inventory
from simulators.llrp.model import Model, capabilities
from simulators.llrp.outbox import Outbox, Output
from simulators.llrp.rospec import State, read_rospec
from simulators.llrp.run import Run
from simulators.llrp.settings import read_settings, show_settings
from simulators.llrp.wire import VERSION, Message, encode

_ALL = 0
_UNANSWERED = frozenset({MessageType.ENABLE_EVENTS_AND_REPORTS, MessageType.KEEPALIVE_ACK, MessageType.ERROR_MESSAGE})


class Clock(Protocol):
    """Where the reader's time comes from."""

    def uptime_s(self) -> float:
        """Never goes back."""
        ...

    def utc_us(self) -> int:
        """What the reader believes the time to be, in microseconds since 1970."""
        ...


class Reader:
    """One reader with one portal."""

    def __init__(
        self, face: PortalFace, *, clock: Clock, model: Model | None = None, rounds_per_s: float = 20.0
    ) -> None:
        self._face = face
        self._clock = clock
        self._model = model or Model()
        self._round_s = 1 / rounds_per_s
        self.power_cycle()

    def power_cycle(self) -> None:
        """Forget settings, ROSpec, reports and the client."""
        self._outbox = Outbox(capacity=self._model.report_capacity, utc_us=self._clock.utc_us)
        self._inventory = Inventory(
            self._face, self._outbox, model=self._model, round_s=self._round_s, utc_us=self._clock.utc_us
        )
        self._connected = self._closing = False
        self._keepalive_at_s: float | None = None

    @property
    def is_closing(self) -> bool:
        """The connection ends: send what `take` gives and close it."""
        return self._closing

    @property
    def due_s(self) -> float | None:
        """The uptime at which `advance` must be called."""
        run = self._inventory.run
        due = (self._keepalive_at_s, None if run is None else run.due_s)
        return min((each for each in due if each is not None), default=None)

    def connect(self) -> None:
        """A client is there; it is told so before anything else."""
        self._connected = True
        self._closing = False
        self._inventory.tell_all_anew(to_client=True)
        self._outbox.holding = self._inventory.settings.hold
        welcome = events.connection_attempt(ConnectionStatus.SUCCESS)
        self._outbox.answer(self._outbox.notification(welcome))

    def disconnect(self) -> None:
        """The client is gone."""
        self._connected = self._closing = False
        self._keepalive_at_s = None
        self._inventory.tell_all_anew(to_client=False)
        self._outbox.client_is_gone()

    def turn_away(self) -> bytes:
        """What a second client gets before its connection is closed; the first is told that there was one."""
        if self._connected:
            self._outbox.event(events.connection_attempt(ConnectionStatus.ANOTHER_ATTEMPTED))
        return self._outbox.notification(events.connection_attempt(ConnectionStatus.FAILED_CLIENT_EXISTS))

    def end_connection(self) -> None:
        """Close unasked: the client is told."""
        self._outbox.answer(self._outbox.notification(events.connection_close()))
        self._closing = True

    def lose_reports(self, lost: bool) -> None:  # noqa: FBT001 - a switch
        """From now on, and until it is switched off, whatever is kept for the client is lost."""
        if lost and not self._outbox.losing:
            self._inventory.take_report()
            self._outbox.lose()
        self._outbox.losing = lost
        self._inventory.tell_all_anew(to_client=self._connected)

    def lose_antennas(self, antennas: frozenset[int]) -> None:
        """These and no others are disconnected from now on."""
        for antenna in sorted(self._inventory.lost_antennas ^ antennas):
            body = events.antenna_changed(antenna, 0 if antenna in antennas else 1)
            self._inventory.notify(Event.ANTENNA, body)
        self._inventory.lost_antennas = antennas

    def receive(self, message: Message) -> None:
        """Act on what the client sent."""
        self.advance()
        if message.version != VERSION:
            text = f"LLRP version {message.version} is not spoken"
            self._refuse(message, Status.M_UNSUPPORTED_VERSION, text, version=message.version)
            return
        handler = self._HANDLERS.get(message.type)
        if handler is None:
            self._refuse(message, Status.M_UNSUPPORTED_MESSAGE, f"message type {message.type} is not supported")
            return
        answer, act = handler
        try:
            body = status() + act(self, Fields(None, message.body), message)
        except Refused as refused:
            body = refused.status
        if answer is not None:
            self._outbox.answer(encode(answer, message.id, body))

    def fail(self, message: Message, code: int) -> None:
        """Answer with an error, and do not act on it."""
        if message.type not in _UNANSWERED:
            self._refuse(message, code, "the reader has failed")

    def advance(self) -> None:
        """Let happen what is due."""
        now_s = self._clock.uptime_s()
        if self._keepalive_at_s is not None and now_s >= self._keepalive_at_s:
            self._outbox.keepalive()
            interval_s = self._inventory.settings.keepalive_ms / 1000
            missed = (now_s - self._keepalive_at_s) // interval_s
            self._keepalive_at_s += (missed + 1) * interval_s
        self._inventory.advance(now_s)

    def take(self) -> Output:
        """What goes to the client now. Only while there is one."""
        return self._outbox.take()

    # Requests. Each gives what its answer has after the status.

    def _get_capabilities(self, fields: Fields, _: Message) -> bytes:
        (requested,) = fields.take("B")
        fields.end()
        if requested > 4:
            raise bad_message_field(0, f"there is no RequestedData {requested}", Status.A_OUT_OF_RANGE)
        return capabilities(self._model, self._face.antennas, requested=requested)

    def _get_config(self, fields: Fields, _: Message) -> bytes:
        lost = self._inventory.lost_antennas
        connected = {antenna: antenna not in lost for antenna in range(1, self._face.antennas + 1)}
        return show_settings(self._inventory.settings, fields, model=self._model, connected=connected)

    def _set_config(self, fields: Fields, _: Message) -> bytes:
        before = self._inventory.settings
        reset, settings = read_settings(fields, before, antennas=self._face.antennas, model=self._model)
        if reset:
            self._inventory.delete()
        self._inventory.change(settings)
        if settings.keepalive_ms != before.keepalive_ms or self._keepalive_at_s is None:
            interval_s = settings.keepalive_ms / 1000
            self._keepalive_at_s = self._clock.uptime_s() + interval_s if interval_s else None
        return b""

    def _add_rospec(self, fields: Fields, _: Message) -> bytes:
        rospec = read_rospec(fields.one(Tlv.ROSPEC), antennas=self._face.antennas, model=self._model)
        fields.end()
        run = self._inventory.run
        if run is not None and run.rospec.id == rospec.id:
            raise bad_field(Tlv.ROSPEC, 0, f"there is a ROSpec {rospec.id} already")
        if run is not None:
            raise Refused(Status.M_OVERFLOW_PARAMETER, "this reader has room for one ROSpec")
        self._inventory.add(rospec)
        return b""

    def _delete_rospec(self, fields: Fields, _: Message) -> bytes:
        self._runs(fields, all_allowed=True)
        self._inventory.delete()
        return b""

    def _enable_rospec(self, fields: Fields, _: Message) -> bytes:
        for run in self._runs(fields, all_allowed=True):
            run.enable(self._clock.uptime_s())
        return b""

    def _disable_rospec(self, fields: Fields, _: Message) -> bytes:
        for run in self._runs(fields, all_allowed=True):
            run.disable()
        return b""

    def _start_rospec(self, fields: Fields, _: Message) -> bytes:
        for run in self._runs(fields, all_allowed=False):
            if run.state is State.DISABLED:
                raise bad_message_field(0, f"ROSpec {run.rospec.id} is disabled")
            run.start(self._clock.uptime_s())
        return b""

    def _stop_rospec(self, fields: Fields, _: Message) -> bytes:
        for run in self._runs(fields, all_allowed=False):
            run.stop()
        return b""

    def _get_rospecs(self, fields: Fields, _: Message) -> bytes:
        fields.end()
        run = self._inventory.run
        return b"" if run is None else run.rospec.encode(run.state)

    def _add_access_spec(self, _: Fields, __: Message) -> bytes:
        raise Refused(Status.M_UNSUPPORTED_MESSAGE, "the tags here have an EPC and no other memory")

    def _on_access_spec(self, fields: Fields, _: Message) -> bytes:
        (id_,) = fields.take("I")
        fields.end()
        if id_ != _ALL:
            raise bad_message_field(0, f"there is no AccessSpec {id_}")
        return b""

    def _get_access_specs(self, fields: Fields, _: Message) -> bytes:
        fields.end()
        return b""

    def _get_report(self, _: Fields, message: Message) -> bytes:
        """The answer is a report, even of nothing."""
        self._outbox.answer(encode(MessageType.RO_ACCESS_REPORT, message.id, self._inventory.take_report()))
        return b""

    def _enable_events(self, _: Fields, __: Message) -> bytes:
        self._outbox.holding = False
        return b""

    def _close(self, fields: Fields, _: Message) -> bytes:
        fields.end()
        self._closing = True
        return b""

    def _ignore(self, _: Fields, __: Message) -> bytes:
        return b""

    def _runs(self, fields: Fields, *, all_allowed: bool) -> list[Run]:
        """The ROSpecs that are meant. Raises `Refused`."""
        (id_,) = fields.take("I")
        fields.end()
        run = self._inventory.run
        if id_ == _ALL and all_allowed:
            return [] if run is None else [run]
        if run is None or run.rospec.id != id_:
            raise bad_message_field(0, f"there is no ROSpec {id_}")
        return [run]

    def _refuse(self, message: Message, code: int, text: str, *, version: int = VERSION) -> None:
        self._outbox.answer(encode(MessageType.ERROR_MESSAGE, message.id, status(code, text), version=version))

    _HANDLERS: ClassVar[dict[int, tuple[MessageType | None, Callable[[Any, Fields, Message], bytes]]]] = {
        MessageType.GET_READER_CAPABILITIES: (MessageType.GET_READER_CAPABILITIES_RESPONSE, _get_capabilities),
        MessageType.GET_READER_CONFIG: (MessageType.GET_READER_CONFIG_RESPONSE, _get_config),
        MessageType.SET_READER_CONFIG: (MessageType.SET_READER_CONFIG_RESPONSE, _set_config),
        MessageType.CLOSE_CONNECTION: (MessageType.CLOSE_CONNECTION_RESPONSE, _close),
        MessageType.ADD_ROSPEC: (MessageType.ADD_ROSPEC_RESPONSE, _add_rospec),
        MessageType.DELETE_ROSPEC: (MessageType.DELETE_ROSPEC_RESPONSE, _delete_rospec),
        MessageType.START_ROSPEC: (MessageType.START_ROSPEC_RESPONSE, _start_rospec),
        MessageType.STOP_ROSPEC: (MessageType.STOP_ROSPEC_RESPONSE, _stop_rospec),
        MessageType.ENABLE_ROSPEC: (MessageType.ENABLE_ROSPEC_RESPONSE, _enable_rospec),
        MessageType.DISABLE_ROSPEC: (MessageType.DISABLE_ROSPEC_RESPONSE, _disable_rospec),
        MessageType.GET_ROSPECS: (MessageType.GET_ROSPECS_RESPONSE, _get_rospecs),
        MessageType.ADD_ACCESSSPEC: (MessageType.ADD_ACCESSSPEC_RESPONSE, _add_access_spec),
        MessageType.DELETE_ACCESSSPEC: (MessageType.DELETE_ACCESSSPEC_RESPONSE, _on_access_spec),
        MessageType.ENABLE_ACCESSSPEC: (MessageType.ENABLE_ACCESSSPEC_RESPONSE, _on_access_spec),
        MessageType.DISABLE_ACCESSSPEC: (MessageType.DISABLE_ACCESSSPEC_RESPONSE, _on_access_spec),
        MessageType.GET_ACCESSSPECS: (MessageType.GET_ACCESSSPECS_RESPONSE, _get_access_specs),
        MessageType.GET_REPORT: (None, _get_report),
        MessageType.ENABLE_EVENTS_AND_REPORTS: (None, _enable_events),
        MessageType.KEEPALIVE_ACK: (None, _ignore),
        MessageType.ERROR_MESSAGE: (None, _ignore),
    }
    """By request: the answer's type, None where a request has none of its own, and what is done."""
