"""What `hub-gateway buffer status` tells of a buffer that fills, and of what was lost."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from drivers.model import Point, PointGroup, Reading
from gateway.buffer import Buffer
from gateway.buffer_command import print_buffer
from gateway.clock import Clock
from gateway.config import Durability, Settings, load
from gateway.health import BufferHealth

POLLED = PointGroup("infeed", 1.0, (Point("n"), Point("text")))
PORTAL = PointGroup("portal", 0.0, POLLED.points, events=True)
SECOND_NS = 10**9
MOMENT = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "hub.yaml"
    file.write_text(
        f"gateway: {{site: lgg, id: sort-01}}\n"
        f"buffer: {{path: {tmp_path}/buffer.db, max_bytes: 1MB, min_free_disk: 0, when_full: thin}}\n"
        "destinations: [{name: broker, url: 'mqtt://127.0.0.1'}, {name: cloud, url: 'mqtt://127.0.0.1:1884'}]\n"
        "devices: [{name: infeed, driver: modbus, url: 'tcp://127.0.0.1', points: [{name: n, address: 'coil:0'}]}]\n"
    )
    loaded = load(file)
    buffer = loaded.buffer.model_copy(update={"durability": Durability.PROCESS_CRASH})
    return loaded.model_copy(update={"buffer": buffer})


async def fill(settings: Settings, *, rounds: int, ahead_s: float = 0) -> None:
    """Everything that is polled, and every event; `cloud` takes what it is given first."""
    clock = Clock(wall_ns=lambda: time.time_ns() + int(ahead_s * SECOND_NS), boot_ns=time.monotonic_ns)
    names = [one.name for one in settings.destinations]
    async with Buffer.open(settings.buffer, destinations=names, health=BufferHealth(), clock=clock) as buffer:
        for number in range(rounds):
            for group in (POLLED, PORTAL):
                buffer.append(Reading(group, clock.wall_ns(), (number, "x" * 200)))
            if number % 100 == 0:
                await buffer.flush()
        await buffer.flush()
        buffer.acknowledge("cloud", range(1, 11))


def told(settings: Settings, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """What follows each word at the beginning of a line."""
    print_buffer("status", settings, destination=None, count=0)
    found: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.splitlines():
        found.setdefault(line[:11].strip(), []).append(line[11:])
    return found


async def test_every_reason_has_a_line_with_first_and_last(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(settings, rounds=3000)
    found = told(settings, capsys)
    assert found["full"] == ["now"]
    thinned, dropped = found["dropped"]
    assert re.fullmatch(
        rf"([1-9]\d*) \(thinned\), \1 for broker, \d+ for cloud, observed {MOMENT} to {MOMENT}, last dropped {MOMENT}",
        thinned,
    )
    assert re.fullmatch(
        rf"[1-9]\d* \(max-bytes\), .* for broker, .* for cloud, observed {MOMENT} to {MOMENT}, last dropped {MOMENT}",
        dropped,
    )
    assert [line.split(" for ")[1] for line in found["waiting"]] == ["broker", "cloud"]


async def test_a_second_episode_is_counted_into_the_line_of_its_reason(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        await fill(settings, rounds=3000)
    assert "(max-bytes) 2 times, " in told(settings, capsys)["dropped"][1]


async def test_a_buffer_with_room_says_when_it_will_be_full(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(settings, rounds=10)
    found = told(settings, capsys)
    assert len(found["full"]) == 1
    assert re.fullmatch(r"not filling|in \d+ (s|min|h|d) at the present rate", found["full"][0])
    assert found["dropped"] == ["0"]


async def test_a_forecast_of_long_ago_is_not_told(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    await fill(settings, rounds=10, ahead_s=-600)
    assert "full" not in told(settings, capsys)
