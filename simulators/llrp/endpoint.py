"""The socket of an LLRP reader: one client at a time, a timer for what time brings, and the reader misbehaving."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from random import Random
from ssl import SSLContext

from simulators.faces import PortalFace
from simulators.faults import Fault, FaultError, FaultKind
from simulators.listener import Client, ListeningEndpoint
from simulators.llrp.model import Model
from simulators.llrp.reader import Reader
from simulators.llrp.wire import FramingError, Message, MessageStream

_MOST_PIECES = 8
_PIECE_GAP_S = 0.001
_MERGED_OVER_S = 0.1


class _Clock:
    """Uptime of the event loop; UTC from a wall clock, off by what a fault makes it."""

    def __init__(self, wall_ns: Callable[[], int]) -> None:
        self.offset_s = 0.0
        self._wall_ns = wall_ns

    def uptime_s(self) -> float:
        return asyncio.get_running_loop().time()

    def utc_us(self) -> int:
        return max(0, self._wall_ns() // 1000 + round(self.offset_s * 1e6))


class LlrpEndpoint(ListeningEndpoint):
    """An RFID reader that speaks LLRP 1.0.1 for one portal. `fault: antenna-lost` takes the antenna as its `code`."""

    kind = "llrp"
    scheme = "llrp"
    highest_code = 0xFFFF
    possible_faults = frozenset(
        {
            FaultKind.NONE,
            FaultKind.REFUSE,
            FaultKind.RESET,
            FaultKind.BUSY,
            FaultKind.CLOSE_EVENT,
            FaultKind.HANG,
            FaultKind.SILENT,
            FaultKind.SLOW,
            FaultKind.SPLIT,
            FaultKind.MERGED,
            FaultKind.GARBLE,
            FaultKind.HALF_FRAME,
            FaultKind.EXCEPTION,
            FaultKind.WRONG_CLOCK,
            FaultKind.BUFFER_OVERFLOW,
            FaultKind.ANTENNA_LOST,
            FaultKind.RESTART,
        }
    )

    def __init__(
        self,
        name: str,
        face: PortalFace,
        *,
        host: str,
        port: int,
        random: Random,
        tls: SSLContext | None = None,
        model: Model | None = None,
        rounds_per_s: float = 20.0,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Port 0 picks a free one."""
        super().__init__(name, [face.name], host=host, port=port, random=random, tls=tls)
        self._antennas = face.antennas
        self._clock = _Clock(wall_ns)
        self._reader = Reader(face, clock=self._clock, model=model, rounds_per_s=rounds_per_s)
        self._served: _Connection | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def url(self) -> str:
        """`llrps://` where it is TLS."""
        return super().url if self._tls is None else super().url.replace("llrp:", "llrps:", 1)

    def power_cycle(self, unit: int | None = None) -> None:  # noqa: ARG002 - a reader has no units
        self._reader.power_cycle()
        self._served = None

    def connected(self, client: Client) -> None:
        super().connected(client)
        assert isinstance(client, _Connection)
        if client.transport.is_closing():
            return
        served = self._served
        if self.fault().kind is FaultKind.BUSY or (served is not None and not served.transport.is_closing()):
            client.deliver([self._reader.turn_away()], self.fault(), self._random)
            client.finish()
        else:
            self._served = client
            self._reader.connect()
            if self.fault().kind is FaultKind.CLOSE_EVENT:
                self._reader.end_connection()
        self.flush()

    def disconnected(self, client: Client) -> None:
        super().disconnected(client)
        if client is self._served:
            self._served = None
            self._reader.disconnect()

    def received(self, client: _Connection, messages: Sequence[Message]) -> None:
        """`messages` have come from a client."""
        fault = self.fault()
        if fault.kind is FaultKind.RESET:
            client.reset()
            return
        if fault.kind is FaultKind.HANG or client is not self._served:
            return
        for message in messages:
            if fault.kind is FaultKind.EXCEPTION:
                self._reader.fail(message, fault.code)
            elif not self._reader.is_closing:
                self._reader.receive(message)
        self.flush()

    def flush(self) -> None:
        """Send what there is to send, and be back when the reader is due."""
        client = self._served
        if client is not None and not client.is_blocked:
            output = self._reader.take()
            fault = self.fault()
            if fault.kind is not FaultKind.HANG:
                unasked = [] if fault.kind is FaultKind.SILENT else output.unasked
                client.deliver([*output.answers, *unasked], fault, self._random)
            if self._reader.is_closing:
                client.finish()
        self._wait()

    async def _stop(self) -> None:
        await super()._stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _client(self) -> Client:
        return _Connection(self)

    def _check(self, fault: Fault, unit: int | None) -> None:
        super()._check(fault, unit)
        if fault.kind is FaultKind.ANTENNA_LOST and not 1 <= fault.code <= self._antennas:
            raise FaultError(f'there is no antenna {fault.code} at "{self.name}"; they are 1 to {self._antennas}')

    async def _changed(self, fault: Fault) -> None:
        await super()._changed(fault)
        self._clock.offset_s = fault.offset_s
        self._reader.lose_reports(fault.kind is FaultKind.BUFFER_OVERFLOW)
        self._reader.lose_antennas(frozenset({fault.code} if fault.kind is FaultKind.ANTENNA_LOST else ()))
        if fault.kind is FaultKind.CLOSE_EVENT and self._served is not None:
            self._reader.end_connection()
        self.flush()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (due_s := self._reader.due_s) is not None:
            self._timer = asyncio.get_running_loop().call_at(due_s, self._advance)

    def _advance(self) -> None:
        self._timer = None
        self._reader.advance()
        self.flush()


