"""`hub-gateway buffer`: what is waiting, for whom, since when; what was dropped and what was refused.

`tail`, `export` and `set-aside` print one JSON object a line, in the shape of the MQTT messages, for `jq` and friends.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import orjson

from gateway.buffer import BufferUnavailable, inspect
from gateway.config import Settings
from gateway.decimals import number


def print_buffer(what: str, settings: Settings, *, destination: str | None, count: int) -> None:
    """Print `what` (`status`, `tail`, `export` or `set-aside`) of the buffer that `settings` names.

    `tail` prints the newest `count` readings. Raises `BufferUnavailable`.
    """
    try:
        _print(what, settings, destination=destination, count=count)
    except PermissionError as error:
        raise BufferUnavailable(
            f"cannot read the buffer {settings.buffer.path}: {error.strerror}",
            hint="read it as the gateway's user or as root",
        ) from error


def _print(what: str, settings: Settings, *, destination: str | None, count: int) -> None:
    path = settings.buffer.path
    if what == "status":
        _print_status(inspect.status(path), max_bytes=settings.buffer.max_bytes)
    elif what == "tail":
        _print_lines(inspect.rows(path, destination=destination, last=count))
    elif what == "export":
        _print_lines(inspect.rows(path, destination=destination))
    else:
        _print_lines(inspect.set_aside(path))


def _print_status(status: inspect.BufferStatus, *, max_bytes: int) -> None:
    print(f"epoch      {status.epoch}")
    print(f"readings   {status.readings}")
    print(f"bytes      {status.bytes} of {max_bytes} ({status.bytes / max_bytes:.1%})")
    if status.oldest_ns is not None and status.newest_ns is not None:
        print(f"oldest     {_utc(status.oldest_ns)}")
        print(f"newest     {_utc(status.newest_ns)}")
    for name, backlog in status.backlog.items():
        print(f"waiting    {backlog} for {name}")
    print(f"set aside  {status.set_aside}")
    for drop in status.dropped:
        print(
            f"dropped    {drop.readings} ({drop.reason}), "
            f"observed {_utc(drop.first_observed_ns)} to {_utc(drop.last_observed_ns)}"
        )
    if not status.dropped:
        print("dropped    0")


def _print_lines(objects: Iterable[dict[str, object]]) -> None:
    for found in objects:
        print(orjson.dumps(found, default=number).decode())


def _utc(wall_ns: int) -> str:
    return datetime.fromtimestamp(wall_ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
