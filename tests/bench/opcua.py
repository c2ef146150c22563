"""OPC UA by subscription: values per second and processor time per value, beside bare asyncua in the same run.

    python -m tests.bench.opcua

The server is asyncua's own, in a process of its own; it writes all its points as fast as it can. What is counted is the
client's side only.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

POINTS = 500
RUN_S = 4.0
_URI = "urn:hub:bench"


@dataclass(frozen=True, slots=True)
class Rate:
    """What one client took in."""

    values: int
    seconds: float
    cpu_s: float

    @property
    def values_per_second(self) -> float:
        return self.values / self.seconds

    @property
    def cpu_us_per_value(self) -> float:
        return self.cpu_s * 1e6 / self.values


def by_our_driver(url: str, *, run_s: float = RUN_S) -> Rate:
    """Through `drivers.opcua`, up to readings."""
    return asyncio.run(_ours(url, run_s))


def by_bare_asyncua(url: str, *, run_s: float = RUN_S) -> Rate:
    """asyncua's own client and subscription, with a handler that only counts."""
    return asyncio.run(_bare(url, run_s))


@contextmanager
def busy_server(points: int = POINTS) -> Iterator[str]:
    """The url of a server whose points all change without end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_serve, args=(port, points, ready), daemon=True)
    process.start()
    try:
        if not ready.wait(30):
            raise TimeoutError("the server of the benchmark does not start")
        yield f"opc.tcp://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.join()


def _serve(port: int, points: int, ready: multiprocessing.synchronize.Event) -> None:
    asyncio.run(_write_without_end(port, points, ready))


async def _write_without_end(port: int, points: int, ready: multiprocessing.synchronize.Event) -> None:
    import logging

    from asyncua import Server, ua

    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    index = await server.register_namespace(_URI)
    nodes = [
        await server.nodes.objects.add_variable(ua.NodeId(f"P{i}", index), ua.QualifiedName(f"P{i}", index), 0.0)
        for i in range(points)
    ]
    async with server:
        ready.set()
        number = 0.0
        while True:
            number += 1.0
            data = ua.DataValue(ua.Variant(number, ua.VariantType.Double))
            for node in nodes:
                await server.write_attribute_value(node.nodeid, data)
            await asyncio.sleep(0.001)


async def _ours(url: str, run_s: float) -> Rate:
    from drivers.opcua import FAMILY

    points = [{"name": f"p{i}", "address": f"nsu={_URI};s=P{i}"} for i in range(POINTS)]
    device = {
        "name": "bench",
        "driver": "opcua",
        "url": url,
        "timeout": 10.0,
        "publishing_interval": 0.05,
        "sampling_interval": 0.01,
        "queue_size": 100,
        "timestamp": "gateway",
        "points": points,
    }
    driver = FAMILY.driver([FAMILY.settings.model_validate(device)], state_folder=Path("/nonexistent"))
    values = 0
    async with driver.connect() as session:
        readings = session.readings()  # type: ignore[union-attr]
        started_s, cpu_s = time.monotonic(), time.process_time()
        try:
            async for reading in readings:
                values += len(reading.values) - reading.values.count(None)
                if time.monotonic() - started_s > run_s:
                    break
        finally:
            await readings.aclose()  # type: ignore[attr-defined]
        return Rate(values, time.monotonic() - started_s, time.process_time() - cpu_s)


class _Counter:
    """What asyncua calls for each change."""

    def __init__(self) -> None:
        self.values = 0

    def datachange_notification(self, node: object, value: object, data: object) -> None:
        self.values += 1


async def _bare(url: str, run_s: float) -> Rate:
    from asyncua import Client, ua

    logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # it tells of every value that the server has revised
    counter = _Counter()
    async with Client(url, timeout=10) as client:
        index = await client.get_namespace_index(_URI)
        subscription = await client.create_subscription(50, counter)
        nodes = [client.get_node(ua.NodeId(f"P{i}", index)) for i in range(POINTS)]
        await subscription.subscribe_data_change(nodes, queuesize=100, sampling_interval=10)
        counter.values = 0
        started_s, cpu_s = time.monotonic(), time.process_time()
        await asyncio.sleep(run_s)
        rate = Rate(counter.values, time.monotonic() - started_s, time.process_time() - cpu_s)
        await subscription.delete()
        return rate


def main() -> None:
    with busy_server() as url:
        for name, measure in (("our driver", by_our_driver), ("bare asyncua", by_bare_asyncua)):
            rate = measure(url)
            print(f"{name:14} {rate.values_per_second:9,.0f} values/s  {rate.cpu_us_per_value:7.1f} us CPU per value")


if __name__ == "__main__":
    main()
