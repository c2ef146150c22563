"""Everything goes wrong for ten minutes, and nothing that was committed is lost, or lost in silence.

The real gateway reads libmodbus devices and simulated machines, over TCP and pseudo-terminals, and forwards to two
mosquittos, and to a third that comes and goes. What is done to them is drawn from a seed, which is printed first:

    make chaos CHAOS_SECONDS=120 CHAOS_SEED=7

`tests/chaos/judge.py` says what is promised. The judge sees the database in SQL and the brokers by subscribers of its
own, and uses nothing of the gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.chaos.brokers import Broker, brokers, free_port
from tests.chaos.config import GATEWAY, GUEST, PERIOD_S, REFUSED, REGISTERS, SITE, Config, libmodbus_device, machines
from tests.chaos.faults import Stage
from tests.chaos.gateway import Gateway
from tests.chaos.machine import Disk, Simulators, libmodbus_fleet, simulators, small_disk
from tests.chaos.plan import plan
from tests.chaos.report import Result, failures, result, table
from tests.chaos.waiting import Diary, until
from tests.chaos.wire import wires
from tests.chaos.witness import Witness
from tests.plugins.wall_clock import WallClock

SECONDS = float(os.environ.get("CHAOS_SECONDS", "600"))
SEED = int(os.environ.get("CHAOS_SEED", str(random.randrange(10**6))))
DEVICES = 24
WIRED = 3
"""So many of them are reached over wires that are cut."""
DISK_MEGABYTES = 8
DRAIN_S = 180.0


@pytest.mark.chaos
async def test_everything_goes_wrong_and_no_committed_reading_is_lost(tmp_path: Path) -> None:
    print(f"\nchaos: CHAOS_SECONDS={SECONDS:g} CHAOS_SEED={SEED}", flush=True)
    diary = Diary(tmp_path / "diary")
    try:
        found = await _run(tmp_path, diary)
        print(table(found), flush=True)
        said = failures(found)
        assert not said, "\n".join(said)
    except BaseException:
        print(f"\nchaos: CHAOS_SECONDS={SECONDS:g} CHAOS_SEED={SEED} failed; everything is in {tmp_path}")
        print(_tail(diary.path, lines=150))
        print(_tail(tmp_path / "gateway.log", lines=60))
        raise


async def _run(folder: Path, diary: Diary) -> Result:
    draw = random.Random(SEED)
    with (
        small_disk(folder / "disk", megabytes=DISK_MEGABYTES) as disk,
        libmodbus_fleet(folder, devices=DEVICES + 2, registers=REGISTERS) as fleet,
        simulators(Path(__file__).with_name("layout.yaml"), seed=SEED) as twin,
    ):
        try:
            async with _stage(folder, disk=disk, fleet=fleet, twin=twin, diary=diary, draw=draw) as stage:
                await stage.suffer(plan(SECONDS, seed=SEED))
                await _recover(stage)
                expected = round(stage.diary.now_s * DEVICES / PERIOD_S)
                return await asyncio.to_thread(result, stage, path=disk.folder / "buffer.db", expected=expected)
        finally:
            for file in disk.folder.glob("buffer.db*"):
                with contextlib.suppress(OSError):
                    shutil.copy(file, folder)


@asynccontextmanager
async def _stage(
    folder: Path, *, disk: Disk, fleet: list[int], twin: Simulators, diary: Diary, draw: random.Random
) -> AsyncIterator[Stage]:
    """Everything runs while the block lasts, and ends with it."""
    served = [
        Broker(folder, "hub-a"),
        Broker(folder, "hub-b", refuses=f"hub/{SITE}/{GATEWAY}/{REFUSED}"),
        Broker(folder, GUEST),
    ]
    through_wires = {name: url for name, url in twin.urls.items() if "127.0.0.1" in url}
    ports = [*fleet[:WIRED], *(int(url.rpartition(":")[2]) for url in through_wires.values())]
    async with wires(*(broker.port for broker in served)) as to_brokers, wires(*ports) as to_devices:
        for broker, wire in zip(served, to_brokers, strict=True):
            broker.wire = wire
            wire.is_open = False
        urls = {
            name: f"{url.partition(':')[0]}://127.0.0.1:{wire.port}"
            for (name, url), wire in zip(through_wires.items(), to_devices[WIRED:], strict=True)
        }
        direct = [*(wire.port for wire in to_devices[:WIRED]), *fleet[WIRED:DEVICES]]
        config = Config(
            folder / "hub.yaml",
            buffer={
                "path": str(disk.folder / "buffer.db"),
                "max_bytes": 2**20 if SECONDS < 200 else 2**21,
                "min_free_disk": draw.choice((0, "256KiB", "1MiB")),
                "when_full": os.environ.get("CHAOS_WHEN_FULL")
                or draw.choice(("drop-oldest", "thin", "thin", "drop-newest")),
            },
            brokers={broker.name: broker.wire.port for broker in served},
            devices=[
                *(
                    libmodbus_device(f"d{n}", port, priority="low" if n % 2 else "normal")
                    for n, port in enumerate(direct)
                ),
                libmodbus_device(REFUSED, fleet[DEVICES], period="1s"),
                *machines(twin.urls | urls),
            ],
            spare=libmodbus_device("spare", fleet[DEVICES + 1]),
            http_port=free_port(),
        )
        config.write()
        diary.note(f"buffer: {config.buffer}")
        clock = WallClock(folder)
        if draw.random() < 0.5:
            clock.jump(-int(time.time()))
            diary.note("the clock has not been set yet")
        witness = Witness(disk.folder / "buffer.db")
        gateway = Gateway(config.path, clock=clock, disk=disk, diary=diary)
        async with brokers(*served), asyncio.TaskGroup() as group:
            running = group.create_task(gateway.run(), name="gateway")
            await gateway.ready()
            watching = group.create_task(witness.watch(), name="witness")
            try:
                yield Stage(
                    gateway=gateway,
                    brokers=served[:2],
                    guest=served[2],
                    devices=to_devices,
                    simulators=twin,
                    disk=disk,
                    clock=clock,
                    config=config,
                    witness=witness,
                    diary=diary,
                )
            finally:
                running.cancel()
                watching.cancel()


async def _recover(stage: Stage) -> None:
    """All is well again: what waits goes out, and the gateway ends in good order."""
    stage.heal()
    stage.diary.note("all is well again")
    await stage.gateway.ready()

    until_now = stage.witness.highest

    def everybody_has_more() -> bool:
        return all(stage.witness.has_everything(one.name, until=until_now + DEVICES) for one in stage.brokers)

    await until(everybody_has_more, what="what waited has gone out, and newer readings too", timeout_s=DRAIN_S)
    stage.diary.note("what waited has gone out")
    await stage.gateway.stop_for_good()
    for broker in (*stage.brokers, stage.guest):
        await asyncio.to_thread(broker.subscriber.catch_up)
    stage.witness.look()


def _tail(path: Path, *, lines: int) -> str:
    """The last lines of a file; nothing when it did not come to that."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""
