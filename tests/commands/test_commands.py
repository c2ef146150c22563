"""Commands over a real broker, to devices that do what a test wants."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from drivers.contract import BadResponse
from drivers.model import Reason, Value
from drivers.settings import DeviceSettings, PointSettings
from gateway.commands import Commands, Topics
from gateway.commands.commands import MOST_AT_ONCE
from gateway.config import CommandsSettings, DestinationSettings
from gateway.health import DeviceHealth, Health
from gateway.mqtt import Broker, Connection, DestinationUnavailable
from tests.plugins.mosquitto import Mosquitto

TOPIC = "hub/lgg/sort-01/lift/set/speed"
Write = Callable[[Value], Awaitable[Value]]


class Lift:
    """One device whose writes are functions of the test."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self.written: list[Value] = []

    def settings(self, device: str) -> DeviceSettings | None:
        point = PointSettings(name="speed", writable=True)
        return DeviceSettings(name="lift", driver="x", url="x", points=(point,)) if device == "lift" else None

    async def write(self, _device: str, _point: str, value: Value) -> Value:
        self.written.append(value)
        return await self._write(value)


class Gateway:
    """Commands over one connection."""

    def __init__(self, broker: Mosquitto, write: Write, *, topic: str, **settings: Any) -> None:
        self.lift = Lift(write)
        self.health = Health(devices={"lift": DeviceHealth("lift", "x")})
        self.connection: Connection
        self._broker = broker
        self._topics = Topics(topic, site="lgg", gateway="sort-01")
        self._commands = Commands(CommandsSettings(**settings), writer=self.lift, health=self.health)

    @property
    def outcomes(self) -> dict[str, int]:
        return dict(self.health.devices["lift"].commands)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[asyncio.Task[None]]:
        """The task that serves, and has subscribed."""
        settings = DestinationSettings(name="broker", url=self._broker.url)
        subscriptions = self._broker.log.count("Sending SUBACK to gw")
        async with Broker(settings, client_id="gw", will=("hub/status", b"")).connect() as self.connection:
            task = asyncio.create_task(
                self._commands.serve(self.connection, topics=self._topics, destination="hub-broker")
            )
            try:
                await until(lambda: self._broker.log.count("Sending SUBACK to gw") > subscriptions)
                yield task
            finally:
                task.cancel()
                await asyncio.wait([task])


