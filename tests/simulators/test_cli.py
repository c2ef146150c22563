"""`hub-simulators` as a process: what it prints, how it ends."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from simulators.cli import main
from simulators.layout import DEFAULT_LAYOUT


@asynccontextmanager
async def simulators(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The real process, which is gone when the context ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simulators", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        async with asyncio.timeout(30):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready_line(process: asyncio.subprocess.Process) -> Any:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        assert process.stderr is not None
        raise AssertionError((await process.stderr.read()).decode())
    return json.loads(line)


async def read_registers(url: str, *, unit: int, count: int) -> tuple[int, ...]:
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    try:
        writer.write(struct.pack(">HHHBBHH", 1, 0, 6, unit, 3, 0, count))
        answer = await reader.readexactly(9 + 2 * count)
        return struct.unpack(f">{count}H", answer[9:])
    finally:
        writer.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_run_says_one_json_line_when_ready_and_ends_with_0_on_a_signal(number: signal.Signals) -> None:
    async with simulators("run", str(DEFAULT_LAYOUT), "--seed", "3") as process:
        ready = await ready_line(process)
        assert ready["ready"] is True
        assert ready["control"].startswith("http://127.0.0.1:")
        assert ready["endpoints"]["infeed"].startswith("tcp://127.0.0.1:")
        assert ready["endpoints"]["serial-1"].startswith("rtu:///dev/pts/")
        assert ready["endpoints"]["serial-1"].endswith("?baudrate=19200")
        assert await read_registers(ready["endpoints"]["infeed"], unit=1, count=2)
        process.send_signal(number)
        rest, errors = await process.communicate()
        assert (process.returncode, rest, errors) == (0, b"", b"")


async def test_run_for_a_while_ends_by_itself_with_0() -> None:
    async with simulators("run", "--for", "200ms") as process:
        output, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")
        assert len(output.splitlines()) == 1


async def test_a_bad_layout_ends_with_78_and_a_message_without_a_traceback(tmp_path: Path) -> None:
    layout = tmp_path / "bad.yaml"
    layout.write_text("lines: [{name: a, machines: []}]\nendpoints: []\n")
    async with simulators("run", str(layout)) as process:
        output, errors = await process.communicate()
        assert (process.returncode, output) == (78, b"")
        assert b"bad.yaml: lines[0].machines: " in errors
        assert b"Traceback" not in errors


async def test_a_port_that_is_taken_ends_with_69_and_a_message_without_a_traceback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with simulators("fleet", "--devices", "1", "--listen", f"127.0.0.1:{port}") as process:
            _, errors = await process.communicate()
            assert process.returncode == 69
            assert f"127.0.0.1:{port}" in errors.decode()
            assert b"Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--for", "30"], "needs a number and a unit"),
        (["run", "--speed-factor", "0"], "above 0"),
        (["fleet", "--listen", "here"], "is not host:port"),
        (["fleet", "--devices", "0"], "0 devices"),
        (["fleet", "--devices", "248", "--one-port"], "1 to 247 on one port"),
    ],
)
def test_bad_usage_ends_with_2_and_says_why(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


async def test_fleet_serves_every_device_on_its_own_port() -> None:
    async with simulators("fleet", "--devices", "20", "--points", "100", "--period", "1h") as process:
        ready = await ready_line(process)
        assert list(ready["endpoints"]) == [f"device-{number:03d}" for number in range(1, 21)]
        assert len(set(ready["endpoints"].values())) == 20
        for index, url in enumerate(ready["endpoints"].values()):
            expected = tuple(range(97 * index, 97 * index + 100))
            assert await read_registers(url, unit=1, count=100) == expected


async def test_fleet_on_one_port_tells_devices_apart_by_unit() -> None:
    async with simulators("fleet", "--devices", "5", "--points", "10", "--period", "1h", "--one-port") as process:
        ready = await ready_line(process)
        (url,) = ready["endpoints"].values()
        for unit in range(1, 6):
            first = 97 * (unit - 1)
            assert await read_registers(url, unit=unit, count=10) == tuple(range(first, first + 10))
