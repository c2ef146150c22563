"""Finding out which part of a refused block is to blame, by halving it.

A unit that refuses a block says "illegal data address" and not which. There are three causes: an address that a point
wants does not exist; an address in a gap that nobody wants does not exist; or the unit does not answer so many, or
across that boundary, at once. The first makes a point illegal, the others a cut that later plans respect.

A unit that is starting up refuses everything, and may be ready at any moment. So what was refused before anything was
answered proves nothing, and is asked once more after that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from drivers.contract import BadResponse
from drivers.modbus.codec import Decoded, compile_decoder
from drivers.modbus.failure import NoAnswer, Refused
from drivers.modbus.plan import Block, halves
from drivers.modbus.point import ModbusPoint, Table
from drivers.model import Reason, Value

Ask = Callable[[Block], Awaitable[bytes]]
"""Reads a block now; raises as `Line.ask` does."""


@dataclass(slots=True)
class Findings:
    """What halving a block has shown. Every point is in `values`, in `reasons` (its value is None), or in both."""

    values: dict[ModbusPoint, Value] = field(default_factory=dict)
    reasons: dict[ModbusPoint, Reason] = field(default_factory=dict)
    illegal: list[ModbusPoint] = field(default_factory=list)
    cuts: list[tuple[Table, int]] = field(default_factory=list)
    silence: NoAnswer | None = None
    """The unit stopped answering; nothing was asked after that."""
    doubtful: list[Block] = field(default_factory=list)
    """Blocks of one point that were refused before anything was answered."""
    is_ready: bool = False
    """The unit has answered something, so that what it refuses from now on does not exist."""

    def decoded(self, block: Block) -> Decoded:
        """As the block's own decoder would have returned it."""
        reasons = {index: self.reasons[point] for index, point in enumerate(block.points) if point in self.reasons}
        return tuple(self.values.get(point) for point in block.points), reasons


async def narrow(block: Block, ask: Ask) -> Findings:
    """Read what can be read of a block that was just refused, in halves of halves. At most three requests per point.

    When nothing was answered, all points are `doubtful`.
    """
    found = Findings()
    await _split(block, ask, found)
    if found.is_ready:
        await ask_again(found, ask)
    return found


async def ask_again(found: Findings, ask: Ask) -> None:
    """Settle what is doubtful, now that the unit has answered something."""
    found.is_ready = True
    doubtful, found.doubtful = found.doubtful, []
    for block in doubtful:
        await _try(block, ask, found)


async def _split(block: Block, ask: Ask, found: Findings) -> None:
    """Go on with a block that was refused just now."""
    was_ready = found.is_ready
    if len(block.points) == 1:
        if was_ready:
            found.illegal.append(block.points[0])
            found.reasons[block.points[0]] = Reason.ILLEGAL_ADDRESS
        else:
            found.doubtful.append(block)
        return
    left, right = halves(block)
    left_answered = await _try(left, ask, found)
    right_answered = await _try(right, ask, found)
    if left_answered and right_answered and (was_ready or await _refuses(block, ask)):
        found.cuts.append((block.span.table, right.span.start))


async def _refuses(block: Block, ask: Ask) -> bool:
    try:
        await ask(block)
    except BadResponse as error:
        return isinstance(error, Refused) and error.may_be_part
    return False


async def _try(block: Block, ask: Ask, found: Findings) -> bool:
    """Whether the block was answered as a whole."""
    if found.silence is not None:
        found.reasons.update(dict.fromkeys(block.points, found.silence.reason))
        return False
    try:
        data = await ask(block)
    except BadResponse as error:
        if isinstance(error, Refused) and error.may_be_part:
            await _split(block, ask, found)
            return False
        if isinstance(error, NoAnswer):
            found.silence = error
        found.reasons.update(dict.fromkeys(block.points, error.reason))
        return False
    found.is_ready = True
    values, reasons = compile_decoder(block)(data)
    found.values.update(zip(block.points, values, strict=True))
    found.reasons.update({block.points[index]: reason for index, reason in reasons.items()})
    return True
