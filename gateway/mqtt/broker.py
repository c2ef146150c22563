"""One broker as the config names it, and what earlier connections have taught about it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.config import DestinationSettings
from gateway.mqtt.connection import Connection
from gateway.mqtt.engine import Engine
from gateway.mqtt.packets import Connack, Hello, Version
from gateway.mqtt.reasons import PROTOCOL_REFUSED, RETAIN_REFUSED, DestinationUnavailable, connection_refused
from gateway.mqtt.stream import Address, open_stream
from gateway.mqtt.websocket import upgrade

log = logging.getLogger(__name__)


class Broker:
    """Makes connections, one after the other, each with a clean session. MQTT 5 unless the broker has refused it.

    `will` is the (topic, payload) that the broker publishes, retained, when a connection is cut. `silence_s` is how
    long all messages in flight may stay unacknowledged before a connection is given up, even if pings are answered.
    """

    def __init__(
        self,
        settings: DestinationSettings,
        *,
        client_id: str,
        will: tuple[str, bytes],
        timeout_s: float = 10.0,
        silence_s: float = 30.0,
    ) -> None:
        self.address = Address.parse(settings.url)
        self._settings = settings
        self.client_id = client_id
        self._will = will
        self._timeout_s = timeout_s
        self._silence_s = silence_s
        self._version = Version.MQTT_5
        self._guess: Version | None = None  # accepted after silence, not confirmed yet
        self._confirmed = False
        self._unanswered = 0
        self._will_retained = True

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """An accepted connection. Raises `DestinationUnavailable`.

        Left normally it says goodbye and the broker drops the will; left by an exception or a cancellation it is cut,
        and the broker publishes the will.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = await self._accepted()
        except TimeoutError as error:
            raise DestinationUnavailable(
                f"{self.address} did not accept a connection within {self._timeout_s:g} s",
                hint="check that a broker listens there and that no firewall swallows the packets",
            ) from error
        try:
            yield connection
            await connection.goodbye()
        finally:
            connection.cut()

    async def _accepted(self) -> Connection:
        while True:
            asked = self._version, self._will_retained
            connection = await self._opened()
            try:
                answer = await connection.answer()
                refusal = self._refusal(answer)
            except asyncio.CancelledError:  # as a rule by the time limit: some brokers ignore what they do not know
                self._no_answer()
                connection.cut()
                raise
            except BaseException:
                connection.cut()
                raise
            if refusal is None and not self._doubtful():
                return connection
            connection.cut()
            if refusal is None:
                continue
            if asked == (self._version, self._will_retained) or (answer is None and not self._confirmed):
                raise refusal
            log.info("%s; trying without", refusal.message)

    async def _opened(self) -> Connection:
        password = self._settings.password
        hello = Hello(
            address=self.address,
            version=self._version,
            client_id=self.client_id,
            username=self._settings.username,
            password=password.get_secret_value() if password is not None else None,
            will=self._will,
            will_retained=self._will_retained,
            keepalive_s=self._settings.keepalive,
        )
        stream = await open_stream(self.address, self._settings.tls)
        try:
            if self.address.websocket:
                await upgrade(stream, self.address)
            engine = Engine(hello, stream)
            engine.greet()
        except BaseException:
            stream.close()
            raise
        return Connection(engine, address=self.address, version=self._version, silence_s=self._silence_s)

    def _refusal(self, answer: Connack | None) -> DestinationUnavailable | None:
        """What is wrong with the answer to CONNECT, if anything; learns for the next attempt."""
        if answer is None:
            return self._no_answer()
        self._unanswered = 0
        if answer.code == 0 and answer.maximum_qos >= 1:
            return None
        if answer.code == 0:
            return DestinationUnavailable(
                f"{self.address} accepts QoS 0 only, which it never acknowledges",
                hint="allow QoS 1 on the broker",
                needs_person=True,
            )
        refusal = connection_refused(
            answer.code,
            broker=str(self.address),
            said=answer.said,
            username=self._settings.username,
            client_id=self.client_id,
        )
        if answer.code == PROTOCOL_REFUSED:
            self._version, self._confirmed = Version.MQTT_3_1_1, True
        if answer.code == RETAIN_REFUSED:
            self._will_retained = False
        return refusal

    def _doubtful(self) -> bool:
        """Whether MQTT 3.1.1 was accepted only because it was asked for after silence. Then MQTT 5 is asked for once
        more: now that the broker answers, it will take that too, unless it hangs up because of it."""
        if self._version is Version.MQTT_5 or self._confirmed:
            self._guess = None
            return False
        self._guess, self._version = self._version, Version.MQTT_5
        return True

    def _no_answer(self) -> DestinationUnavailable:
        """Brokers that know only MQTT 3.1.1 may hang up without a word, and so may one that is starting.

        So the second time in a row MQTT 3.1.1 is tried next, and after a third silence MQTT 5 again. A silence after
        MQTT 3.1.1 was accepted confirms it.
        """
        if self._guess is not None:
            self._version, self._guess, self._confirmed = self._guess, None, True
        elif not self._confirmed:
            self._unanswered = (self._unanswered + 1) % 3
            self._version = Version.MQTT_3_1_1 if self._unanswered == 2 else Version.MQTT_5
        return DestinationUnavailable(
            f"{self.address} closed the connection without answering CONNECT",
            hint="it may want a client certificate: set tls.certificate and tls.key"
            if self.address.encrypted
            else "if this is the broker's TLS port, use mqtts:// or wss://",
        )
