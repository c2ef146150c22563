"""An endpoint on a serial line: a pseudo-terminal that takes the time that a wire takes."""

from __future__ import annotations

import asyncio
import os
import tty
from abc import abstractmethod
from collections.abc import Sequence
from random import Random
from typing import ClassVar

from simulators.endpoint import Endpoint, EndpointError
from simulators.faults import Fault

BITS_PER_CHARACTER = 11
"""Start, eight data bits, parity or a second stop bit, stop."""

_CHUNK_BYTES = 4096


class TerminalEndpoint(Endpoint):
    """A serial line as its master sees it. A client may close and open the terminal as often as it likes.

    What is sent arrives when it would have been transferred at `baudrate`. What nobody reads is lost, as on a wire. A
    subclass has `_received` and calls `_send`.
    """

    scheme: ClassVar[str] = "serial"
    """How its URL begins."""

    def __init__(self, name: str, machines: Sequence[str], *, baudrate: int, random: Random) -> None:
        super().__init__(name, machines, random=random)
        self._baudrate = baudrate
        self._ours = self._theirs = -1
        self._path = ""
        self._free_at_s = 0.0

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self._path}?baudrate={self._baudrate}"

    @property
    def is_busy(self) -> bool:
        """Whether the line has not transferred yet what was sent before."""
        return self._free_at_s > asyncio.get_running_loop().time()

    @abstractmethod
    def _received(self, data: bytes) -> None:
        """Bytes have come from the client."""

    def _send(self, data: bytes, *, delay_s: float = 0.0, after_bytes: int = 0) -> None:
        """Send once the line is free and `after_bytes` more have passed it; `delay_s` is what the machine adds."""
        loop = asyncio.get_running_loop()
        on_the_wire_s = (after_bytes + len(data)) * BITS_PER_CHARACTER / self._baudrate
        self._free_at_s = max(self._free_at_s, loop.time()) + on_the_wire_s
        loop.call_at(self._free_at_s + delay_s, self._write, data)

    async def _start(self) -> None:
        try:
            self._ours, self._theirs = os.openpty()
        except OSError as error:
            raise EndpointError(f'endpoint "{self.name}" gets no pseudo-terminal: {error}') from error
        # Keeping the client's side open keeps ours alive while no client is there.
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self._path = os.ttyname(self._theirs)
        asyncio.get_running_loop().add_reader(self._ours, self._read)

    async def _stop(self) -> None:
        if self._ours >= 0:
            asyncio.get_running_loop().remove_reader(self._ours)
            os.close(self._ours)
            os.close(self._theirs)
            self._ours = self._theirs = -1

    def _drop_clients(self) -> None:
        """A line has no connections."""

    async def _changed(self, fault: Fault) -> None:
        """Nothing to do: a fault on a line shows in what is sent only."""

    def _read(self) -> None:
        self._received(os.read(self._ours, _CHUNK_BYTES))

    def _write(self, data: bytes) -> None:
        if self._ours < 0:
            return
        try:
            os.write(self._ours, data)
        except BlockingIOError:
            return  # nobody reads: lost on the wire
