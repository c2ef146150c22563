"""One open Modbus connection: a request goes out, its reply comes back or a `DriverError` says why not.

The only module that touches pymodbus, whose client does the framing, the checksums and the transport. What it does not
do, or not in a way that an unattended gateway can live with, is done here; `docs/decisions/0004-modbus-read-path.md`
lists it with the reasons.
"""

from __future__ import annotations

import asyncio
import logging
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException
from pymodbus.pdu import DecodePDU, ModbusPDU

from drivers.modbus import failure
from drivers.modbus.codec import payload, size_bytes
from drivers.modbus.endpoint import Endpoint, SerialEndpoint
from drivers.modbus.plan import Block

_PYMODBUS_TIMEOUT_S = 3600.0
"""pymodbus has one timeout per client; ours are per unit, so its own must never be the first to fire."""


class ReadRequest(ModbusPDU):
    """A read of one block from one unit, made once and sent as often as the block is read."""

    def __init__(self, block: Block, unit: int) -> None:
        super().__init__(dev_id=unit, address=block.span.start, count=block.count)
        self.function_code = block.span.table.function
        self.size = size_bytes(block)
        self.body = block.span.start.to_bytes(2, "big") + block.count.to_bytes(2, "big")
        self.what = f"{block} from unit {unit}"

    def encode(self) -> bytes:
        return self.body


class ReadReply(ModbusPDU):
    """A reply as it came: `body` is what follows the function code. Nothing is unpacked and nothing can fail here."""

    def __init__(self, function_code: int, body: bytes) -> None:  # super() would make a dozen attributes per reply
        self.function_code = function_code
        self.body = body

    @classmethod
    def calculateRtuFrameSize(cls, data: bytes) -> int:  # noqa: N802  pymodbus's name
        """Unit, function, then an exception code or a byte count with its bytes, then the checksum."""
        if data[1] & 0x80:
            return 5
        return data[2] + 5 if len(data) > 2 else 0


class _ReadReplies(DecodePDU):
    """Takes replies to the four reads only; what a noisy line makes of other functions is skipped as garbage."""

    def lookupPduClass(self, data: bytes) -> type[ModbusPDU] | None:  # noqa: N802  pymodbus's name
        return ReadReply if 1 <= data[1] & 0x7F <= 4 else None

    def decode(self, frame: bytes) -> ModbusPDU:
        return ReadReply(frame[0], frame[1:])


