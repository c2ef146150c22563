"""`hub-gateway check --live` as a table: value, quality, how long it took, and what to do where it failed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from drivers.model import GOOD, Level, Reason, Value
from drivers.settings import DeviceSettings
from gateway.live_check import LISTEN_S, Trial, check_live

_HEADINGS = ("device", "point", "value", "quality", "took")
_LONGEST = 48
"""Values longer than this are cut in the table."""


def print_live_check(devices: Sequence[DeviceSettings], *, state_folder: Path) -> bool:
    """Try every device and print what came of it. Whether everything has answered."""
    tried = asyncio.run(check_live(devices, state_folder=state_folder, progress=_progress))
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    rows = [row for trials in tried.values() for trial in trials for row in _rows(trial)]
    widths = [max(len(row[column]) for row in (_HEADINGS, *rows)) for column in range(len(_HEADINGS))]
    for row in (_HEADINGS, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for advice in _advice(tried):
        print(f"\n{advice}")
    answered = sum(all(trial.was_read for trial in trials) for trials in tried.values())
    print(f"\n{answered} of {len(tried)} devices answered for every point")
    return answered == len(tried)


def _rows(trial: Trial) -> Iterator[tuple[str, str, str, str, str]]:
    group, took = trial.group, f"{trial.took_s * 1e3:.0f} ms"
    if trial.reading is None:
        quality = "connected" if group.events else "silent"
        yield group.device, "-", "-", quality, took
        return
    for index, (point, value) in enumerate(zip(group.points, trial.reading.values, strict=True)):
        quality = str(trial.reading.quality.get(index, GOOD if value is not None else "not told"))
        shown = "-" if value is None else f"{_text(value)} {point.unit}".rstrip()
        yield group.device, point.name, shown, quality, took


def _advice(tried: Mapping[str, Sequence[Trial]]) -> Iterator[str]:
    """What went wrong in words, once for each device and error; and what silence means."""
    told: set[tuple[str, str]] = set()
    for device, trials in tried.items():
        for trial in trials:
            words = _words(trial)
            if words and (device, words) not in told:
                told.add((device, words))
                yield f"{device}: {words}"


def _words(trial: Trial) -> str:
    if trial.error is not None:
        return str(trial.error)
    if trial.reading is None and trial.group.events:
        return f"connected; it has seen nothing within {LISTEN_S:g} s"
    if trial.reading is None:
        return f"connected, but it said nothing within {LISTEN_S:g} s; check that it is set to send by itself"
    return _refused(trial)


def _refused(trial: Trial) -> str:
    """Which points could not be read, and why."""
    assert trial.reading is not None
    if trial.was_read:
        return ""
    bad = {index: quality for index, quality in trial.reading.quality.items() if quality.level is Level.BAD}
    told = ", ".join(f"{trial.group.names[index]} ({quality.reason})" for index, quality in bad.items())
    unknown = any(quality.reason == Reason.ILLEGAL_ADDRESS for quality in bad.values())
    return f"cannot be read: {told}{'; compare address and type with the manual' if unknown else ''}"


def _text(value: Value) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} links tried", end="", file=sys.stderr, flush=True)