@pytest.fixture
def gateway(mosquitto: Mosquitto) -> Callable[..., Gateway]:
    def make(write: Write, topic: str = "hub/{site}/{gateway}/{device}", **settings: Any) -> Gateway:
        return Gateway(mosquitto, write, topic=topic, **settings)

    return make


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def ask(broker: Mosquitto, payload: str, *options: str, topic: str = TOPIC) -> dict[str, Any]:
    """The answer to a command, as `mosquitto_rr` gets it."""
    asking = ["mosquitto_rr", "-h", "127.0.0.1", "-p", str(broker.port), "-q", "1", "-V", "5", "-W", "15"]
    process = await asyncio.create_subprocess_exec(
        *asking, "-e", "answers", "-t", topic, "-m", payload, *options, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    process._transport.close()  # type: ignore[attr-defined] # its pipe is closed only when garbage is collected
    answer: dict[str, Any] = json.loads(out)
    return answer


async def echo(value: Value) -> Value:
    return value


async def forever(_value: Value) -> Value:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_device_that_takes_too_long_is_not_waited_for(
    mosquitto: Mosquitto, gateway: Callable[..., Gateway]
) -> None:
    mosquitto.start()
    hub = gateway(forever, timeout=0.05)
    async with hub.connected():
        answer = await ask(mosquitto, '{"value": 1}')
    assert answer == {"ok": False, "error": "it took more than 0.05 s, and may have been carried out or not"}
    assert hub.outcomes == {"timed-out": 1}


async def test_an_error_of_the_device_is_told_with_its_hint(
    mosquitto: Mosquitto, gateway: Callable[..., Gateway]
) -> None:
    async def fail(_value: Value) -> Value:
        raise BadResponse("the lift refuses", reason=Reason.DEVICE_ERROR, hint="reset its fault")

    mosquitto.start()
    hub = gateway(fail)
    async with hub.connected():
        assert await ask(mosquitto, '{"value": 1}') == {"ok": False, "error": "the lift refuses; reset its fault"}
    assert hub.outcomes == {"failed": 1}


async def test_a_fault_is_answered_and_logged_with_its_traceback(
    mosquitto: Mosquitto, gateway: Callable[..., Gateway], caplog: pytest.LogCaptureFixture
) -> None:
    async def faulty(_value: Value) -> Value:
        raise ZeroDivisionError("division by zero")

    mosquitto.start()
    hub = gateway(faulty)
    async with hub.connected():
        answer = await ask(mosquitto, '{"value": 1}')
    assert answer["error"] == (
        "it met a fault of hub-gateway (ZeroDivisionError('division by zero')), and may have been carried out or not"
    )
    assert hub.outcomes == {"failed": 1}
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


async def test_what_the_driver_refuses_may_be_sent_again(mosquitto: Mosquitto, gateway: Callable[..., Gateway]) -> None:
    async def refuse(_value: Value) -> Value:
        raise ValueError("not while it moves")

    mosquitto.start()
    hub = gateway(refuse)
    same = ("-D", "publish", "correlation-data", "a")
    async with hub.connected():
        assert (await ask(mosquitto, '{"value": 1}', *same))["error"] == "not while it moves"
        assert (await ask(mosquitto, '{"value": 1}', *same))["error"] == "not while it moves"
    assert hub.outcomes == {"refused": 2}
    assert len(hub.lift.written) == 2


async def test_a_command_that_comes_again_while_it_is_carried_out_waits_for_the_same_answer(
    mosquitto: Mosquitto, gateway: Callable[..., Gateway]
) -> None:
    go = asyncio.Event()

    async def when_told(value: Value) -> Value:
        await go.wait()
        return value

    mosquitto.start()
    hub = gateway(when_told)
    same = ("-D", "publish", "correlation-data", "a")
    async with hub.connected(), asyncio.TaskGroup() as group:
        asking = [group.create_task(ask(mosquitto, '{"value": 1}', *same)) for _ in range(2)]
        await until(lambda: hub.outcomes.get("repeated") == 1)
        go.set()
        assert [await each for each in asking] == [{"ok": True, "value": 1}] * 2
    assert hub.lift.written == [1]


async def test_a_device_is_given_so_many_commands_in_a_minute_and_no_more(
    mosquitto: Mosquitto, gateway: Callable[..., Gateway]
) -> None:
    mosquitto.start()
    hub = gateway(echo, per_minute=2)
    async with hub.connected():
        answers = [await ask(mosquitto, f'{{"value": {number}}}') for number in range(3)]
    assert [answer["ok"] for answer in answers] == [True, True, False]
    assert answers[2]["error"] == "lift has had 2 commands in the last minute"


async def test_more_commands_than_can_be_looked_after_are_thrown_away_and_it_is_told_once(
    mosquitto: Mosquitto, gateway: Callable[..., Gateway], caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.start()
    hub = gateway(forever, per_minute=1000)
    async with hub.connected():
        many = "".join(f'{{"value": {number}}}\n' for number in range(MOST_AT_ONCE + 3))
        process = await asyncio.create_subprocess_exec(
            "mosquitto_pub", "-h", "127.0.0.1", "-p", str(mosquitto.port), "-q", "1", "-t", TOPIC, "-l",
            stdin=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await process.communicate(many.encode())
        await until(lambda: hub.outcomes.get("refused", 0) >= 3)
        assert len(hub.lift.written) == MOST_AT_ONCE
    assert caplog.text.count("hub-broker: more than 64 commands at once, those beyond are thrown away") == 1


async def test_a_lost_connection_leaves_no_command_behind_and_says_what_is_not_known(
    mosquitto: Mosquitto, gateway: Callable[..., Gateway], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    mosquitto.start()
    hub = gateway(forever)
    async with hub.connected() as serving:
        await mosquitto.publish(TOPIC, '{"value": 1}')
        await until(lambda: bool(hub.lift.written))
        mosquitto.stop()
        with pytest.raises(DestinationUnavailable):
            await asyncio.wait_for(serving, 10)
    assert "lift: interrupted; it may have been carried out" in caplog.text
    assert hub.outcomes == {"failed": 1}


async def test_a_repeated_command_after_an_interruption_is_not_carried_out_again(
    mosquitto: Mosquitto, gateway: Callable[..., Gateway]
) -> None:
    mosquitto.start()
    hub = gateway(forever)
    same = ("-D", "publish", "correlation-data", "a")
    async with asyncio.TaskGroup() as group:
        async with hub.connected():
            asking = group.create_task(ask(mosquitto, '{"value": 1}', *same))
            await until(lambda: bool(hub.lift.written))
        async with hub.connected():
            answer = await ask(mosquitto, '{"value": 1}', *same)
            assert await asking == answer
    assert answer == {"ok": False, "error": "it was interrupted, and may have been carried out"}
    assert len(hub.lift.written) == 1


async def test_a_refused_subscription_is_told_and_leaves_the_connection_alone(
    scripted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(client: Any) -> None:
        await client.version()
        client.connack()
        _, body = await client.packet()
        client.send(0x90, 4, body[0], body[1], 0, 0x87)
        await client.packet()

    commands = Commands(CommandsSettings(), writer=Lift(echo), health=Health())
    topics = Topics("hub/{device}", site="lgg", gateway="sort-01")
    async with scripted.plays(script):
        settings = DestinationSettings(name="broker", url=scripted.url)
        async with Broker(settings, client_id="gw", will=("x", b"")).connect() as connection:
            await commands.serve(connection, topics=topics, destination="hub-broker")
            await connection.room()
    assert "hub-broker: no commands come: the broker refuses hub/+/set/+: not authorised (0x87)" in caplog.text


async def test_commands_for_the_devices_of_another_gateway_are_not_ours_to_answer(
    mosquitto: Mosquitto, gateway: Callable[..., Gateway]
) -> None:
    mosquitto.start()
    hub = gateway(echo, topic="hub/{device}")
    async with hub.connected(), mosquitto.subscriber("hub/+/set/+/result") as subscriber:
        await mosquitto.publish("hub/belt/set/speed", '{"value": 1}')
        await mosquitto.publish("hub/lift/set/speed", '{"value": 1}')
        answer = await subscriber.next()
    assert answer.topic == "hub/lift/set/speed/result"
    assert not answer.retained


async def test_an_answer_never_goes_where_it_would_be_taken_for_something_else(
    mosquitto: Mosquitto, gateway: Callable[..., Gateway]
) -> None:
    mosquitto.start()
    hub = gateway(echo)
    async with hub.connected(), mosquitto.subscriber(f"{TOPIC}/result") as subscriber:
        await mosquitto.publish(TOPIC, '{"value": 1}')
        assert json.loads((await subscriber.next()).payload)["ok"]
        process = await asyncio.create_subprocess_exec(
            "mosquitto_pub", "-h", "127.0.0.1", "-p", str(mosquitto.port), "-V", "5", "-t", TOPIC, "-m", '{"value": 2}',
            "-D", "publish", "response-topic", "hub/lgg/sort-01/status",
        )  # fmt: skip
        await process.wait()
        answer = json.loads((await subscriber.next()).payload)
    assert answer == {"ok": False, "error": 'no answer can be sent to the response topic "hub/lgg/sort-01/status"'}
    assert hub.lift.written == [1]


async def test_the_log_cannot_be_forged_by_what_is_sent(
    mosquitto: Mosquitto, gateway: Callable[..., Gateway], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    mosquitto.start()
    async with gateway(echo).connected():
        await ask(mosquitto, '{"value": 1,\n"x": "\x1b[2J' + "y" * 300 + '"}')
    (record,) = [record for record in caplog.records if record.message.startswith("command refused")]
    assert record.message.isprintable()
    assert len(record.message) < 500