class _Connection(Client):
    """One client."""

    __slots__ = ("_endpoint", "_free_at_s", "_merged", "_stream", "is_blocked")

    def __init__(self, endpoint: LlrpEndpoint) -> None:
        super().__init__(endpoint)
        self.is_blocked = False
        """The client does not take what it gets."""
        self._endpoint = endpoint
        self._stream = MessageStream()
        self._free_at_s = 0.0
        self._merged = bytearray()

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._stream.feed(data)
        except FramingError:
            self.transport.abort()
            return
        self._endpoint.received(self, messages)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.is_blocked = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self.is_blocked = False
        self._endpoint.flush()

    def deliver(self, messages: Sequence[bytes], fault: Fault, random: Random) -> None:
        """Send `messages` as `fault` makes them look, after everything that was to be sent before."""
        whole = b"".join(messages)
        if not whole:
            return
        match fault.kind:
            case FaultKind.GARBLE:
                self._send_at(0.0, random.randbytes(len(whole)))
            case FaultKind.HALF_FRAME:
                self._send_at(0.0, b"".join(message[: len(message) // 2] for message in messages))
            case FaultKind.SLOW:
                self._send_at(self.loop.time() + fault.delay_s, whole)
            case FaultKind.MERGED:
                self._merge(whole)
            case FaultKind.SPLIT:
                count = random.randint(2, _MOST_PIECES)
                cuts = sorted(random.sample(range(1, len(whole)), min(count, len(whole)) - 1))
                for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
                    self._send_at(max(self._free_at_s, self.loop.time()) + _PIECE_GAP_S, whole[start:end])
            case _:
                self._send_at(0.0, whole)

    def finish(self) -> None:
        """Close the connection once everything has been sent."""
        self._release()
        if self._free_at_s <= self.loop.time():
            self.transport.close()
        else:
            self.loop.call_at(self._free_at_s, self.transport.close)

    def _merge(self, whole: bytes) -> None:
        if not self._merged:
            self.loop.call_later(_MERGED_OVER_S, self._release)
        self._merged += whole

    def _release(self) -> None:
        whole, self._merged = bytes(self._merged), bytearray()
        self._send_at(0.0, whole)

    def _send_at(self, when_s: float, data: bytes) -> None:
        """Send at `when_s`, or as soon as what is ahead has gone."""
        if self._merged:
            data, self._merged = bytes(self._merged) + data, bytearray()
        when_s = max(when_s, self._free_at_s)
        if when_s <= self.loop.time():
            self.send(data)
        else:
            self._free_at_s = when_s
            self.loop.call_at(when_s, self.send, data)
