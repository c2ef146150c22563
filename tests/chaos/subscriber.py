"""What reaches a broker, written down in the order in which the broker took it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho

_LAST = "judge/last"


class Subscriber:
    """Subscribed to everything at one broker with QoS 0, over all the broker's lives.

    A broker hands a message to a connected subscriber before it acknowledges it to the publisher, and a subscriber
    with QoS 0 has nothing to answer that could get in the way of its last words. So what a broker acknowledged before
    it was killed has arrived here, provided that this was connected: keep the gateway away until `subscribed` is set.
    (A session that the broker keeps would not do: a killed broker has lost what it has not saved yet.)
    """

    def __init__(self, port: int, path: Path) -> None:
        self.path = path
        self.subscribed = threading.Event()
        self.interruptions = 0
        """How often the connection was lost. More often than the broker was ended means that the record has a gap."""
        self._port = port
        self._caught_up = threading.Event()
        self._record = path.open("ab")
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, "judge", protocol=paho.MQTTv311)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=0)
        self._client.on_subscribe = lambda *_: self.subscribed.set()
        self._client.on_disconnect = self._lost
        self._client.on_message = self._take
        self._client.reconnect_delay_set(1, 1)

    def start(self) -> None:
        """Connect and keep connected, in a thread."""
        self._client.connect("127.0.0.1", self._port, keepalive=0)
        self._client.loop_start()

    def catch_up(self, *, timeout_s: float = 30.0) -> None:
        """Block until everything that the broker took before this call is written down."""
        self._caught_up.clear()
        self._client.publish(_LAST)
        assert self._caught_up.wait(timeout_s), f"the subscriber of {self.path.name} does not catch up"
        self._record.flush()

    def stop(self) -> None:
        self._client.on_disconnect = None
        self._client.disconnect()
        self._client.loop_stop()
        self._record.close()
        del self._client  # it has more sockets, which go with it

    def _lost(self, *_: Any) -> None:
        self.subscribed.clear()
        self.interruptions += 1

    def _take(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        if message.topic == _LAST:
            self._caught_up.set()
        elif not message.retain:
            self._record.write(b"%.3f %s %s\n" % (time.monotonic(), message.topic.encode(), message.payload))


@contextmanager
def subscriber(port: int, path: Path) -> Iterator[Subscriber]:
    """A subscriber to the broker on this port, which is running, that writes to `path`: a line for each message."""
    one = Subscriber(port, path)
    one.start()
    try:
        yield one
    finally:
        one.stop()
