"""Messages on their way to one broker, and what it answered."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from gateway.mqtt.engine import Engine
from gateway.mqtt.packets import Connack, Received, Version
from gateway.mqtt.reasons import ACCEPTED_BELOW, DestinationUnavailable, MessageTooLarge, words
from gateway.mqtt.stream import Address

Token = tuple[int, ...]
"""What the caller gets back with the acknowledgement: the positions of the readings in the message."""

MOST_IN_FLIGHT = 1000
MOST_BYTES_IN_FLIGHT = 2**20
"""More than a round trip needs, and little enough to hold in memory. One message may be larger than this."""
GOODBYE_S = 2.0


class Acknowledgement(NamedTuple):
    """The broker's answer to one message: its reason code, what it `said` about it, and how long it took."""

    token: Token
    code: int
    said: str
    waited_s: float


class _InFlight(NamedTuple):
    token: Token | None
    """None: nobody waits for its acknowledgement."""
    size: int
    published_s: float


class Connection:
    """An open connection. Belongs to the event loop's thread; made by `Broker.connect`.

    `window` is how many messages may be unacknowledged at once: the broker's receive maximum (MQTT 5), at most
    `MOST_IN_FLIGHT`. Every method raises `DestinationUnavailable` once the connection is lost; what was in flight then
    is neither delivered for certain nor lost for certain.
    """

    def __init__(self, engine: Engine, *, address: Address, version: Version, silence_s: float) -> None:
        self.version = version
        self.window = 1
        self._engine = engine
        self._address = address
        self._silence_s = silence_s
        self._largest_packet_bytes: int | None = None
        self._retains = True
        self._answer: Connack | None = None
        self._failure: DestinationUnavailable | None = None
        self._in_flight: dict[int, _InFlight] = {}
        self._bytes_in_flight = 0
        self._acknowledged: list[Acknowledgement] = []
        self._received: list[Received] = []
        self._subacks: list[tuple[int, str]] = []
        self._waiting: set[asyncio.Future[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._heard_s = self._loop.time()
        engine.attach(self)
        self._timer = self._loop.call_soon(self._tend)

    @property
    def in_flight(self) -> int:
        """Messages that were published, whose acknowledgement is awaited and has not come yet."""
        return sum(sent.token is not None for sent in self._in_flight.values())

    async def room(self, *, share: float = 1.0) -> None:
        """Wait until a message may be published within this share of the window, in messages and in bytes."""
        while True:
            self._raise_if_lost()
            if len(self._in_flight) < self.window * share and self._bytes_in_flight < MOST_BYTES_IN_FLIGHT * share:
                return
            await self._changed()

    def publish(self, topic: str, payload: bytes, *, token: Token, retain: bool = False) -> None:
        """Hand over a message with QoS 1, in order. There must be room. Raises `MessageTooLarge`.

        A broker that retains nothing gets the message without `retain`.
        """
        self._publish(topic, payload, token=token, retain=retain and self._retains)

    def _publish(
        self,
        topic: str,
        payload: bytes,
        *,
        token: Token | None,
        retain: bool = False,
        correlation: bytes | None = None,
    ) -> None:
        self._raise_if_lost()
        if len(self._in_flight) >= self.window:
            raise RuntimeError(f"published to {topic} into a full window of {self.window}; await room() first")
        size = len(payload)
        if self._largest_packet_bytes is not None and (
            _packet_bytes(topic, size, correlation) > self._largest_packet_bytes
        ):
            raise MessageTooLarge(
                f"larger than the {self._largest_packet_bytes} bytes that {self._address} accepts in one packet"
            )
        message_id = self._engine.publish(topic, payload, retain=retain, correlation=correlation)
        self._in_flight[message_id] = _InFlight(token, size, self._loop.time())
        self._bytes_in_flight += size

    async def acknowledgements(self) -> list[Acknowledgement]:
        """Wait for acknowledgements and take all that have come, in the order of their coming."""
        while not self._acknowledged:
            self._raise_if_lost()
            await self._changed()
        taken, self._acknowledged = self._acknowledged, []
        return taken

    async def respond(self, topic: str, payload: bytes, *, correlation: bytes | None) -> None:
        """Publish the answer to a message that was received, once there is room; how it fares is nobody's concern.

        Raises `MessageTooLarge`.
        """
        await self.room()
        self._publish(topic, payload, token=None, correlation=correlation)

    async def subscribe(self, topic_filter: str) -> str | None:
        """Ask for messages; in words why the broker refuses to send them, or None. One subscription at a time."""
        self._raise_if_lost()
        self._subacks.clear()
        self._engine.subscribe(topic_filter)
        while not self._subacks:
            self._raise_if_lost()
            await self._changed()
        code, said = self._subacks[-1]
        return None if code < ACCEPTED_BELOW else words(code, said=said)

    async def received(self) -> list[Received]:
        """Wait for messages and take all that have come, in the order of their coming.

        They have been acknowledged already. To be called again at once: nothing bounds what waits here meanwhile.
        """
        while not self._received:
            self._raise_if_lost()
            await self._changed()
        taken, self._received = self._received, []
        return taken

    async def answer(self) -> Connack | None:
        """The broker's answer to CONNECT; None when the connection ended without one."""
        while self._answer is None and self._failure is None:
            await self._changed()
        return self._answer

    async def goodbye(self) -> None:
        """Send DISCONNECT and wait shortly until it is out. The broker then drops the will."""
        if self._failure is None:
            self._engine.disconnect()
        try:
            async with asyncio.timeout(GOODBYE_S):
                while self._failure is None:
                    await self._changed()
        except TimeoutError:
            return  # a broker that does not read is cut off

    def cut(self) -> None:
        """Close the socket at once. Idempotent."""
        self._timer.cancel()
        self._engine.close()
        self.on_end(DestinationUnavailable(f"the connection to {self._address} was closed by this gateway"))

    def on_connack(self, connack: Connack) -> None:
        self._answer = connack
        self.window = min(connack.receive_maximum, MOST_IN_FLIGHT)
        self._largest_packet_bytes = connack.largest_packet_bytes
        self._retains = connack.retains
        self._wake()

    def on_puback(self, message_id: int, code: int, said: str) -> None:
        sent = self._in_flight.pop(message_id, None)
        if sent is None:
            return
        self._bytes_in_flight -= sent.size
        self._heard_s = self._loop.time()
        if sent.token is not None:
            self._acknowledged.append(Acknowledgement(sent.token, code, said, self._heard_s - sent.published_s))
        self._wake()

    def on_suback(self, code: int, said: str) -> None:
        self._subacks.append((code, said))
        self._wake()

    def on_message(self, message: Received) -> None:
        self._received.append(message)
        self._wake()

    def on_end(self, failure: DestinationUnavailable) -> None:
        if self._failure is None:
            self._failure = failure
            self._wake()

    def _raise_if_lost(self) -> None:
        if self._failure is not None:
            lost = self._failure
            raise DestinationUnavailable(lost.message, hint=lost.hint, needs_person=lost.needs_person)

    async def _changed(self) -> None:
        waiter = self._loop.create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _tend(self) -> None:
        self._engine.tend()
        if self._in_flight:
            self._give_up_if_silent()
        if self._failure is None:
            self._timer = self._loop.call_later(min(self._engine.tend_every_s, self._silence_s / 4), self._tend)

    def _give_up_if_silent(self) -> None:
        """Slow is no reason: a thin line may need minutes for what is in flight. No acknowledgement at all is one."""
        now_s = self._loop.time()
        oldest_s = next(iter(self._in_flight.values())).published_s
        if now_s - max(oldest_s, self._heard_s) > self._silence_s or now_s - oldest_s > 10 * self._silence_s:
            self.on_end(
                DestinationUnavailable(
                    f"{self._address} leaves messages unacknowledged, the oldest of {len(self._in_flight)} for "
                    f"{now_s - oldest_s:.0f} s",
                    hint="the broker is overloaded, or the network between drops large packets (MTU)",
                )
            )


def _packet_bytes(topic: str, payload_bytes: int, correlation: bytes | None) -> int:
    """The most that an MQTT 5 PUBLISH with QoS 1 and no property but correlation data can take (MQTT 5.0, 3.3)."""
    properties_bytes = 1 if correlation is None else 4 + 1 + 2 + len(correlation)
    return 1 + 4 + 2 + len(topic.encode()) + 2 + properties_bytes + payload_bytes
