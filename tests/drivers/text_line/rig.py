"""The example of `docs/examples/text-line-driver` in the contract suite: a device after the table in its README."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from importlib import import_module
from typing import Any

from drivers.contract import Family
from drivers.model import Value
from tests.plugins.documents import REPOSITORY

PACKAGE = REPOSITORY / "docs" / "examples" / "text-line-driver"


def family() -> Family:
    """The family of the package as it stands there, not installed."""
    if str(PACKAGE) not in sys.path:
        sys.path.append(str(PACKAGE))
    found: Family = import_module("text_line").FAMILY
    return found


class LineDevice:
    """Holds `load` and `light`; says them unasked when it `speaks`."""

    def __init__(self, *, speaks: bool) -> None:
        self.port = 0
        self.held = {"load": "1.00", "light": "on"}
        self.asked: list[str] = []
        self._speaks = speaks
        self._loads = itertools.count(2)
        self.clients: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def show(self) -> Mapping[str, Value]:
        self._hold("load", f"{next(self._loads)}.50")
        return {"load": Decimal(self.held["load"])}

    async def spoil(self) -> None:
        self._hold("light", "broken")

    async def mend(self) -> None:
        self._hold("light", "off")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.clients[task] = writer
        try:
            if self._speaks:
                for key in self.held:
                    self._say(writer, key)
            while line := await reader.readline():
                self._answer(writer, line.decode().strip())
        except ConnectionError:
            pass  # the driver has hung up
        finally:
            del self.clients[task]
            writer.close()

    def _answer(self, writer: asyncio.StreamWriter, request: str) -> None:
        self.asked.append(request)
        key, is_order, text = request.removesuffix("?").partition("=")
        if is_order:
            self.held[key] = text
        self._say(writer, key)

    def _hold(self, key: str, text: str) -> None:
        self.held[key] = text
        if self._speaks:
            for writer in self.clients.values():
                self._say(writer, key)

    def _say(self, writer: asyncio.StreamWriter, key: str) -> None:
        writer.write(f"{key}={self.held.get(key, '')}\r\n".encode())


@asynccontextmanager
async def line_device(*, speaks: bool) -> AsyncIterator[LineDevice]:
    """A device on a free port of loopback."""
    device = LineDevice(speaks=speaks)
    server = await asyncio.start_server(device.serve, "127.0.0.1", 0)
    device.port = server.sockets[0].getsockname()[1]
    try:
        yield device
    finally:
        server.close()
        for writer in device.clients.values():
            writer.transport.abort()
        if device.clients:
            await asyncio.wait(list(device.clients))
        await server.wait_closed()


class TextLineRig:
    """`tests.drivers.contract.rig.Rig`."""

    def __init__(self, *, listen: bool) -> None:
        self._listen = listen
        self.name = "text-line, listened to" if listen else "text-line, asked"
        self.family = family()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[LineDevice]:
        async with line_device(speaks=self._listen) as device:
            yield device

    def device(self, port: int) -> dict[str, Any]:
        return {
            "name": "bench",
            "driver": "text-line",
            "url": f"line://127.0.0.1:{port}",
            "timeout": "500ms",
            "listen": self._listen,
            "silence": "500ms",
            "points": [{"name": "load", "unit": "kg"}, {"name": "light"}],
        }
