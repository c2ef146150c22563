"""What the libraries below the gateway cost on their own: the least that any gateway built on them could."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import orjson
import paho.mqtt.client as paho
from pymodbus.client import AsyncModbusTcpClient

from tests.bench.processes import GATEWAY_CORE, fleet, free_port, mosquitto

POINTS = 100


def bare_pymodbus(seconds: float) -> float:
    """CPU microseconds per value: pymodbus's own client reads 100 registers from 20 devices, nothing else."""
    with fleet(devices=20, points=POINTS) as urls:
        return asyncio.run(_read_all(urls, seconds))


async def _read_all(urls: list[str], seconds: float) -> float:
    clients = [AsyncModbusTcpClient("127.0.0.1", port=int(url.rpartition(":")[2])) for url in urls]
    for client in clients:
        assert await client.connect()
    reads = 0
    started_s, cpu_s = time.monotonic(), time.process_time()

    async def read(client: AsyncModbusTcpClient) -> None:
        nonlocal reads
        while time.monotonic() - started_s < seconds:
            response = await client.read_holding_registers(0, count=POINTS)
            assert len(response.registers) == POINTS
            reads += 1

    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(read(client))
    used_s = time.process_time() - cpu_s
    for client in clients:
        client.close()
    return used_s / (reads * POINTS) * 1e6


def bare_sqlite(folder: Path, seconds: float, *, rows: int = 20) -> tuple[float, float]:
    """(CPU microseconds per value, bytes on disk per value): rows of 100 values, so many a commit, WAL,
    synchronous=FULL."""
    path = folder / "floor.db"
    body = list(range(1000, 1000 + POINTS))
    inserted = 0
    with closing(bare_table(path)) as database:
        started_s, cpu_s = time.monotonic(), time.process_time()
        while time.monotonic() - started_s < seconds:
            insert_bodies(database, [orjson.dumps(body) for _ in range(rows)])
            inserted += rows
        used_s = time.process_time() - cpu_s
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size_bytes = path.stat().st_size
    path.unlink()
    return used_s / (inserted * POINTS) * 1e6, size_bytes / (inserted * POINTS)


def bare_table(path: Path) -> sqlite3.Connection:
    """A database with one table, committing as a buffer with `durability: power-loss` does."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute(
        "CREATE TABLE IF NOT EXISTS reading(id INTEGER PRIMARY KEY, point_group INTEGER, at INTEGER, body TEXT)"
    )
    return database


def insert_bodies(database: sqlite3.Connection, bodies: Sequence[bytes]) -> None:
    """Rows of these in one commit."""
    database.execute("BEGIN")
    database.executemany(
        "INSERT INTO reading(point_group, at, body) VALUES (?, ?, ?)",
        [(1, time.time_ns(), body) for body in bodies],
    )
    database.execute("COMMIT")


def bare_paho(folder: Path, seconds: float) -> float:
    """CPU microseconds per message of paho alone, QoS 1, the payload of a reading of 100 values, 100 in flight."""
    port = free_port()
    payload = orjson.dumps({"id": "x-1", "ts_ms": 1, "values": {f"p{n}": 1000 + n for n in range(POINTS)}})
    with mosquitto(folder, port):
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTProtocolVersion.MQTTv5)
        client.max_inflight_messages_set(100)
        acknowledged = 0

        def on_publish(*_arguments: object) -> None:
            nonlocal acknowledged
            acknowledged += 1

        client.on_publish = on_publish
        client.connect("127.0.0.1", port)
        published = 0
        started_s, cpu_s = time.monotonic(), time.process_time()
        while time.monotonic() - started_s < seconds:
            while published - acknowledged < 100:
                client.publish("bench/floor", payload, qos=1)
                published += 1
            client.loop(0.01)
        used_s = time.process_time() - cpu_s
        client.disconnect()
    return used_s / acknowledged * 1e6


def on_the_gateways_core() -> None:
    """Pin this process where the gateway will be, so that floors and gateway meet the same core."""
    os.sched_setaffinity(0, {GATEWAY_CORE})
