"""jsmodbus on Node, which shares no code with the driver: read and written over TCP, in TLS and in RTU frames."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.node_packages import installed

FOLDER = Path(__file__).parent / "node"
POINTS: list[dict[str, Any]] = [
    {"name": "running", "address": "coil:3"},
    {"name": "ready", "address": "coil:4", "writable": True},
    {"name": "blocked", "address": "discrete:5"},
    {"name": "jams", "address": "input:1", "type": "uint16"},
    {"name": "first", "address": "holding:1", "type": "uint16"},
    {"name": "speed", "address": "holding:2", "type": "uint16", "scale": 0.001, "writable": True},
    {"name": "count", "address": "holding:98", "type": "uint32", "order": "CDAB", "writable": True},
    {"name": "reset", "address": "holding:50.7", "writable": True},
]
HELD = {
    "running": True,
    "ready": False,
    "blocked": True,
    "jams": 7,
    "first": 1,
    "speed": 0.002,
    "count": 99 << 16 | 98,
    "reset": False,
}
WRITTEN = {"ready": True, "speed": 1.42, "count": 123456789, "reset": True}


@pytest.fixture(scope="module")
def node_modules() -> None:
    installed(FOLDER)


@pytest.fixture
def jsmodbus(node_modules: None) -> Callable[..., Any]:
    """A context manager: the server, started with these arguments; yields its port."""

    @contextmanager
    def serve(*arguments: str) -> Iterator[int]:
        command = ["node", str(FOLDER / "server.mjs"), *arguments]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield int(process.stdout.readline())
            finally:
                process.kill()

    return serve


async def read_and_write(driver: Any) -> None:
    (group,) = driver.groups
    async with driver.connect() as session:
        reading = await session.read(group)
        assert (dict(zip(group.names, reading.values, strict=True)), dict(reading.quality)) == (HELD, {})
        for point in group.points:
            if point.writable:
                assert await session.write(group, point, WRITTEN[point.name]) == WRITTEN[point.name]
        reading = await session.read(group)
        assert dict(zip(group.names, reading.values, strict=True)) == HELD | WRITTEN


@pytest.mark.parametrize("scheme", ["tcp", "rtu+tcp"])
@pytest.mark.parametrize("codes", [{}, {"write_coil": 15, "write_register": 16}], ids=["FC5 FC6", "FC15 FC16"])
async def test_it_is_read_and_written(scheme: str, codes: dict[str, int], jsmodbus: Any, make_driver: Any) -> None:
    with jsmodbus(scheme) as port:
        await read_and_write(
            make_driver({"url": f"{scheme}://127.0.0.1:{port}", "function_codes": codes, "points": POINTS})
        )


async def test_it_is_read_and_written_in_tls_with_a_certificate_of_ours(
    jsmodbus: Any, make_driver: Any, tmp_path: Path
) -> None:
    certificate = str(tmp_path / "both.pem")  # the device's and ours, issued by itself
    make_certificate(certificate)
    with jsmodbus("tls", certificate, certificate, certificate) as port:
        tls = {"ca": certificate, "certificate": certificate}
        await read_and_write(make_driver({"url": f"tls://127.0.0.1:{port}", "tls": tls, "points": POINTS}))


def make_certificate(path: str) -> None:
    """Certificate and key in one file."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path)
    name = ("-subj", "/CN=plc", "-addext", "subjectAltName=IP:127.0.0.1")
    made = subprocess.run(["openssl", "req", "-x509", *key, *name], check=True, capture_output=True)
    with Path(path).open("ab") as file:
        file.write(made.stdout)
