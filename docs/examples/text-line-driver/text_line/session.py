"""A link that is open: one that is asked, and one that is listened to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from drivers.contract import BadResponse, DeviceUnavailable
from drivers.model import Point, PointGroup, Quality, Reading, Reason, Value, bad
from text_line import codec
from text_line.point import LinePoint

_HINT = "check the device and the network; is it busy with another client?"


class Line:
    """Questions and answers, one at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, link: str) -> None:
        self._reader = reader
        self._writer = writer
        self._link = link

    async def ask(self, request: bytes, *, timeout_s: float) -> tuple[str, str]:
        """Send a line and wait for one. What came before is no answer to it, nor is a line that is none."""
        what = request.decode("ascii").strip()
        try:
            async with asyncio.timeout(timeout_s):
                await self._forget()
                self._writer.write(request)
                await self._writer.drain()
                while True:
                    with suppress(BadResponse):  # a greeting, or noise: the answer is still to come
                        return await self.hear(what)
        except TimeoutError as error:
            # What comes after this would be taken for the answer to the next question: the link is of no use any more.
            message = f"{self._link}: {what}: no answer within {timeout_s:g} s"
            raise DeviceUnavailable(message, reason=Reason.TIMEOUT, hint=_HINT) from error
        except OSError as error:
            raise self.lost(what, str(error)) from error

    async def hear(self, what: str) -> tuple[str, str]:
        """The next line. Raises `BadResponse` for one that is none."""
        try:
            line = await self._reader.readline()
        except ValueError as error:  # longer than `codec.LONGEST_BYTES`
            raise DeviceUnavailable(
                f"{self._link}: {what}: the answer has no end",
                reason=Reason.BAD_RESPONSE,
                hint="is this the right port?",
            ) from error
        if not line:
            raise self.lost(what, "the device has hung up")
        try:
            return codec.parse(line)
        except ValueError as error:
            raise BadResponse(f"{self._link}: {what}: {error}", reason=Reason.BAD_RESPONSE) from error

    async def _forget(self) -> None:
        """Throw away what has come unasked."""
        await asyncio.sleep(0)  # the loop looks at its sockets
        with suppress(TimeoutError):
            async with asyncio.timeout(0):
                while await self._reader.read(codec.LONGEST_BYTES):
                    pass

    def lost(self, what: str, why: str) -> DeviceUnavailable:
        return DeviceUnavailable(f"{self._link}: {what}: {why}", reason=Reason.COMM_FAILURE, hint=_HINT)


class LineSession:
    """`drivers.contract.Session` and `WritableSession`: the device is asked."""

    def __init__(self, line: Line, *, timeout_s: float) -> None:
        self._line = line
        self._timeout_s = timeout_s

    async def read(self, group: PointGroup) -> Reading:
        """As `drivers.contract.Session.read`: a point that cannot be used is bad, and costs the others nothing."""
        values: list[Value] = []
        quality: dict[int, Quality] = {}
        failure: BadResponse | None = None
        for index, point in enumerate(_points(group.points)):
            try:
                values.append(await self._exchange(point, codec.question(point.key)))
            except BadResponse as error:
                values.append(None)
                quality[index] = bad(error.reason)
                failure = error
        if failure is not None and len(quality) == len(values):
            raise failure
        return Reading(group, time.time_ns(), tuple(values), quality)

    async def write(self, group: PointGroup, point: Point, value: Value) -> Value:  # noqa: ARG002  one device, one link
        """As `drivers.contract.WritableSession.write`: the device answers what it holds then."""
        (point,) = _points((point,))
        order = codec.order(point.key, value)
        try:
            return await self._exchange(point, order)
        except DeviceUnavailable as error:
            message = f"{error.message}; it may have been written"
            raise DeviceUnavailable(message, reason=error.reason, hint=error.hint) from error

    async def _exchange(self, point: LinePoint, request: bytes) -> Value:
        key, text = await self._line.ask(request, timeout_s=self._timeout_s)
        if key != point.key:
            message = f"asked for {point.key}, and {key} was answered: question and answer are out of step"
            raise DeviceUnavailable(message, reason=Reason.BAD_RESPONSE, hint="is it busy with another client?")
        try:
            return codec.value(text)
        except ValueError as error:
            raise BadResponse(f"{point.key}: {error}", reason=Reason.BAD_RESPONSE) from error


class LineStream:
    """`drivers.contract.StreamSession`: the device is listened to."""

    def __init__(self, line: Line, group: PointGroup, *, silence_s: float) -> None:
        self._line = line
        self._group = group
        self._silence_s = silence_s
        self._places = {point.key: index for index, point in enumerate(_points(group.points))}

    async def readings(self) -> AsyncIterator[Reading]:
        """As `drivers.contract.StreamSession.readings`: each carries the one point of its line."""
        while True:
            try:
                async with asyncio.timeout(self._silence_s):
                    key, text = await self._line.hear("listening")
            except TimeoutError as error:
                why = f"nothing was said for {self._silence_s:g} s"
                raise self._line.lost("listening", why) from error
            except OSError as error:
                raise self._line.lost("listening", str(error)) from error
            except BadResponse as error:
                yield Reading(self._group, time.time_ns(), (None,) * len(self._places), self._all(bad(error.reason)))
                continue
            if key in self._places:
                yield self._reading(self._places[key], text)

    def _reading(self, place: int, text: str) -> Reading:
        values: list[Value] = [None] * len(self._places)
        quality: dict[int, Quality] = {}
        try:
            values[place] = codec.value(text)
        except ValueError:
            quality[place] = bad(Reason.BAD_RESPONSE)
        return Reading(self._group, time.time_ns(), tuple(values), quality)

    def _all(self, quality: Quality) -> dict[int, Quality]:
        return dict.fromkeys(self._places.values(), quality)


def _points(points: Sequence[Point]) -> tuple[LinePoint, ...]:
    return tuple(point for point in points if isinstance(point, LinePoint))
