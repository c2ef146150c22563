"""The pages as functions of the facts: no I/O, no clock of their own, and no facts that make them raise."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from http import HTTPStatus
from importlib.resources import files

import orjson

from drivers.model import GOOD, Quality, Reading, Value
from gateway.clock import utc_text
from gateway.decimals import number
from gateway.health import BufferHealth, DestinationHealth, DeviceHealth, Health

PLAIN = "text/plain; charset=utf-8"
JSON = "application/json"
HTML = "text/html; charset=utf-8"

_NOTHING_ALLOWED = "default-src 'none'; frame-ancestors 'none'"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answers. `started_monotonic_ns` is on the clock of `Now.monotonic_ns`."""

    site: str
    id: str
    version: str
    started_monotonic_ns: int


@dataclass(frozen=True, slots=True)
class Now:
    """One moment on both clocks: wall time (nanoseconds since 1970-01-01 UTC) for people, monotonic for durations."""

    wall_ns: int
    monotonic_ns: int


@dataclass(frozen=True, slots=True)
class Page:
    """One answer. `policy` is its Content-Security-Policy."""

    status: HTTPStatus
    content_type: str
    body: bytes
    policy: str = _NOTHING_ALLOWED


def plain(status: HTTPStatus, text: str) -> Page:
    """A line for a person with curl."""
    return Page(status, PLAIN, f"{text}\n".encode(errors="replace"))


def healthz(health: Health) -> Page:
    """200 while the buffer accepts writes; else 503 and what to do about it."""
    if health.alive:
        return plain(HTTPStatus.OK, "ok: the buffer accepts writes")
    if health.buffer.writable:
        return plain(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"the buffer is full ({health.buffer.refusing}) and refuses new readings\n"
            "they are lost until the destinations have taken what waits; bring those back, give the buffer more room, "
            "or let old readings give way with when_full: drop-oldest",
        )
    return plain(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"the buffer cannot commit readings: {health.buffer.detail or 'no reason given'}\n"
        "readings wait in memory and are lost when it runs out; free disk space or replace the disk",
    )


def readyz(health: Health) -> Page:
    """200 once every destination has connected once; else 503 with the names of those that have not, and why."""
    missing = [destination for destination in health.destinations.values() if not destination.ever_up]
    if not missing:
        return plain(HTTPStatus.OK, "ready: every destination has connected")
    reasons = [f"{each.name}: {each.detail or 'first attempt under way'}" for each in missing]
    return plain(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "\n".join(["never connected yet; readings wait in the buffer until it does:", *reasons]),
    )


def status(health: Health, now: Now, identity: Identity) -> Page:
    """Everything the gateway knows about itself, as JSON. Infinite and undefined numbers are `null`."""
    uptime_ns = now.monotonic_ns - identity.started_monotonic_ns
    document = {
        "gateway": {
            "site": identity.site,
            "id": identity.id,
            "version": identity.version,
            "now": utc_text(now.wall_ns),
            "started_at": utc_text(now.wall_ns - uptime_ns),  # corrects itself when the wall clock is set after boot
            "uptime_s": round(uptime_ns / 1e9, 3),
            "event_loop_lag_s": health.loop_lag_s,
            "alive": health.alive,
            "ready": health.ready,
        },
        "devices": [_device(device, now) for device in tuple(health.devices.values())],
        "buffer": _buffer(health.buffer, now),
        "destinations": [_destination(destination) for destination in health.destinations.values()],
    }
    return Page(HTTPStatus.OK, JSON, orjson.dumps(document, default=_foreign))


@cache
def index() -> Page:
    """The status page: one file, whose only script and style are allowed by their hashes."""
    text = files("gateway.web").joinpath("index.html").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; script-src {_hash(text, 'script')}; style-src {_hash(text, 'style')}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Page(HTTPStatus.OK, HTML, text.encode(), policy)


def _device(device: DeviceHealth, now: Now) -> dict[str, object]:
    return {
        "name": device.name,
        "driver": device.driver,
        "up": device.up,
        "reason": device.reason,
        "detail": _text(device.detail),
        "readings": device.readings,
        "values": device.values,
        "errors": {str(reason): count for reason, count in dict(device.errors).items()},
        "reads_missed": device.missed,
        "reconnects": device.reconnects,
        "points": [point for reading in tuple(device.last.values()) for point in _points(reading, now)],
    }


def _points(reading: Reading, now: Now) -> Iterator[dict[str, object]]:
    observed_at = utc_text(reading.observed_at_ns)
    age_s = _age_s(reading.observed_at_ns, now)
    for index_, (point, value) in enumerate(zip(reading.group.points, reading.values, strict=False)):
        quality = reading.quality.get(index_, GOOD)
        shown = {"text": str(value)} if isinstance(value, Decimal) and value.is_finite() else {}
        yield {
            "name": point.name,
            "value": _value(value),
            **shown,  # as its display shows it; what reads JSON numbers makes 12.34 of 12.340
            "quality": None if value is None and quality is GOOD else _quality(quality),
            "unit": point.unit,
            "observed_at": observed_at,
            "age_s": age_s,
        }


def _buffer(buffer: BufferHealth, now: Now) -> dict[str, object]:
    return {
        "readings": buffer.readings,
        "bytes": buffer.bytes,
        "max_bytes": buffer.max_bytes,
        "oldest_age_s": None if buffer.oldest_ns is None else _age_s(buffer.oldest_ns, now),
        "dropped": {str(reason): count for reason, count in dict(buffer.dropped).items()},
        "seconds_until_full": buffer.seconds_until_full,
        "writable": buffer.writable,
        "detail": _text(buffer.detail),
        "refusing": buffer.refusing,
    }


def _destination(destination: DestinationHealth) -> dict[str, object]:
    return {
        "name": destination.name,
        "up": destination.up,
        "ever_up": destination.ever_up,
        "detail": _text(destination.detail),
        "acknowledged": destination.acknowledged,
        "backlog": destination.backlog,
        "set_aside": destination.set_aside,
    }


@cache
def _quality(quality: Quality) -> str:
    return str(quality)


def _value(value: Value) -> Value:
    """What orjson can write. It makes `null` of NaN and infinity, and refuses broken text and integers over 64 bits."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    return value


def _foreign(value: object) -> object:
    """A Decimal with its digits. A driver from elsewhere may hand over what is no `Value`; the page must not fail."""
    if isinstance(value, Decimal):
        return number(value) if value.is_finite() else None
    return _text(repr(value))


def _text(text: str) -> str:
    return text.encode(errors="replace").decode()


def _age_s(then_ns: int, now: Now) -> float:
    return round(max(0, now.wall_ns - then_ns) / 1e9, 3)


def _hash(html: str, element: str) -> str:
    inline = re.findall(rf"<{element}>(.*?)</{element}>", html, re.DOTALL)
    assert len(inline) == 1, f"index.html has {len(inline)} <{element}> elements; its policy is made for exactly one"
    digest = hashlib.sha256(inline[0].encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
