"""Reads poll groups over one open line, and writes points."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter

from drivers.contract import BadResponse
from drivers.modbus.codec import Decoded, Decoder, compile_decoder
from drivers.modbus.failure import NoAnswer, Refused
from drivers.modbus.line import Asker
from drivers.modbus.narrow import ask_again, narrow
from drivers.modbus.plan import Block
from drivers.modbus.point import ModbusPoint
from drivers.modbus.request import ReadRequest
from drivers.modbus.unit import Unit
from drivers.modbus.writing import write
from drivers.model import ALL_GOOD, Point, PointGroup, Quality, Reading, Reason, Value, bad

_log = logging.getLogger(__name__)


class ModbusSession:
    """`drivers.contract.Session` and `WritableSession` over an open line.

    A block that the unit refuses costs only its own points. A unit that stops answering ends the read: what was read
    until then is the reading, the rest is bad, and `BadResponse` is raised only when nothing was read at all.
    """

    def __init__(self, line: Asker, units: Mapping[PointGroup, Unit], *, link: str, clock: Callable[[], int]) -> None:
        """`clock` is wall-clock time in nanoseconds; it is asked when the last reply of a reading is in."""
        self._line = line
        self._units = units
        self._link = link
        self._clock = clock
        self._plans: dict[PointGroup, _Plan] = {}
        self._refusing: set[Unit] = set()
        """Units that refused everything when a block was last narrowed down; it would not show more now."""
        self._complaints: dict[PointGroup, tuple[Reason, ...]] = {}
        """What was last said about a group of which only a part could be read."""

    async def read(self, group: PointGroup) -> Reading:
        """As `drivers.contract.Session.read`."""
        plan = self._plans.get(group)
        if plan is None or plan.lessons != plan.unit.lessons:
            plan = self._plans[group] = _compile(group, self._units[group])
        parts: list[Decoded] = []
        failures: list[BadResponse] = []
        answered = not plan.steps
        for step in plan.steps:
            if failures and _is_silence(failures[-1]):
                parts.append(step.nothing(failures[-1].reason))
                continue
            try:
                parts.append(await self._fetch(plan.unit, step))
                answered = True
            except BadResponse as error:
                failures.append(error)
                parts.append(step.nothing(error.reason))
        if not answered:
            raise failures[0]
        if failures or self._complaints:
            self._complain(group, failures)
        return plan.reading(parts, self._clock())

    async def write(self, group: PointGroup, point: Point, value: Value) -> Value:
        """As `drivers.contract.WritableSession.write`. Returns what was read back.

        A register that the unit lets nobody read is what the unit has confirmed.
        """
        assert isinstance(point, ModbusPoint)
        return await write(self._line, self._units[group], point, value)

    async def _fetch(self, unit: Unit, step: _Step) -> Decoded:
        try:
            data = await self._line.ask(step.request, timeout_s=unit.timeout_s)
        except Refused as refusal:
            if not refusal.may_be_part or unit in self._refusing:
                raise
            return await self._narrow(unit, step.block, refusal)
        unit.witness = step.block
        if self._refusing:
            self._refusing.discard(unit)
        return step.decode(data)

    async def _narrow(self, unit: Unit, block: Block, refusal: Refused) -> Decoded:
        """What can be read of a refused block; remembers what cannot.

        A unit that is starting up, or a gateway in front of it, may refuse everything for a while. So a refusal is
        believed only when the same unit answers something else in the same breath.
        """

        async def ask(part: Block) -> bytes:
            return await self._line.ask(unit.request(part), timeout_s=unit.timeout_s)

        found = await narrow(block, ask)
        if not found.is_ready:
            if not await self._answers(unit, block):
                if found.silence is not None:
                    raise found.silence
                self._refusing.add(unit)
                raise refusal
            await ask_again(found, ask)
        unit.learn(found, link=self._link)
        return found.decoded(block)

    async def _answers(self, unit: Unit, refused: Block) -> bool:
        if unit.witness is None or unit.witness == refused:
            return False
        try:
            await self._line.ask(unit.request(unit.witness), timeout_s=unit.timeout_s)
        except BadResponse:
            return False
        return True

    def _complain(self, group: PointGroup, failures: list[BadResponse]) -> None:
        """Log when a part of a group fails for a new reason, and when it is whole again."""
        reasons = tuple(error.reason for error in failures)
        known = self._complaints.pop(group, ())
        if reasons:
            self._complaints[group] = reasons
            if reasons != known:
                _log.warning("%s: a part cannot be read: %s", group, "; ".join(str(error) for error in failures))
        elif known:
            _log.info("%s: all of it can be read again", group)


@dataclass(frozen=True, slots=True)
class _Step:
    """One request of a plan."""

    block: Block
    request: ReadRequest
    decode: Decoder
    indices: tuple[int, ...]
    """Where in the group the block's points are."""

    def nothing(self, reason: Reason) -> Decoded:
        return (None,) * len(self.indices), dict.fromkeys(range(len(self.indices)), reason)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A group, compiled: the requests, and how their values become the group's."""

    group: PointGroup
    unit: Unit
    lessons: int
    steps: tuple[_Step, ...]
    arrange: Callable[[tuple[Value, ...]], tuple[Value, ...]] | None
    """From the values of all steps, one after the other, and a final None. None where they are in order already."""
    missing: Mapping[int, Quality]
    """The points that the unit does not have."""

    def reading(self, parts: list[Decoded], observed_at_ns: int) -> Reading:
        quality: dict[int, Quality] = dict(self.missing)
        for step, (_, reasons) in zip(self.steps, parts, strict=True):
            for index, reason in reasons.items():
                quality[step.indices[index]] = bad(reason)
        if self.arrange is None:
            values = parts[0][0]
        else:
            values = self.arrange((*chain.from_iterable(part for part, _ in parts), None))
        return Reading(self.group, observed_at_ns, values, quality or ALL_GOOD)


def _compile(group: PointGroup, unit: Unit) -> _Plan:
    place = {point: index for index, point in enumerate(group.points)}
    steps = tuple(
        _Step(
            block,
            unit.request(block),
            compile_decoder(block),
            tuple(place[point] for point in block.points),
        )
        for block in unit.plan(group)
    )
    fetched = {index: position for position, index in enumerate(chain.from_iterable(step.indices for step in steps))}
    count = len(group.points)
    sources = [fetched.get(index, len(fetched)) for index in range(count)]
    arrange: Callable[[tuple[Value, ...]], tuple[Value, ...]] | None
    if len(steps) == 1 and len(fetched) == count and sources == list(range(count)):
        arrange = None
    elif count == 1:
        arrange = itemgetter(slice(sources[0], sources[0] + 1))
    else:
        arrange = itemgetter(*sources)
    missing = {index: bad(Reason.ILLEGAL_ADDRESS) for index in range(count) if index not in fetched}
    return _Plan(group, unit, unit.lessons, steps, arrange, missing)


def _is_silence(error: BadResponse) -> bool:
    """Whether going on would cost another timeout: ours, or that of a Modbus gateway whose unit is silent."""
    return isinstance(error, NoAnswer) or error.reason is Reason.TIMEOUT
