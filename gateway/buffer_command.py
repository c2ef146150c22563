"""`hub-gateway buffer`: what is waiting, for whom, since when; what was dropped and what was refused.

`tail`, `export` and `set-aside` print one JSON object a line, in the shape of the MQTT messages, for `jq` and friends.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from math import isinf

import orjson

from gateway.buffer import UnknownDestination, inspect, retries
from gateway.buffer.drops import for_whom
from gateway.buffer.settlement import SET_ASIDE_KEPT
from gateway.clock import utc_text
from gateway.config import Settings
from gateway.decimals import number

_TAKEN_WITHIN_S = 5.0


def print_buffer(what: str, settings: Settings, *, destination: str | None, count: int) -> None:
    """Print `what` (`status`, `tail`, `export` or `set-aside`) of the buffer that `settings` names.

    `tail` prints the newest `count` readings. Raises `BufferUnavailable` or `UnknownDestination`.
    """
    path = settings.buffer.path
    if what == "status":
        _print_status(inspect.status(path), max_bytes=settings.buffer.max_bytes)
    elif what == "tail":
        _print_lines(inspect.rows(path, destination=destination, last=count))
    elif what == "export":
        _print_lines(inspect.rows(path, destination=destination))
    else:
        _print_lines(inspect.set_aside(path, destination=destination))


def send_again(settings: Settings, *, destination: str | None) -> None:
    """Have the gateway send again what was set aside, for one destination or for all, and print how many those are.

    Says on stderr what else a person should know: what stays, and that no gateway has taken it yet. Raises
    `BufferUnavailable` or `UnknownDestination`.
    """
    path = settings.buffer.path
    configured = [one.name for one in settings.destinations]
    if destination is not None and destination not in configured:
        raise UnknownDestination("the config", destination, configured)
    chosen = configured if destination is None else [destination]
    asked = retries.request(path, chosen, since_ns=time.time_ns() - int(settings.buffer.max_age * 1e9))
    for one in asked:
        print(f"{one.destination}: {one.readings} readings will be sent again")
        if one.too_old:
            _tell(f"{one.too_old} for {one.destination} are older than buffer.max_age: they stay; raise it for them")
    if destination is None:
        for name, readings in inspect.status(path).set_aside.items():
            if name not in configured:
                _tell(f"{readings} for {name} stay: no destination in the config has that name")
    if any(one.readings for one in asked) and not _are_taken(settings):
        _tell("no gateway has taken them yet: they go out when it runs")


def _are_taken(settings: Settings) -> bool:
    """Wait for a running gateway to take what was asked for, which it does within about a second."""
    deadline_s = time.monotonic() + _TAKEN_WITHIN_S
    while not (taken := retries.is_taken(settings.buffer.path)) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    return taken


def _tell(text: str) -> None:
    print(f"hub-gateway: {text}", file=sys.stderr)


def _print_status(status: inspect.BufferStatus, *, max_bytes: int) -> None:
    print(f"epoch      {status.epoch}")
    print(f"readings   {status.readings}")
    print(f"bytes      {status.bytes} of {max_bytes} ({status.bytes / max_bytes:.1%})")
    if status.oldest_ns is not None and status.newest_ns is not None:
        print(f"oldest     {utc_text(status.oldest_ns)}")
        print(f"newest     {utc_text(status.newest_ns)}")
    if status.seconds_until_full is not None:
        print(f"full       {_until(status.seconds_until_full)}")
    for name, backlog in status.backlog.items():
        print(f"waiting    {backlog} for {name}")
    for name, readings in status.set_aside.items():
        print(f"set aside  {readings} for {name} ({SET_ASIDE_KEPT} are kept in all)")
    if not status.set_aside:
        print("set aside  0")
    for reason in dict.fromkeys(drop.reason for drop in status.dropped):
        print(f"dropped    {_drops([drop for drop in status.dropped if drop.reason == reason])}")
    if not status.dropped:
        print("dropped    0")


def _until(seconds: float) -> str:
    if seconds == 0:
        return "now"
    for unit, length_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length_s:
            return "not filling" if isinf(seconds) else f"in {seconds / length_s:.0f} {unit} at the present rate"
    return f"in {seconds:.0f} s at the present rate"


def _drops(episodes: Sequence[inspect.DropRecord]) -> str:
    """All that was lost for one reason."""
    times = "" if len(episodes) == 1 else f" {len(episodes)} times"
    first_ns = min(one.first_observed_ns for one in episodes)
    last_ns = max(one.last_observed_ns for one in episodes)
    readings, shares = sum(one.readings for one in episodes), Counter[str]()
    for one in episodes:
        shares.update(one.shares)
    return (
        f"{readings} ({episodes[0].reason}){times}{for_whom(readings, shares)}, observed {utc_text(first_ns)} to "
        f"{utc_text(last_ns)}, last dropped {utc_text(max(one.until_ns for one in episodes))}"
    )


def _print_lines(objects: Iterable[dict[str, object]]) -> None:
    for found in objects:
        print(orjson.dumps(found, default=number).decode())