class Line:
    """An open connection, made by `open_line`. `ask` is never called concurrently."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._loop = asyncio.get_running_loop()
        self._endpoint = endpoint
        self._serial = endpoint if isinstance(endpoint, SerialEndpoint) else None
        self._client = _client(endpoint, self)
        self._client.ctx.framer.decoder = _ReadReplies(False)
        self._made = asyncio.Event()
        self._lost = False
        self._deadline: asyncio.Timeout | None = None
        self._heard = b""
        self._heard_at = 0.0
        self._owing: dict[int, float] = {}
        """On a serial line: the units that may still answer an earlier request, and until when."""

    async def ask(self, request: ReadRequest, *, timeout_s: float) -> bytes:
        """The data bytes of the reply, exactly as many as were asked for.

        Raises `BadResponse`: `failure.Refused` for an exception reply, `failure.NoAnswer` when the timeout has passed,
        itself for an answer that does not fit. Raises `DeviceUnavailable` when the connection is lost.
        """
        if self._serial is not None:
            await self._take_turn(request, self._serial, timeout_s)
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
        except ConnectionException as error:
            raise failure.lost(request.what, self._endpoint) from error
        finally:
            self._deadline = None
            if not answered and self._serial is not None:
                self._owing[request.dev_id] = self._loop.time() + timeout_s
        return data

    def on_packet(self, sending: bool, data: bytes) -> bytes:  # noqa: FBT001  pymodbus's signature
        """Called by pymodbus with bytes on their way; keeps what came, to be able to say what it was."""
        if not sending:
            self._heard = data
            self._heard_at = self._loop.time()
        return data

    def on_connection(self, made: bool) -> None:  # noqa: FBT001  pymodbus's signature
        """Called by pymodbus. Once lost, a pending request has nothing to wait for: its deadline is now."""
        if made:
            self._made.set()
            return
        self._lost = True
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(self._loop.time())

    async def open(self, timeout_s: float) -> None:
        """Raises `DeviceUnavailable`. `close` must follow, also when this fails or is cancelled."""
        context = self._client.ctx
        try:
            async with asyncio.timeout(timeout_s):
                # As ModbusProtocol.connect(), which would keep the reason of a failure to its own log.
                context.transport, _ = await context.call_create()
                await self._made.wait()  # the loop sets a serial transport up in its next turns, not before
        except TimeoutError:
            raise failure.no_connection(self._endpoint, timeout_s) from None
        except (OSError, ValueError, termios.error) as error:
            raise failure.cannot_connect(self._endpoint, error) from error

    async def close(self) -> None:
        """Closes at once: nothing unsent is worth waiting for a peer that may be gone."""
        transport: Any = self._client.ctx.transport
        if transport is None:
            return
        self._client.close()
        transport.abort()
        await asyncio.sleep(0)  # the loop closes a socket in its next turn

    async def _take_turn(self, request: ReadRequest, serial: SerialEndpoint, timeout_s: float) -> None:
        """Wait until the request may go out on a serial line, with nothing of earlier requests left in it.

        RTU has no transaction id. So a unit that did not answer in time is not asked again before it has had its
        timeout once more to be late in, and what has come by then is thrown away.
        """
        if self._lost:
            raise failure.lost(request.what, self._endpoint)
        if self._owing.get(request.dev_id, 0.0) > self._loop.time():
            raise failure.owing(request.what, self._endpoint, timeout_s)
        self._owing.pop(request.dev_id, None)
        if (gap_s := self._heard_at + serial.frame_gap_s - self._loop.time()) > 0:
            await asyncio.sleep(gap_s)
            if self._lost:
                raise failure.lost(request.what, self._endpoint)
        transport: Any = self._client.ctx.transport
        try:
            transport.sync_serial.reset_input_buffer()
        except (OSError, termios.error) as error:
            raise failure.lost(request.what, self._endpoint) from error

    def _data(self, request: ReadRequest, reply: ReadReply) -> bytes:
        if reply.dev_id != request.dev_id:
            raise failure.garbage(request.what, self._endpoint, f"unit {reply.dev_id} answered")
        if self._serial is None and reply.transaction_id != request.transaction_id:
            came = f"the answer has transaction {reply.transaction_id}, not {request.transaction_id}"
            raise failure.garbage(request.what, self._endpoint, came)
        if reply.function_code == request.function_code | 0x80:
            raise failure.Refused(request.what, self._endpoint, reply.body[0] if reply.body else 0)
        if reply.function_code != request.function_code:
            raise failure.garbage(request.what, self._endpoint, f"an answer to function {reply.function_code}")
        try:
            return payload(reply.body, request.size)
        except ValueError as error:
            raise failure.garbage(request.what, self._endpoint, str(error)) from error

    def _raise_no_answer(self, request: ReadRequest, timeout_s: float) -> NoReturn:
        heard = self._heard
        if self._lost:
            raise failure.lost(request.what, self._endpoint) from None
        if not heard:
            raise failure.silence(request.what, self._endpoint, timeout_s) from None
        if self._serial is None and _is_earlier_frame(heard, request):
            raise failure.late(request.what, self._endpoint, timeout_s) from None
        raise failure.noise(request.what, self._endpoint, timeout_s, heard) from None


@asynccontextmanager
async def open_line(endpoint: Endpoint, *, timeout_s: float) -> AsyncIterator[Line]:
    """Connects, within `timeout_s`. Raises `DeviceUnavailable`."""
    log = logging.getLogger("pymodbus")
    if log.level == logging.NOTSET:  # our errors say it better; whoever wants its frames sets a level of its own
        log.setLevel(logging.CRITICAL)
    line = Line(endpoint)
    try:
        await line.open(timeout_s)
        yield line
    finally:
        await line.close()


def _client(endpoint: Endpoint, line: Line) -> AsyncModbusTcpClient | AsyncModbusSerialClient:
    """A pymodbus client that neither retries nor reconnects: both are the host's."""
    if isinstance(endpoint, SerialEndpoint):
        # A pseudo-terminal is no line: it carries bytes, and the kernel refuses any other frame than this one.
        frame = "8N1" if Path(endpoint.path).resolve().is_relative_to("/dev/pts") else endpoint.frame
        return AsyncModbusSerialClient(
            endpoint.path,
            baudrate=endpoint.baudrate,
            bytesize=int(frame[0]),
            parity=frame[1],
            stopbits=int(frame[2]),
            timeout=_PYMODBUS_TIMEOUT_S,
            reconnect_delay=0,
            retries=0,
            trace_packet=line.on_packet,
            trace_connect=line.on_connection,
        )
    return AsyncModbusTcpClient(
        endpoint.host,
        port=endpoint.port,
        timeout=_PYMODBUS_TIMEOUT_S,
        reconnect_delay=0,
        retries=0,
        trace_packet=line.on_packet,
        trace_connect=line.on_connection,
    )


def _is_earlier_frame(heard: bytes, request: ReadRequest) -> bool:
    """Whether `heard` starts with a Modbus TCP header (transaction, 0, length, unit) of another transaction."""
    transaction, protocol = int.from_bytes(heard[:2], "big"), heard[2:4]
    return len(heard) >= 8 and protocol == b"\0\0" and transaction != request.transaction_id
