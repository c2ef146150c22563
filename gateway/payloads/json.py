"""The format `json`: one object per reading, and the retained status of the gateway.

    {"id": "9f3c1e00-184213", "ts_ms": 1700000000123, "gateway": "sort-01", "device": "infeed-conveyor",
     "values": {"speed": 1.42, "running": true}, "quality": {"current": "bad:timeout"}, "historical": false}

Keys come in this order. `quality` is there only when something is not good; a point without a value is not in `values`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import orjson

from drivers.model import Reading
from gateway.decimals import number


class Stored(Protocol):
    """A reading with its position in the buffer."""

    @property
    def position(self) -> int: ...

    @property
    def reading(self) -> Reading: ...


class JsonPayload:
    """Encodes the readings and the status of one gateway.

    `topic` is the template of the config file, with `{site}`, `{gateway}` and `{device}`. With a `batch` of more than 1
    every message is an array, also when it carries one reading, so that a consumer sees one shape.
    """

    def __init__(
        self, *, site: str, gateway: str, epoch: str, topic: str, version: str, started_ms: int, batch: int = 1
    ) -> None:
        self._site = site
        self._gateway = gateway
        self._epoch = epoch
        self._topic = topic
        self._version = version
        self._started_ms = started_ms
        self._in_array = batch > 1
        self._topics: dict[str, str] = {}
        self._status_topic = f"hub/{site}/{gateway}/status"

    def encode(self, stored: Sequence[Stored], *, historical: bool) -> tuple[str, bytes]:
        """One message as (topic, payload). All readings are of one device; without a batch there is exactly one."""
        device = stored[0].reading.group.device
        topic = self._topics.get(device)
        if topic is None:
            topic = self._topic.format(site=self._site, gateway=self._gateway, device=device)
            self._topics[device] = topic
        if self._in_array:
            return topic, orjson.dumps([self._object(item, historical=historical) for item in stored], default=number)
        (item,) = stored
        return topic, orjson.dumps(self._object(item, historical=historical), default=number)

    def online(self, *, connected_ms: int, history: int) -> tuple[str, bytes]:
        """The retained message that says that this gateway is connected, as (topic, payload).

        `connected_ms` tells one connection from another: ms since 1970 UTC. `history` is how many readings are to come
        as history, 0 once all have been sent.
        """
        about = {"online": True, "version": self._version, "epoch": self._epoch, "started_ms": self._started_ms}
        return self._status_topic, orjson.dumps(about | {"connected_ms": connected_ms, "history": history})

    def offline(self) -> tuple[str, bytes]:
        """As `online`. It is also the will, so it says nothing that may change."""
        return self._status_topic, orjson.dumps({"online": False})

    def _object(self, item: Stored, *, historical: bool) -> dict[str, Any]:
        reading = item.reading
        group = reading.group
        values = dict(zip(group.names, reading.values, strict=True))
        if None in reading.values:
            values = {name: value for name, value in values.items() if value is not None}
        message: dict[str, Any] = {
            "id": f"{self._epoch}-{item.position}",
            "ts_ms": reading.observed_at_ns // 1_000_000,
            "gateway": self._gateway,
            "device": group.device,
            "values": values,
        }
        if reading.quality:
            message["quality"] = {group.names[index]: str(quality) for index, quality in reading.quality.items()}
        message["historical"] = historical
        return message
