"""What the contract suite needs of the scale family: a terminal with MT-SICS that is asked, and one that repeats."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from drivers import registry
from drivers.contract import Family
from drivers.model import Value
from tests.drivers.scale.instruments import MtSicsScale, on_tcp


class Scale:
    """A `Counterpart`: each show is another weight, and spoilt it is overloaded."""

    def __init__(self, port: int, terminal: MtSicsScale) -> None:
        self.port = port
        self._terminal = terminal
        self._weights = itertools.count(1)
        self._weight = "0.000"

    async def show(self) -> Mapping[str, Value]:
        self._weight = f"{next(self._weights)}.250"
        self._terminal.put(self._weight)
        return {"weight": Decimal(self._weight), "unit": "kg", "stable": True, "status": "ok"}

    async def spoil(self) -> None:
        self._terminal.put("99.000")

    async def mend(self) -> None:
        self._terminal.put(self._weight)


class ScaleRig:
    """The family `scale`, read in one of its ways."""

    def __init__(self, read: str) -> None:
        self.name = f"scale-{read}"
        self._read = read

    @property
    def family(self) -> Family:
        return registry.family("scale")

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Scale]:
        terminal = MtSicsScale()
        async with on_tcp(terminal) as link:
            yield Scale(int(link.url.rpartition(":")[2]), terminal)
        await asyncio.sleep(0)

    def device(self, port: int) -> dict[str, Any]:
        silence = {} if self._read == "polled" else {"silence": "500ms"}
        return {
            "name": "weigh-1",
            "driver": "scale",
            "url": f"tcp://127.0.0.1:{port}",
            "protocol": "mt-sics",
            "read": self._read,
            "timeout": "500ms",
            "period": "5ms",
            **silence,
        }
