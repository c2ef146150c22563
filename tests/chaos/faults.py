"""Doing what the plan says. Faults run beside each other; those that concern one thing wait for one another."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.brokers import Broker
from tests.chaos.config import Config
from tests.chaos.gateway import Gateway
from tests.chaos.machine import Disk, Simulators
from tests.chaos.plan import Fault, Kind
from tests.chaos.waiting import Diary, until
from tests.chaos.wire import Slow, Wire
from tests.chaos.witness import Witness
from tests.plugins.wall_clock import WallClock

_DAY_S = 86400
_RELOADED = "config reloaded; destinations"
_BUFFER_FULL_WITHIN_S = 120.0


@dataclass(slots=True)
class Stage:
    """Everything that can be hurt, and what was done to it."""

    gateway: Gateway
    brokers: Sequence[Broker]
    guest: Broker
    devices: Sequence[Wire]
    simulators: Simulators
    disk: Disk
    clock: WallClock
    config: Config
    witness: Witness
    diary: Diary
    injected: Counter[Kind] = field(default_factory=Counter)
    disk_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def suffer(self, faults: Sequence[Fault]) -> None:
        """Inject each when its time has come; returns when all are over."""
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await asyncio.sleep(max(0.0, fault.at_s - self.diary.now_s))
                group.create_task(self._inject(fault), name=f"{fault.kind} at {fault.at_s:.1f} s")

    def heal(self) -> None:
        """Everything that does not heal by itself."""
        self.clock.jump(0)

    async def _inject(self, fault: Fault) -> None:
        self.diary.note(f"{fault.kind}: due")
        said = await _INJECT[fault.kind](self, fault, random.Random(fault.seed))
        self.injected[fault.kind] += 1
        self.diary.note(f"{fault.kind}: over, {said}")

    async def gateway_killed(self, fault: Fault, draw: random.Random) -> str:
        async with self.gateway.lock:
            await self.gateway.kill()
            if draw.random() < 0.3:  # and again while it starts
                await asyncio.sleep(draw.uniform(0.0, 1.0))
                await self.gateway.kill()
                return "twice"
            return "once"

    async def gateway_restarted(self, fault: Fault, draw: random.Random) -> str:
        async with self.gateway.lock:
            await self._ready()
            again_after_s = draw.uniform(0.0, 1.0) if draw.random() < 0.3 else None
            await self.gateway.stop(again_after_s=again_after_s)
            return "without waiting" if again_after_s is not None else "in good order"

    async def gateway_frozen(self, fault: Fault, draw: random.Random) -> str:
        async with self.gateway.lock:
            await self.gateway.freeze(lasts_s=fault.lasts_s)
        return f"for {fault.lasts_s:.1f} s"

    async def broker_killed(self, fault: Fault, draw: random.Random) -> str:
        return await self._broker_away(fault, draw, signal.SIGKILL)

    async def broker_away(self, fault: Fault, draw: random.Random) -> str:
        return await self._broker_away(fault, draw, signal.SIGTERM)

    async def _broker_away(self, fault: Fault, draw: random.Random, how: signal.Signals) -> str:
        broker = draw.choice(self.brokers)
        async with broker.lock:
            self.diary.note(f"{broker.name} gets {how.name}")
            await broker.away(how, lasts_s=fault.lasts_s)
        return broker.name

    async def broker_hangs(self, fault: Fault, draw: random.Random) -> str:
        broker = draw.choice(self.brokers)
        async with broker.lock:
            self.diary.note(f"{broker.name} hangs")
            broker.freeze()
            await asyncio.sleep(fault.lasts_s)
            broker.thaw()
        return broker.name

    async def wire_cut(self, fault: Fault, draw: random.Random) -> str:
        broker, after_bytes = draw.choice(self.brokers), draw.randrange(20_000)
        await broker.wire.cut_after(after_bytes, within_s=5.0)
        return f"{broker.name} after {after_bytes} bytes"

    async def wire_slow(self, fault: Fault, draw: random.Random) -> str:
        broker, slow = draw.choice(self.brokers), Slow(draw.randrange(1, 4000), draw.uniform(0.005, 0.1))
        self.diary.note(f"{broker.name}: {slow}")
        broker.wire.slow = slow
        await asyncio.sleep(fault.lasts_s)
        broker.wire.slow = None
        return broker.name

    async def wire_silent(self, fault: Fault, draw: random.Random) -> str:
        broker = draw.choice(self.brokers)
        self.diary.note(f"{broker.name}: half-open")
        broker.wire.silent = True
        await asyncio.sleep(fault.lasts_s)
        broker.wire.silent = False
        broker.wire.cut()  # a stream with a hole must not go on
        return broker.name

    async def device_cut(self, fault: Fault, draw: random.Random) -> str:
        wire, after_bytes = draw.choice(self.devices), draw.randrange(500)
        await wire.cut_after(after_bytes, within_s=5.0)
        return f"after {after_bytes} bytes"

    async def device_fault(self, fault: Fault, draw: random.Random) -> str:
        endpoint, faults = draw.choice(sorted((await asyncio.to_thread(self.simulators.can)).items()))
        what = draw.choice(faults)
        await asyncio.to_thread(self.simulators.misbehave, endpoint, what, for_s=fault.lasts_s)
        return f"{endpoint}: {what}"

    async def disk_full(self, fault: Fault, draw: random.Random) -> str:
        async with self.disk_lock:
            self.disk.fill()
            self.diary.note("the disk is full")
            await asyncio.sleep(fault.lasts_s)
            self.disk.free()
        return f"after {fault.lasts_s:.1f} s"

    async def buffer_full(self, fault: Fault, draw: random.Random) -> str:
        broker = draw.choice(self.brokers)
        async with broker.lock:
            before, since_s = self.witness.dropped_when_full, time.monotonic()
            self.diary.note(f"{broker.name} ends until the buffer is full")
            broker.end(signal.SIGTERM)
            await until(
                lambda: self.witness.dropped_when_full > before,
                what="the buffer is full and drops readings",
                timeout_s=_BUFFER_FULL_WITHIN_S,
            )
            await broker.start()
            broker.down_s.append(time.monotonic() - since_s)
        return f"{broker.name} after {broker.down_s[-1]:.1f} s"

    async def clock_jump(self, fault: Fault, draw: random.Random) -> str:
        way = draw.choice((-1, 1))
        offset_s = draw.choice(
            (
                -int(time.time()) + draw.randrange(1000),  # 1970
                way * draw.randrange(1, 20),
                way * draw.randrange(3600, _DAY_S),
                way * draw.randrange(_DAY_S, 30 * _DAY_S),
                way * draw.randrange(365 * _DAY_S, 3650 * _DAY_S),
                0,
            )
        )
        self.clock.jump(offset_s)
        return f"now {offset_s:+d} s"

    async def sent_again(self, fault: Fault, draw: random.Random) -> str:
        (broker,) = (one for one in self.brokers if one.refuses is not None)
        relents = draw.random() < 0.5
        async with broker.lock:
            if relents:
                broker.relent()
            async with self.gateway.lock, self.disk_lock:
                said = await self.gateway.command("buffer", "set-aside", "--destination", broker.name, "--retry")
            await asyncio.sleep(fault.lasts_s)
            broker.refuse()
        return f"{broker.name} {'relents' if relents else 'refuses'}: {said}"

    async def devices_changed(self, fault: Fault, draw: random.Random) -> str:
        async with self.gateway.lock:
            what = draw.choice(("added or removed", "changed"))
            if what == "changed":
                self.config.changed_device = {"period": draw.choice(("100ms", "200ms", "400ms"))}
            else:
                self.config.with_spare = not self.config.with_spare
            return f"{what}, {await self._reload(draw)}"

    async def destinations_changed(self, fault: Fault, draw: random.Random) -> str:
        async with self.gateway.lock:
            what = draw.choice(("added or removed", "added or removed", "changed"))
            if what == "changed" and self.injected[fault.kind]:
                self.config.changed_destination = {
                    "batch": draw.choice((1, 5)),
                    "replay": {
                        "order": draw.choice(("live-first", "in-order")),
                        "values_per_second": draw.choice((10_000, 20_000, 50_000)),
                    },
                }
            else:
                self.config.with_guest = not self.config.with_guest
                self.config.guest_starts_at = draw.choice(("now", "oldest"))
            said = await self._reload(draw)
        return f"{what}, {said}"

    async def bad_file(self, fault: Fault, draw: random.Random) -> str:
        async with self.gateway.lock:
            await self._ready()
            refused = self.gateway.said("the config was not reloaded")
            self.config.spoil()
            try:
                self.gateway.reload()
                await until(
                    lambda: self.gateway.said("the config was not reloaded") > refused, what="the bad file is refused"
                )
            finally:
                self.config.write()
        return "refused"

    async def _reload(self, draw: random.Random) -> str:
        """Under the gateway's lock: have the new config read, or kill the gateway while it reads it."""
        await self._ready()
        before = self.gateway.said(_RELOADED)
        self.config.write()
        self.gateway.reload()
        if draw.random() < 0.2:
            await asyncio.sleep(draw.uniform(0.0, 0.3))
            await self.gateway.kill()
            return "killed meanwhile"
        await until(lambda: self.gateway.said(_RELOADED) > before, what="the config is reloaded")
        return "reloaded"

    async def _ready(self) -> None:
        """Under the gateway's lock: nobody kills it, but a full disk may keep it from starting."""
        async with self.disk_lock:
            await self.gateway.ready()


