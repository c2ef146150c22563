"""A machine without a battery: it starts in 1970, and its clock is set while readings wait."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.app.conftest import Fleet, hub, recorder, until
from tests.plugins.wall_clock import WallClock

MARK = {"p0": "uncertain:clock-unset", "p1": "uncertain:clock-unset"}


def position(reading: dict[str, Any]) -> int:
    return int(reading["id"].rpartition("-")[2])


def test_readings_from_before_the_clock_was_set_are_marked_and_what_waits_is_corrected(
    tmp_path: Path, fleet: Fleet
) -> None:
    clock = WallClock(tmp_path)
    clock.jump(-int(time.time()))
    with hub(tmp_path) as (broker, gateway):
        broker.remember()
        broker.start()
        gateway.settings["devices"] = [fleet.device(1)]
        with recorder(broker, tmp_path) as recorded:
            began_ms = time.time() * 1e3
            gateway.start(**clock.environment())
            until(lambda: len(recorded.readings()) >= 3, "readings of 1970 arrive")
            early = recorded.readings()
            assert all(one["quality"] == MARK and one["ts_ms"] < 60_000 for one in early)
            broker.stop()
            seen = gateway.committed()
            until(lambda: gateway.committed() >= seen + 3, "readings wait")
            gateway.kill()
            gateway.start(**clock.environment())
            unset = gateway.committed()
            until(lambda: gateway.committed() >= unset + 3, "more of them wait after a crash")
            clock.jump(0)
            gateway.wait_for_log("the clock has been set: it was stepped by ")
            until(lambda: gateway.committed() >= unset + 6, "readings of today wait as well")
            broker.start()
            until(
                lambda: gateway.waiting() == {"broker": 0} or len(recorded.readings()) > unset + 6, "all has gone out"
            )
            assert gateway.stop() == 0
            last = gateway.committed()
            until(lambda: {position(one) for one in recorded.readings()} == set(range(1, last + 1)), "all has arrived")
            later = [one for one in recorded.readings() if "quality" not in one]
    assert len({one["id"].partition("-")[0] for one in later}) == 1
    times_ms = {position(one): one["ts_ms"] for one in later}
    assert times_ms.keys() >= set(range(seen + 1, last + 1))
    assert sorted(times_ms.values()) == [times_ms[one] for one in sorted(times_ms)]
    assert began_ms - 100 < min(times_ms.values())
    assert max(times_ms.values()) < time.time() * 1e3
    assert gateway.log.count("the clock is not set: it says 1970-01-01T00:00:") == 2
