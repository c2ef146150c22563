"""A refused block is halved until what is to blame is found, against a unit that is a set of addresses."""

from __future__ import annotations

import asyncio

from hypothesis import example, given
from hypothesis import strategies as st

from drivers.modbus.codec import size_bytes
from drivers.modbus.endpoint import TcpEndpoint
from drivers.modbus.failure import NoAnswer, Refused, silence
from drivers.modbus.narrow import Findings, ask_again, narrow
from drivers.modbus.plan import Block, Cuts, Limits, plan
from drivers.modbus.point import ModbusPoint, parse_address, parse_type
from drivers.model import Reason

HERE = TcpEndpoint("here")


def points(*addresses: int, kind: str = "uint16") -> list[ModbusPoint]:
    return [ModbusPoint(name=f"p{n}", address=parse_address(f"holding:{n}"), type=parse_type(kind)) for n in addresses]


class Addresses:
    """A unit that has some addresses and answers at most so many at once. Register n holds n.

    It refuses the first `refused` requests, whatever they are.
    """

    def __init__(self, *missing: int, most: int = 125, silent_after: int = 10**9, refused: int = 0) -> None:
        self.missing, self.most, self.silent_after, self.refused = set(missing), most, silent_after, refused
        self.asked: list[tuple[int, int]] = []

    async def ask(self, block: Block) -> bytes:
        self.asked.append((block.span.start, block.count))
        if len(self.asked) > self.silent_after:
            raise silence(str(block), HERE, 1.0)
        addresses = range(block.span.start, block.span.end)
        if len(self.asked) <= self.refused or block.count > self.most or self.missing.intersection(addresses):
            raise Refused(str(block), HERE, 2)
        return b"".join(address.to_bytes(2, "big") for address in addresses)


def narrowed(wanted: list[ModbusPoint], unit: Addresses) -> tuple[Block, Findings]:
    (block,) = plan(wanted, Limits(max_gap=125))
    return block, asyncio.run(narrow(block, unit.ask))


def test_the_one_missing_address_of_a_hundred_is_found_in_a_few_requests() -> None:
    unit = Addresses(37)
    block, found = narrowed(points(*range(100)), unit)
    values, reasons = found.decoded(block)
    assert [point.name for point in found.illegal] == ["p37"]
    assert reasons == {37: Reason.ILLEGAL_ADDRESS}
    assert values == tuple(None if n == 37 else n for n in range(100))
    assert len(unit.asked) <= 14


def test_a_missing_address_in_a_gap_blames_no_point() -> None:
    _, found = narrowed(points(0, 9), Addresses(4))
    assert not found.illegal
    assert [(str(table), address) for table, address in found.cuts] == [("holding", 9)]


def test_a_unit_that_goes_silent_is_not_asked_on() -> None:
    unit = Addresses(7, silent_after=2)
    block, found = narrowed(points(*range(8)), unit)
    assert isinstance(found.silence, NoAnswer)
    assert len(unit.asked) == 3
    values, reasons = found.decoded(block)
    assert values[:4] == (0, 1, 2, 3)
    assert reasons == dict.fromkeys(range(4, 8), Reason.TIMEOUT)


@given(
    st.sets(st.integers(0, 60), min_size=2, max_size=20), st.sets(st.integers(0, 60), max_size=3), st.integers(0, 60)
)
@example(set(range(20)), set(), 5)
def test_a_unit_that_becomes_ready_meanwhile_loses_only_what_it_does_not_have(
    wanted: set[int], missing: set[int], refused: int
) -> None:
    unit = Addresses(*missing, refused=refused)
    block, found = narrowed(points(*sorted(wanted)), unit)
    if not found.is_ready:
        assert found.doubtful
        assert not found.illegal
        unit.refused = 0
        asyncio.run(ask_again(found, unit.ask))
    assert {point.address.number for point in found.illegal} == wanted & missing
    assert found.decoded(block)[0] == tuple(None if n in missing else n for n in sorted(wanted))
    assert missing or not found.cuts
    assert len(unit.asked) <= 4 * len(wanted)


@given(
    st.sets(st.integers(0, 60), min_size=2, max_size=30),
    st.sets(st.integers(0, 60), max_size=8),
    st.integers(2, 60),
)
def test_after_a_few_rounds_every_request_is_answered_and_every_legal_point_is_read(
    wanted: set[int], missing: set[int], most: int
) -> None:
    unit, cuts, illegal = Addresses(*missing, most=most), Cuts(), set[ModbusPoint]()
    everything = points(*sorted(wanted))
    for _ in range(len(wanted) + 1):
        values: dict[str, object] = {}
        refused = False
        for block in plan([p for p in everything if p not in illegal], Limits(max_gap=125), cuts):
            try:
                data = asyncio.run(unit.ask(block))
            except Refused:
                refused = True
                found = asyncio.run(narrow(block, unit.ask))
                if not found.is_ready:  # it has answered something else, as it has here
                    asyncio.run(ask_again(found, unit.ask))
                illegal.update(found.illegal)
                for table, address in found.cuts:
                    cuts.add(table, address)
                values.update((point.name, value) for point, value in found.values.items())
            else:
                assert len(data) == size_bytes(block)
                values.update((point.name, point.address.number) for point in block.points)
        assert values == {f"p{n}": n for n in wanted - missing}
        if not refused:
            break
    assert not refused
    assert {point.address.number for point in illegal} == wanted & missing
