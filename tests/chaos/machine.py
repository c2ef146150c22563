"""What is around the gateway: a small disk, devices."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_MOMENT_S = 2.0
_TOLD_MORE = {"none", "exception", "antenna-lost", "wrong-clock"}


class Disk:
    """A small file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filling = folder / "filling"
        self._is_full = False
        self._freed_s = float("-inf")

    @property
    def lacked_space(self) -> bool:
        """Whether it is full, or was a moment ago."""
        return self._is_full or time.monotonic() - self._freed_s < _MOMENT_S

    def fill(self) -> None:
        """Leave no byte."""
        self._is_full = True
        with contextlib.suppress(OSError), self._filling.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(65536))
        with contextlib.suppress(OSError), self._filling.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(512))

    def free(self) -> None:
        self._filling.unlink(missing_ok=True)
        self._is_full, self._freed_s = False, time.monotonic()


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[Disk]:
    """A tmpfs that is mounted on `folder` while the block lasts. Fails the test when that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "chaos", str(folder)]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.fail(
            f"a disk that fills up needs root, to mount a tmpfs: {mounted.stderr.splitlines()[0]}", pytrace=False
        )
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def libmodbus_fleet(folder: Path, *, devices: int, registers: int) -> Iterator[list[int]]:
    """The ports of devices that share no code with the gateway, nor with the simulators."""
    binary, source = folder / "libmodbus_fleet", Path(__file__).with_name("libmodbus_fleet.c")
    subprocess.run(["gcc", "-O1", "-o", binary, source, "-lmodbus"], check=True)
    with subprocess.Popen([binary, str(devices), str(registers)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield [int(process.stdout.readline()) for _ in range(devices)]
        finally:
            process.kill()


class Simulators:
    """The simulated machines: their URLs, and the port at which they are told to misbehave."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.urls: dict[str, str] = ready["endpoints"]
        self._control = ready["control"]

    def can(self) -> dict[str, list[str]]:
        """The faults that each endpoint knows, but for those that need to be told more."""
        endpoints = self._ask("/", None)["endpoints"]
        found = {name: sorted({*one["possible_faults"]} - _TOLD_MORE) for name, one in endpoints.items()}
        found["weigher"].remove("wrong-checksum")  # possible with scales, but MT-SICS has none
        return found

    def misbehave(self, endpoint: str, fault: str, *, for_s: float) -> None:
        more = {"slow": {"for_s": for_s, "delay_ms": 300}, "restart": {}}.get(fault, {"for_s": for_s})
        self._ask("/faults", {"endpoint": endpoint, "fault": fault, **more})

    def _ask(self, path: str, body: dict[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self._control + path, data, timeout=10) as answer:
            return json.load(answer)


@contextmanager
def simulators(layout: Path, *, seed: int) -> Iterator[Simulators]:
    """Machines of `layout` in a process of their own."""
    command = [sys.executable, "-m", "simulators", "run", str(layout), "--seed", str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield Simulators(json.loads(process.stdout.readline()))
        finally:
            process.kill()
