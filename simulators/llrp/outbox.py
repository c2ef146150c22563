"""What waits for the client: answers and keepalives at once, reports and events up to a bound until they can go."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from simulators.llrp import events
from simulators.llrp.codes import MessageType
from simulators.llrp.wire import encode

_WARN_AT_PERCENT = 80


class Output(NamedTuple):
    """Whole messages. `unasked` are keepalives, reports and events."""

    answers: list[bytes]
    unasked: list[bytes]


class Outbox:
    """Messages for one client after the other. Beyond `capacity` reports and events the newest are lost, which the
    client is told with ReportBufferOverflowErrorEvent once the others have gone."""

    def __init__(self, *, capacity: int, utc_us: Callable[[], int]) -> None:
        self.holding = False
        """Reports and events wait until the client enables them."""
        self.warns = False
        """The client wants to know when the outbox is nearly full."""
        self.losing = False
        """Every report and event is lost."""
        self._capacity = capacity
        self._utc_us = utc_us
        self._answers: list[bytes] = []
        self._kept: deque[bytes] = deque()
        self._keepalive = self._overflow = self._warned = False
        self._next_id = 0

    def answer(self, message: bytes) -> None:
        self._answers.append(message)

    def keepalive(self) -> None:
        """One goes out, however often this is called before it can."""
        self._keepalive = True

    def report(self, body: bytes) -> bool:
        """False when it is lost."""
        return self._keep(self._message(MessageType.RO_ACCESS_REPORT, body))

    def event(self, event: bytes) -> None:
        self._keep(self.notification(event))

    def notification(self, event: bytes) -> bytes:
        """A whole message about `event`, which does not wait here."""
        return self._message(MessageType.READER_EVENT_NOTIFICATION, events.notification(self._utc_us(), event))

    def overflow(self) -> None:
        """Something has been lost."""
        self._overflow = True

    def lose(self) -> None:
        """Everything that waits is lost."""
        self._kept.clear()
        self._overflow = True

    def client_is_gone(self) -> None:
        """What answers this client is for nobody; reports and events stay for the next one."""
        self._answers.clear()
        self._keepalive = False

    def take(self) -> Output:
        """What goes now."""
        output = Output(self._answers, [])
        self._answers = []
        if self._keepalive:
            output.unasked.append(self._message(MessageType.KEEPALIVE))
            self._keepalive = False
        if not self.holding:
            output.unasked.extend(self._kept)
            self._kept.clear()
            self._warned = False
            if self._overflow:
                output.unasked.append(self.notification(events.buffer_overflow()))
                self._overflow = False
        return output

    def _keep(self, message: bytes) -> bool:
        if self.losing or len(self._kept) >= self._capacity:
            self._overflow = True
            return False
        self._kept.append(message)
        if self.warns and not self._warned and 100 * len(self._kept) >= _WARN_AT_PERCENT * self._capacity:
            self._warned = True
            self._kept.append(self.notification(events.buffer_level(_WARN_AT_PERCENT)))
        return True

    def _message(self, type_: MessageType, body: bytes = b"") -> bytes:
        id_, self._next_id = self._next_id, self._next_id + 1 & 0xFFFFFFFF
        return encode(type_, id_, body)
