"""An independent look at what reached a broker: ids received, ids received twice, ids missing."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import orjson
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from gateway.buffer.ranges import Ranges

_ANSWER_S = 5.0


class Ledger:
    """The ids of the readings that a subscriber has received, by buffer epoch. May be shared between threads."""

    def __init__(self) -> None:
        self.duplicates = 0
        self.interruptions = 0
        """How often the subscriber itself lost its connection. A broker may forget what it should have kept for it."""
        self._received: defaultdict[str, Ranges] = defaultdict(Ranges)
        self._changed = threading.Condition()

    def note(self, payload: bytes) -> None:
        """Take one message of the format `json`, an object or an array of them. Others are passed over."""
        with suppress(ValueError), self._changed:
            body = orjson.loads(payload)
            for item in body if isinstance(body, list) else [body]:
                if isinstance(item, dict) and "id" in item:
                    epoch, _, position = str(item["id"]).rpartition("-")
                    self._note(self._received[epoch], int(position))
            self._changed.notify_all()

    def wait_for(self, epoch: str, first: int, last: int, *, but: int, timeout_s: float) -> None:
        """Block until all positions from `first` to `last` `but` so many have arrived, at most `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self.missing(epoch, first, last) <= but, timeout_s)

    def missing(self, epoch: str, first: int, last: int) -> int:
        """How many positions from `first` to `last` have not arrived."""
        with self._changed:
            arrived = sum(final - low + 1 for low, final in self._received[epoch].within(first, last))
        return last - first + 1 - arrived

    def _note(self, received: Ranges, position: int) -> None:
        if not received.add(position, position):
            self.duplicates += 1


@asynccontextmanager
async def listening(url: str, topic: str) -> AsyncIterator[Ledger]:
    """Subscribe to `topic` at the broker `url` (`mqtt://host:port`), QoS 1, and keep the ledger until the block ends.

    Yields once the broker has granted the subscription. It keeps what the subscriber misses while the connection is
    interrupted, and is told to forget all about it at the end. Raises OSError when the broker cannot be reached or
    refuses.
    """
    parts = urlsplit(url)
    address = parts.hostname or "127.0.0.1", parts.port or 1883
    loop = asyncio.get_running_loop()
    granted: asyncio.Future[None] = loop.create_future()
    ledger = Ledger()

    def tell(reason: ReasonCode) -> None:
        if granted.done():
            return
        if reason.is_failure:
            granted.set_exception(OSError(f"it refuses the subscriber: {reason}"))
        else:
            granted.set_result(None)

    def on_connect(client: Client, _data: object, _flags: object, reason: ReasonCode, _properties: object) -> None:
        if reason.is_failure:
            loop.call_soon_threadsafe(tell, reason)
        else:
            client.subscribe(topic, qos=1)

    def on_subscribe(_client: Client, _data: object, _id: int, reasons: list[ReasonCode], _properties: object) -> None:
        loop.call_soon_threadsafe(tell, reasons[0])

    def on_message(_client: Client, _data: object, message: MQTTMessage) -> None:
        ledger.note(bytes(message.payload))

    def on_disconnect(*_: Any) -> None:
        ledger.interruptions += 1

    identity = f"hubdemo{secrets.token_hex(6)}"
    client = Client(CallbackAPIVersion.VERSION2, identity, clean_session=False)
    client.reconnect_delay_set(1, 2)
    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    client.on_message = on_message
    client.on_disconnect = on_disconnect
    await asyncio.to_thread(client.connect, *address)
    client.loop_start()
    try:
        try:
            async with asyncio.timeout(_ANSWER_S):
                await granted
        except TimeoutError:
            raise OSError(f"it has not answered within {_ANSWER_S:g} s") from None
        yield ledger
    finally:
        client.disconnect()
        client.loop_stop()
        await asyncio.to_thread(_forget, identity, address)


def _forget(identity: str, address: tuple[str, int]) -> None:
    """Take over the session with a clean one, which ends with its connection."""
    with suppress(OSError):
        client = Client(CallbackAPIVersion.VERSION2, identity, clean_session=True)
        client.connect(*address)
        client.disconnect()
