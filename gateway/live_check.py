"""`hub-gateway check --live`: connect to every device, read every point once, and say what to do where that failed.

Links are tried side by side, devices of one link one after the other, as the gateway itself does. Nothing is written
to a device, and no buffer is opened.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from drivers.contract import BadResponse, DeviceUnavailable, DriverError, Session, StreamSession
from drivers.model import Level, PointGroup, Reading, Reason, all_bad
from drivers.settings import DeviceSettings
from gateway.acquire.faults import BugsRaisedAs
from gateway.links import LinkSettings, links
from gateway.report import merged

PATIENCE_S = 30.0
"""The longest that one connection or one read may take, whatever the driver thinks of it."""

LISTEN_S = 5.0
"""How long devices that speak unasked are listened to."""

_AND_MORE_S = 0.5
"""How long once each of them has said something, for points that it tells apart."""

_LINKS_AT_ONCE = 32
_STATES = frozenset({Reason.OVERLOAD, Reason.UNDERLOAD, Reason.NOT_A_NUMBER, Reason.OUT_OF_RANGE, "not-shown"})
"""Bad, but an answer: the device was read, and this is what it has to say."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What one group of a device gave. `reading` is None where it speaks unasked and has said nothing."""

    group: PointGroup
    reading: Reading | None
    took_s: float
    error: DriverError | None = None

    @property
    def was_read(self) -> bool:
        """Whether every point has answered. Silence of a device that reports events is no failure."""
        if self.reading is None:
            return self.group.events
        return self.error is None and all(
            quality.level is not Level.BAD or quality.reason in _STATES for quality in self.reading.quality.values()
        )


async def check_live(
    devices: Sequence[DeviceSettings], *, state_folder: Path, progress: Callable[[int, int], None]
) -> Mapping[str, Sequence[Trial]]:
    """Try every device; one `Trial` for each of its groups. `progress` is told how many links are done, and of all."""
    wanted = links(devices)
    found: dict[str, list[Trial]] = {device.name: [] for device in devices}
    turns = asyncio.Semaphore(_LINKS_AT_ONCE)
    done = 0

    async def check(link: LinkSettings) -> None:
        nonlocal done
        async with turns:
            for trial in await _check_link(link, state_folder=state_folder):
                found[trial.group.device].append(trial)
        done += 1
        progress(done, len(wanted))

    progress(0, len(wanted))
    async with asyncio.TaskGroup() as tasks:
        for link in wanted:
            tasks.create_task(check(link), name=f"check {link.link}")
    return found


async def _check_link(link: LinkSettings, *, state_folder: Path) -> list[Trial]:
    """Try all devices of a link. One that takes the link down with it does not keep the others from it."""
    driver = link.open_driver(state_folder=state_folder)
    waiting = [[group for group in driver.groups if group.device == device.name] for device in link.devices]
    found: list[Trial] = []
    while waiting:
        started_s = time.monotonic()
        is_open = False
        try:
            async with asyncio.timeout(PATIENCE_S) as patience:
                with BugsRaisedAs(DeviceUnavailable, link.link):
                    async with driver.connect() as session:
                        is_open = True
                        if isinstance(session, StreamSession):
                            groups = [group for of_device in waiting for group in of_device]
                            found += await _listen(session, groups, started_s=started_s)
                            waiting.clear()
                        while waiting:
                            patience.reschedule(asyncio.get_running_loop().time() + PATIENCE_S)
                            assert isinstance(session, Session)
                            found += await _read(session, waiting[0])
                            del waiting[0]
        except DriverError as error:
            failed = error
        except TimeoutError:
            hint = "the driver should have given up by itself; report it"
            failed = DeviceUnavailable(f"{link.link}: nothing for {PATIENCE_S:g} s", reason=Reason.TIMEOUT, hint=hint)
        else:
            continue
        given_up = waiting[:1] if is_open else waiting[:]
        del waiting[: len(given_up)]
        took_s = time.monotonic() - started_s
        found += [_failed(group, failed, took_s=took_s) for of_device in given_up for group in of_device]
    return found


async def _read(session: Session, groups: Sequence[PointGroup]) -> list[Trial]:
    """Read each group of one device. A device that is silent is not asked for its other groups."""
    found: list[Trial] = []
    for group in groups:
        started_s = time.monotonic()
        try:
            with BugsRaisedAs(BadResponse, group):
                reading = await session.read(group)
        except BadResponse as error:
            took_s = time.monotonic() - started_s
            found.append(_failed(group, error, took_s=took_s))
            if error.reason is Reason.TIMEOUT:
                return [*found, *(_failed(other, error, took_s=took_s) for other in groups[len(found) :])]
        else:
            found.append(Trial(group, reading, time.monotonic() - started_s))
    return found


async def _listen(session: StreamSession, groups: Sequence[PointGroup], *, started_s: float) -> list[Trial]:
    """Listen until every point of every group has been told, but not for ever."""
    loop = asyncio.get_running_loop()
    states: dict[PointGroup, Reading] = {}
    took_s: dict[PointGroup, float] = {}
    readings = session.readings()
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(LISTEN_S) as patience:
                async for reading in readings:
                    states[reading.group] = merged(states.get(reading.group), reading)
                    if reading.group not in took_s:
                        took_s[reading.group] = time.monotonic() - started_s
                        if len(took_s) == len(groups):
                            patience.reschedule(loop.time() + _AND_MORE_S)
                    if len(states) == len(groups) and all(map(_is_complete, states.values())):
                        break
    finally:
        if isinstance(readings, AsyncGenerator):
            await readings.aclose()
    return [Trial(group, states.get(group), took_s.get(group, LISTEN_S)) for group in groups]


def _is_complete(state: Reading) -> bool:
    """Whether every point has a value or a reason why not. An event is complete as it is."""
    return state.group.events or all(
        value is not None or index in state.quality for index, value in enumerate(state.values)
    )


def _failed(group: PointGroup, error: DriverError, *, took_s: float) -> Trial:
    return Trial(group, all_bad(group, time.time_ns(), error.reason), took_s, error)