_INJECT: dict[Kind, Callable[[Stage, Fault, random.Random], Coroutine[Any, Any, str]]] = {
    Kind.GATEWAY_KILLED: Stage.gateway_killed,
    Kind.GATEWAY_RESTARTED: Stage.gateway_restarted,
    Kind.GATEWAY_FROZEN: Stage.gateway_frozen,
    Kind.BROKER_KILLED: Stage.broker_killed,
    Kind.BROKER_AWAY: Stage.broker_away,
    Kind.BROKER_HANGS: Stage.broker_hangs,
    Kind.WIRE_CUT: Stage.wire_cut,
    Kind.WIRE_SLOW: Stage.wire_slow,
    Kind.WIRE_SILENT: Stage.wire_silent,
    Kind.DEVICE_CUT: Stage.device_cut,
    Kind.DEVICE_FAULT: Stage.device_fault,
    Kind.DISK_FULL: Stage.disk_full,
    Kind.BUFFER_FULL: Stage.buffer_full,
    Kind.CLOCK_JUMP: Stage.clock_jump,
    Kind.SENT_AGAIN: Stage.sent_again,
    Kind.DEVICES_CHANGED: Stage.devices_changed,
    Kind.DESTINATIONS_CHANGED: Stage.destinations_changed,
    Kind.BAD_FILE: Stage.bad_file,
}
