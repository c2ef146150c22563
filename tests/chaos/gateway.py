"""The gateway's process, started again whenever it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.machine import Disk
from tests.chaos.waiting import Diary, until
from tests.plugins.wall_clock import WallClock

FULL = 74
"""The exit code of a gateway that cannot open its buffer, or could not commit its last readings."""
_RESTART_S = 0.5
_STOP_S = 60.0


class Gateway:
    """The gateway's process, started again whenever it ends, as systemd does."""

    def __init__(self, config: Path, *, clock: WallClock, disk: Disk, diary: Diary) -> None:
        self.lock = asyncio.Lock()
        self.log = config.with_name("gateway.log")
        self.starts = 0
        self.for_want_of_space = 0
        """How often it could not open its buffer, or not commit its last readings, because the disk was full."""
        self.surprises: list[str] = []
        """Ends that nobody asked for."""
        self._config = config
        self._clock = clock
        self._disk = disk
        self._diary = diary
        self._process: asyncio.subprocess.Process | None = None
        self._asked: set[int] = set()
        self._ready = asyncio.Event()
        self._over = False

    async def run(self) -> None:
        """Until `stop_for_good`, or cancelled."""
        while not self._over:
            address = self._config.with_name(f"notify-{self.starts}")
            with self._listening(address):
                await self._live(address)

    async def ready(self) -> None:
        """Wait until it says that it runs."""
        async with asyncio.timeout(60):
            await self._ready.wait()

    async def kill(self) -> None:
        await self._end(signal.SIGKILL, {-signal.SIGKILL})

    async def stop(self, *, again_after_s: float | None = None) -> None:
        """SIGTERM, perhaps twice. It has to be ready."""
        await self._end(signal.SIGTERM, {0}, again_after_s=again_after_s)

    async def stop_for_good(self) -> None:
        self._over = True
        await self.stop()

    def reload(self) -> None:
        """SIGHUP. It has to be ready."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    async def freeze(self, *, lasts_s: float) -> None:
        """Let it stand still for a while, as a machine that is suspended does."""
        await until(lambda: self._process is not None, what="the gateway is there")
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(lasts_s)
        self._process.send_signal(signal.SIGCONT)

    async def command(self, *words: str) -> str:
        """What another `hub-gateway`, with this config, prints."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", *words, "-c", str(self._config),
            env={**os.environ, **self._clock.environment()}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
        if process.returncode != 0:
            self.surprises.append(f"at {self._diary.now_s:.1f} s {' '.join(words)} ended with {process.returncode}")
        return said.decode().strip()

    def said(self, text: str) -> int:
        """How many lines of its log hold this."""
        return self.log.read_text().count(text) if self.log.exists() else 0

    async def _live(self, address: Path) -> None:
        environment = {**os.environ, **self._clock.environment(), "NOTIFY_SOCKET": str(address)}
        self._asked = set()
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "run", "-c", str(self._config),
            env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.starts += 1
        self._diary.note(f"gateway {process.pid} started")
        try:
            await self._copy_log(process)
            code = await process.wait()
        finally:
            self._ready.clear()
            self._process = None
            if process.returncode is None:
                process.kill()
                await process.wait()
        self._diary.note(f"gateway {process.pid} ended with {code}")
        if code not in self._asked:
            if code == FULL and self._disk.lacked_space:
                self.for_want_of_space += 1
            else:
                self.surprises.append(f"at {self._diary.now_s:.1f} s gateway {process.pid} ended with {code}")
            await asyncio.sleep(_RESTART_S)

    async def _copy_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        with self.log.open("ab", buffering=0) as log:
            async for line in process.stderr:
                log.write(b"%8.3f [%d] %s" % (self._diary.now_s, process.pid, line))

    async def _end(self, how: signal.Signals, codes: set[int], *, again_after_s: float | None = None) -> None:
        await until(lambda: self._process is not None, what="the gateway is there")
        process = self._process
        assert process is not None
        self._asked = codes
        process.send_signal(how)
        try:
            async with asyncio.timeout(_STOP_S):
                if again_after_s is not None:
                    await asyncio.sleep(again_after_s)
                    if process.returncode is None:
                        process.send_signal(how)
                await until(lambda: self._process is not process, what="it has ended", timeout_s=2 * _STOP_S)
        except TimeoutError:
            self.surprises.append(f"at {self._diary.now_s:.1f} s gateway {process.pid} does not end after {how.name}")
            process.kill()

    @contextmanager
    def _listening(self, address: Path) -> Iterator[None]:
        """For what a gateway tells systemd. Each process has an address of its own: nothing comes late."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.setblocking(False)
            notified.bind(str(address))
            loop.add_reader(notified, self._notified, notified)
            try:
                yield
            finally:
                loop.remove_reader(notified)
                address.unlink()

    def _notified(self, notified: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            if b"READY=1" in notified.recv(4096):
                self._ready.set()
