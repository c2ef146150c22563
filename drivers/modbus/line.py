"""One open Modbus connection: a request goes out, its reply comes back or a `DriverError` says why not.

What pymodbus does not do, or not in a way that an unattended gateway can live with, is done here;
`docs/decisions/0004-modbus-read-path.md` lists it with the reasons.
"""

from __future__ import annotations

import asyncio
import ssl
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NoReturn, Protocol

from drivers.modbus import failure
from drivers.modbus.endpoint import Endpoint, SerialEndpoint, TcpEndpoint
from drivers.modbus.owing import Owing
from drivers.modbus.pacing import Pacing
from drivers.modbus.request import Request
from drivers.modbus.wire import NotConnected, Reply, make_client
from drivers.tls import DeviceTlsSettings


class Asker(Protocol):
    """Something that carries requests to units, one at a time."""

    async def ask(self, request: Request, *, timeout_s: float) -> bytes:
        """The data of the reply.

        Raises `BadResponse`: `failure.Refused` for an exception reply, `failure.NoAnswer` when the timeout has passed,
        itself for an answer that does not fit. Raises `DeviceUnavailable` when the connection is lost. Never called
        concurrently.
        """
        ...


class Line:
    """An open connection, made by `open_line`. An `Asker`."""

    def __init__(
        self, endpoint: Endpoint, *, tls: DeviceTlsSettings | None, pacing: Pacing | None, owing: Owing
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._endpoint = endpoint
        self._tls = tls or DeviceTlsSettings()
        self._pacing = pacing
        self._owing = owing
        self._has_transactions = endpoint.framing.has_transactions
        self._takes_turns = pacing is not None or not self._has_transactions
        self._client: Any = None
        self._made = asyncio.Event()
        self._lost = False
        self._lost_by: Exception | None = None
        self._deadline: asyncio.Timeout | None = None
        self._heard = b""
        self._heard_at = 0.0

    async def ask(self, request: Request, *, timeout_s: float) -> bytes:
        """As `Asker.ask`."""
        if self._lost:
            raise failure.lost(request.attempt, self._endpoint, self._lost_by, asked=False)
        if self._takes_turns:
            await self._take_turn(request, timeout_s)
        task = asyncio.current_task()
        assert task is not None
        cancellations = task.cancelling()
        self._heard = b""
        answered = False
        try:
            async with asyncio.timeout(timeout_s) as self._deadline:
                reply: Any = await self._client.execute(False, request)
                if task.cancelling() > cancellations:  # swallowed by the wait_for in pymodbus (Python gh-86296)
                    raise asyncio.CancelledError
            data = self._data(request, reply)
            answered = True
        except TimeoutError:
            self._raise_no_answer(request, timeout_s)
        except failure.Refused:
            answered = True
            raise
        except NotConnected as error:
            raise failure.lost(request.attempt, self._endpoint, self._lost_by, asked=False) from error
        finally:
            self._deadline = None
            if self._takes_turns:
                self._end_turn(request, timeout_s, answered=answered)
        return data

    def on_packet(self, sending: bool, data: bytes) -> bytes:  # noqa: FBT001  pymodbus's signature
        """Called by pymodbus with bytes on their way; keeps what came, to be able to say what it was."""
        if not sending:
            self._heard = data
            self._heard_at = self._loop.time()
        return data

    def on_lost(self, why: Exception | None) -> None:
        """Called by pymodbus. A pending request has nothing to wait for: its deadline is now."""
        self._lost = True
        self._lost_by = why
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(self._loop.time())

    @property
    def is_lost(self) -> bool:
        """Whether the other end has closed it."""
        return self._lost

    def check_owing(self, request: Request, timeout_s: float) -> None:
        """Raises `failure.Owing` while the unit may still answer an earlier request."""
        if self._owing.owes(request.dev_id, self._loop.time()):
            raise failure.owing(request.attempt, self._endpoint, timeout_s)

    def again(self) -> Line:
        """Another connection to the same place, not open yet."""
        return Line(self._endpoint, tls=self._tls, pacing=self._pacing, owing=self._owing)

    async def open(self, timeout_s: float) -> None:
        """Raises `DeviceUnavailable`. `close` must follow, also when this fails or is cancelled."""
        tls = await self._tls_context()
        try:
            async with asyncio.timeout(timeout_s):
                self._client = make_client(
                    self._endpoint,
                    tls=tls,
                    on_packet=self.on_packet,
                    on_connected=self._made.set,
                    on_lost=self.on_lost,
                )
                # As ModbusProtocol.connect(), which would keep the reason of a failure to its own log.
                self._client.ctx.transport, _ = await self._client.ctx.call_create()
                await self._made.wait()  # the loop sets a serial transport up in its next turns, not before
        except TimeoutError:
            raise failure.no_connection(self._endpoint, timeout_s) from None
        except (OSError, ValueError, termios.error) as error:
            raise failure.cannot_connect(self._endpoint, error) from error

    async def close(self) -> None:
        """Closes at once: nothing unsent is worth waiting for a peer that may be gone."""
        transport: Any = None if self._client is None else self._client.ctx.transport
        if transport is None:
            return
        self._drop_output(transport)
        self._client.close()
        transport.abort()
        await asyncio.sleep(0)  # the loop closes a socket in its next turn

    def _drop_output(self, transport: Any) -> None:
        """Else closing a serial port waits for what a dead line will never take."""
        if isinstance(self._endpoint, SerialEndpoint) and transport.sync_serial is not None:
            with suppress(OSError, termios.error):
                transport.sync_serial.reset_output_buffer()

    async def _tls_context(self) -> tuple[ssl.SSLContext, str] | None:
        if not (isinstance(self._endpoint, TcpEndpoint) and self._endpoint.encrypted):
            return None
        try:
            context = await asyncio.to_thread(self._tls.context)  # reads files
        except OSError as error:
            raise failure.tls_files(self._endpoint, self._tls.files, error) from error
        return context, self._tls.server_name or self._endpoint.host

    async def _take_turn(self, request: Request, timeout_s: float) -> None:
        """Wait until the request may go out; without transactions, with nothing of earlier requests left in the line.

        RTU and ASCII have no transaction id. So a unit that did not answer in time is not asked again before it has had
        its timeout once more to be late in, and what has come by then is thrown away.
        """
        self.check_owing(request, timeout_s)
        unit, now = request.dev_id, self._loop.time()
        wait_s = 0.0 if self._pacing is None else self._pacing.wait_s(unit, now)
        if isinstance(self._endpoint, SerialEndpoint):
            wait_s = max(wait_s, self._heard_at + self._endpoint.frame_gap_s - now)
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if isinstance(self._endpoint, SerialEndpoint):
            self._throw_away(request)
        elif not self._has_transactions:
            for _ in range(2):  # the loop looks at its sockets in the first turn, and hands over what came in the next
                await asyncio.sleep(0)
        if self._lost:
            raise failure.lost(request.attempt, self._endpoint, self._lost_by, asked=False)

    def _throw_away(self, request: Request) -> None:
        transport: Any = self._client.ctx.transport
        if transport is None:
            return
        try:
            transport.sync_serial.reset_input_buffer()
        except (OSError, termios.error) as error:
            raise failure.lost(request.attempt, self._endpoint, asked=False) from error

    def _end_turn(self, request: Request, timeout_s: float, *, answered: bool) -> None:
        now = self._loop.time()
        if self._pacing is not None:
            self._pacing.ended(request.dev_id, now)
        if not answered and not self._has_transactions:
            self._owing.unanswered(request.dev_id, until=now + timeout_s)

    def _data(self, request: Request, reply: Reply) -> bytes:
        if reply.dev_id != request.dev_id:
            raise failure.garbage(request.attempt, self._endpoint, f"unit {reply.dev_id} answered")
        if self._has_transactions and reply.transaction_id != request.transaction_id:
            came = f"the answer has transaction {reply.transaction_id}, not {request.transaction_id}"
            raise failure.garbage(request.attempt, self._endpoint, came)
        if reply.function_code == request.function_code | 0x80:
            code = reply.body[0] if reply.body else 0
            raise failure.Refused(request.attempt, self._endpoint, code, writes=request.writes)
        if reply.function_code != request.function_code:
            raise failure.garbage(request.attempt, self._endpoint, f"an answer to function {reply.function_code}")
        try:
            return request.data(reply.body)
        except ValueError as error:
            raise failure.garbage(request.attempt, self._endpoint, str(error)) from error

    def _raise_no_answer(self, request: Request, timeout_s: float) -> NoReturn:
        heard = self._heard
        if self._lost:
            raise failure.lost(request.attempt, self._endpoint, self._lost_by) from None
        if not heard:
            raise failure.silence(request.attempt, self._endpoint, timeout_s) from None
        if self._has_transactions and _is_earlier_frame(heard, request):
            raise failure.late(request.attempt, self._endpoint, timeout_s) from None
        raise failure.noise(request.attempt, self._endpoint, timeout_s, heard) from None


class OneRequestLines:
    """An `Asker` for devices that serve one request per connection: each request gets a new one.

    The first goes over the connection that `open_line` has made to see that there is a device at all.
    """

    def __init__(self, line: Line, *, timeout_s: float) -> None:
        self._line: Line | None = line
        self._first = line
        self._timeout_s = timeout_s

    async def ask(self, request: Request, *, timeout_s: float) -> bytes:
        """As `Asker.ask`. Raises `DeviceUnavailable` also when no new connection can be made."""
        self._first.check_owing(request, timeout_s)  # what is not asked needs no connection
        try:
            if self._line is None or self._line.is_lost:
                await self.close()
                self._line = self._first.again()
                await self._line.open(self._timeout_s)
            return await self._line.ask(request, timeout_s=timeout_s)
        finally:
            await self.close()

    async def close(self) -> None:
        """Closes what is open."""
        line, self._line = self._line, None
        if line is not None:
            await line.close()


@asynccontextmanager
async def open_line(
    endpoint: Endpoint,
    *,
    timeout_s: float,
    tls: DeviceTlsSettings | None = None,
    pacing: Pacing | None = None,
    owing: Owing | None = None,
    reconnects: bool = False,
) -> AsyncIterator[Asker]:
    """Connects, within `timeout_s`; with `reconnects`, anew for each request. Raises `DeviceUnavailable`.

    Whoever connects again to the same place gives the same `pacing` and `owing` again.
    """
    line = Line(endpoint, tls=tls, pacing=pacing, owing=owing or Owing())
    lines = OneRequestLines(line, timeout_s=timeout_s) if reconnects else None
    try:
        await line.open(timeout_s)
        yield lines or line
    finally:
        await (lines or line).close()


def _is_earlier_frame(heard: bytes, request: Request) -> bool:
    """Whether `heard` starts with a Modbus TCP header (transaction, 0, length, unit) of another transaction."""
    transaction, protocol = int.from_bytes(heard[:2], "big"), heard[2:4]
    return len(heard) >= 8 and protocol == b"\0\0" and transaction != request.transaction_id
