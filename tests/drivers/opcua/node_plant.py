"""A server that shares nothing with the driver: node-opcua, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.drivers.opcua.plant import free_port

HERE = Path(__file__).parent / "node"


class NodePlant:
    """The process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/plant"

    async def tell(self, *command: Any) -> Any:
        """One command of server.mjs; returns its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        return (await self.line())["answer"]

    async def line(self) -> dict[str, Any]:
        """The next line that is meant for us; node-opcua writes others between them."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            if line.startswith(b'{"'):
                found: dict[str, Any] = json.loads(line)
                return found
        raise AssertionError("the server ended")

    def kill(self) -> None:
        """As a power cut does."""
        self._process.kill()


@asynccontextmanager
async def node_plant(folder: Path, *, port: int = 0) -> AsyncIterator[NodePlant]:
    """A server that keeps its certificate in `folder`."""
    port = port or free_port()
    process = await asyncio.create_subprocess_exec(
        "node",
        "server.mjs",
        str(port),
        str(folder),
        cwd=HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        running = NodePlant(process, port)
        await running.line()
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # its pipes
