"""Takes the commands that come over the connections to the brokers, has them carried out and answers them."""

from __future__ import annotations

import asyncio
import logging
from typing import NoReturn, Protocol

from drivers.contract import DriverError
from drivers.model import Value
from drivers.settings import DeviceSettings
from gateway.commands.limits import Allowance, check
from gateway.commands.message import answered, parse, refused
from gateway.commands.repeats import Key, Repeats
from gateway.commands.topics import Address, Topics
from gateway.config import CommandsSettings
from gateway.health import CommandOutcome, Health
from gateway.mqtt import Connection, DestinationUnavailable, MessageTooLarge, Received

log = logging.getLogger(__package__)

MOST_AT_ONCE = 64
"""Commands of one destination that are being carried out or answered."""
_SHOWN_BYTES = 200


class Writer(Protocol):
    """The devices as they are at the moment: a reload may change them between two calls."""

    def settings(self, device: str) -> DeviceSettings | None:
        """What the config says of a device; None when it names none so."""
        ...

    async def write(self, device: str, point: str, value: Value) -> Value:
        """As `gateway.acquire.Link.write`."""
        ...


class Commands:
    """All commands of one gateway, whichever broker they come from."""

    def __init__(self, settings: CommandsSettings, *, writer: Writer, health: Health) -> None:
        self._settings = settings
        self._writer = writer
        self._health = health
        self._repeats = Repeats()
        self._allowances: dict[str, Allowance] = {}

    async def serve(self, connection: Connection, *, topics: Topics, destination: str) -> None:
        """Take commands from this connection until it is lost; return when the broker does not let them through.

        Raises `DestinationUnavailable` when it is lost. Cancelled, it leaves the commands that are under way: they may
        still be carried out, and are not answered.
        """
        refusal = await connection.subscribe(topics.filter)
        if refusal is not None:
            log.warning("%s: no commands come: the broker refuses %s: %s", destination, topics.filter, refusal)
            return
        tasks: set[asyncio.Task[None]] = set()
        # No task group: on Python 3.11 one whose child fails leaves its parent marked as cancelled.
        try:
            await self._receive(connection, topics, destination, tasks)
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def _receive(
        self, connection: Connection, topics: Topics, destination: str, tasks: set[asyncio.Task[None]]
    ) -> NoReturn:
        too_many = False
        while True:
            for message in await connection.received():
                address = topics.address(message.topic)
                if address is None or not (topics.names_gateway or self._writer.settings(address.device)):
                    continue  # for another gateway, whose commands come on topics like ours
                if message.retained and not message.payload:
                    continue  # how a retained message is removed
                if len(tasks) >= MOST_AT_ONCE:
                    self._count(address, CommandOutcome.REFUSED)
                    if not too_many:
                        log.warning(
                            "%s: more than %d commands at once, those beyond are thrown away: %s …",
                            destination,
                            MOST_AT_ONCE,
                            message.topic,
                        )
                    too_many = True
                    continue
                too_many = False
                command = self._answer(connection, message, address, topics=topics, destination=destination)
                task = asyncio.create_task(command, name=f"command on {message.topic}")
                tasks.add(task)
                task.add_done_callback(tasks.discard)

    async def _answer(
        self, connection: Connection, message: Received, address: Address, *, topics: Topics, destination: str
    ) -> None:
        answer = await self._once(message, address, topics=topics, destination=destination)
        if answer is None:
            return
        to = topics.answer(message.topic, message.response_topic) or f"{message.topic}/result"
        try:
            await connection.respond(to, answer, correlation=message.correlation)
        except DestinationUnavailable:
            return  # whoever forwards over this connection tells it
        except MessageTooLarge as error:
            log.info("the answer to the command on %s was not sent: %s", message.topic, error)

    async def _once(self, message: Received, address: Address, *, topics: Topics, destination: str) -> bytes | None:
        """Carry it out if it is new; the answer, or None for a message that the broker itself has sent twice."""
        loop = asyncio.get_running_loop()
        if message.correlation is None:
            if message.again:
                self._tell(message, address, destination, CommandOutcome.REPEATED, "the broker has sent it twice")
                return None
            return (await self._carried_out(message, address, topics=topics, destination=destination))[1]
        key = Key(*address, message.payload, message.response_topic, message.correlation)
        if (earlier := self._repeats.answer(key, now_s=loop.time())) is not None:
            self._tell(message, address, destination, CommandOutcome.REPEATED, "answered as before")
            return await asyncio.shield(earlier)
        future: asyncio.Future[bytes] = loop.create_future()
        self._repeats.remember(key, future, now_s=loop.time())
        answer = refused("it was interrupted, and may have been carried out")
        try:
            outcome, answer = await self._carried_out(message, address, topics=topics, destination=destination)
            if outcome is CommandOutcome.REFUSED:
                self._repeats.forget(key)  # nothing was written, so it may be tried again
        finally:
            future.set_result(answer)
        return answer

    async def _carried_out(
        self, message: Received, address: Address, *, topics: Topics, destination: str
    ) -> tuple[CommandOutcome, bytes]:
        try:
            value = await self._write(message, address, topics)
        except ValueError as error:
            outcome, text = CommandOutcome.REFUSED, str(error)
        except DriverError as error:
            outcome, text = CommandOutcome.FAILED, str(error)
        except TimeoutError:
            outcome = CommandOutcome.TIMED_OUT
            text = f"it took more than {self._settings.timeout:g} s, and may have been carried out or not"
        except asyncio.CancelledError:
            self._tell(
                message, address, destination, CommandOutcome.FAILED, "interrupted; it may have been carried out"
            )
            raise
        except Exception as error:  # the sender waits for an answer all the same
            log.exception("a command on %s met a fault; report it with this traceback", message.topic)
            outcome = CommandOutcome.FAILED
            text = f"it met a fault of hub-gateway ({error!r}), and may have been carried out or not"
        else:
            self._tell(message, address, destination, CommandOutcome.WRITTEN, f"now it is {value!s}")
            return CommandOutcome.WRITTEN, answered(value)
        self._tell(message, address, destination, outcome, text)
        return outcome, refused(text)

    async def _write(self, message: Received, address: Address, topics: Topics) -> Value:
        """Raises ValueError when nothing was written, and TimeoutError; else as `Writer.write`."""
        if message.retained:
            log.warning("%s: a retained command is not carried out; send it without retain", message.topic)
            raise ValueError(
                "a retained command is not carried out: the broker would repeat it; send it without retain"
            )
        if topics.answer(message.topic, message.response_topic) is None:
            raise ValueError(f'no answer can be sent to the response topic "{message.response_topic}"')
        device = self._writer.settings(address.device)
        if device is None:
            raise ValueError(f'there is no device "{address.device}"')
        point = next((point for point in device.points if point.name == address.point), None)
        if point is None:
            raise ValueError(f'{device.name}: there is no point "{address.point}"')
        if not point.writable:
            raise ValueError(f'{device.name}: point "{point.name}" is not writable; its entry needs `writable: true`')
        value = parse(message.payload)
        check(point, value)
        allowance = self._allowances.setdefault(device.name, Allowance(self._settings.per_minute))
        if not allowance.take(now_s=asyncio.get_running_loop().time()):
            raise ValueError(f"{device.name} has had {self._settings.per_minute} commands in the last minute")
        async with asyncio.timeout(self._settings.timeout):
            return await self._writer.write(device.name, point.name, value)

    def _tell(self, message: Received, address: Address, destination: str, outcome: CommandOutcome, text: str) -> None:
        """What an auditor wants to know. Who has sent it only the broker knows."""
        self._count(address, outcome)
        log.info(
            "command %s: %s of %s on %s: %s: %s",
            outcome,
            _shown(message.payload),
            destination,
            message.topic,
            address.device,
            _one_line(text),
            extra={"device": address.device, "point": address.point, "outcome": str(outcome)},
        )

    def _count(self, address: Address, outcome: CommandOutcome) -> None:
        health = self._health.devices.get(address.device)
        if health is not None:
            health.commands[outcome.value] += 1


def _shown(payload: bytes) -> str:
    """What was sent, in one line that cannot forge another."""
    text = _one_line(payload[:_SHOWN_BYTES].decode(errors="replace"))
    return f"{text}…" if len(payload) > _SHOWN_BYTES else text


def _one_line(text: str) -> str:
    return "".join(each if each.isprintable() else "�" for each in text)
