"""Whatever comes over the line: no driver falls over it, believes it, or stays confused by it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from drivers.contract import BadResponse, DeviceUnavailable, Session, StreamSession
from drivers.model import Reading
from tests.drivers.scale.conftest import Make, shown
from tests.drivers.scale.instruments import Instrument, MtSicsScale, Scripted, Send, SmaScale, ToledoTerminal, on_tcp

TOKENS = (
    *(
        b"S S      99.\0009 kg",
        b"S S     ",
        b"S S\r\n",
        b"S I\r\n",
        b"ES\r\n",
        b'I4 A "1"\r\n',
        b"T S      99.99 kg\r\n",
    ),
    *(b"\n 1G       99.\0009kg_\r", b"\n 1G       9", b"\n?\r", b"\n!\r", b"\nSMA:2/1.0\r"),
    *(b"\x02,0 009999000000", b"\x02,0 009999000000\r\x7f", b"\x02\x02", b"\r\r"),
    *(b"ST,GS,+00", b"99.\0009kg\r\n", b"US,GS\r\n", b"\xff\xff", b"\0", b"\r", b"\n", b"\x03", b"x" * 300),
)
"""Pieces of what scales say, and what a line makes of it. None can become another weight together with others."""


class Noisy:
    """An instrument on a line with noise: pieces of messages come before and instead of what it says."""

    def __init__(self, inner: Instrument, random: Random) -> None:
        self.inner = inner
        self.random = random
        self.is_noisy = True
        self.send: Send = lambda _: None

    def switched_on(self) -> None:
        self.inner.send = self.say
        self.inner.switched_on()

    def received(self, data: bytes) -> None:
        self.inner.received(data)

    def say(self, data: bytes) -> None:
        if not self.is_noisy:
            self.send(data)
            return
        for _ in range(self.random.randrange(8)):
            self.send(self.random.choice([*TOKENS, self.random.randbytes(self.random.randrange(40))]))
        cut = self.random.randrange(len(data) + 1)
        self.send(data[:cut])


def instruments() -> dict[str, tuple[Any, dict[str, Any]]]:
    scripted = Scripted({b"RW\r\n": b"ST,GS,+0012.34kg\r\n"})
    stable = {"read": "stable", "period": "1ms", "silence": "20ms"}
    return {
        "mt-sics": (MtSicsScale(), {"protocol": "mt-sics"}),
        "mt-sics streaming": (MtSicsScale(), {"protocol": "mt-sics", "read": "streaming"}),
        "mt-sics stable": (MtSicsScale(), {"protocol": "mt-sics", **stable}),
        "sma": (SmaScale(), {"protocol": "sma"}),
        "sma streaming": (SmaScale(), {"protocol": "sma", "read": "streaming"}),
        "toledo": (ToledoTerminal(), {"protocol": "toledo-continuous", "checksum": "on"}),
        "toledo auto": (ToledoTerminal(), {"protocol": "toledo-continuous"}),
        "pattern": (scripted, {"protocol": "pattern", "preset": "a-d"}),
    }


def speak(instrument: Any) -> None:
    """Have it say what it says by itself."""
    if isinstance(instrument, ToledoTerminal):
        instrument.put(1234)
    elif isinstance(instrument, MtSicsScale | SmaScale):
        instrument.put("12.34")


async def readings_of(session: Session | StreamSession, group: Any) -> Any:
    if isinstance(session, StreamSession):
        async with aclosing(session.readings()) as readings:  # type: ignore[type-var]
            async for reading in readings:
                yield reading
    while isinstance(session, Session):
        await asyncio.sleep(0)
        try:
            yield await session.read(group)
        except BadResponse:
            yield None


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", instruments())
async def test_noise_is_never_a_weight_and_when_it_ends_all_is_well(name: str, seed: int, make_driver: Make) -> None:
    instrument, keys = instruments()[name]
    noisy = Noisy(instrument, Random(seed))
    speak(instrument)
    async with on_tcp(noisy) as link, asyncio.timeout(30):
        driver = make_driver(link.url, timeout="20ms", **keys)
        for attempt in range(100):
            with suppress(DeviceUnavailable, BadResponse):
                async with driver.connect() as session:
                    talking = asyncio.create_task(_talk(noisy, is_emptied=name == "mt-sics stable"))
                    try:
                        async with aclosing(readings_of(session, driver.groups[0])) as readings:
                            if await _is_well(readings, noisy, quiet=attempt >= 5):
                                return
                    finally:
                        talking.cancel()
                        await asyncio.wait([talking])
    raise AssertionError("it has not recovered")


async def _talk(noisy: Noisy, *, is_emptied: bool) -> None:
    """Have it speak; with `is_emptied`, each time of a new load."""
    while True:
        if is_emptied:
            assert isinstance(noisy.inner, MtSicsScale)
            noisy.inner.put("0.00")
            await asyncio.sleep(0.001)
        speak(noisy.inner)
        await asyncio.sleep(0.001)


async def _is_well(readings: Any, noisy: Noisy, *, quiet: bool) -> bool:
    """Whether the weight is good in the end, once there is no noise any more."""
    heard = 0
    async for reading in readings:
        heard += 1
        if heard > 10 or quiet:
            noisy.is_noisy = False
        weight = _good_weight(reading)
        assert weight in (None, Decimal("12.34")), weight
        if weight is not None and not noisy.is_noisy:
            return True
    return False


def _good_weight(reading: Reading | None) -> Any:
    if reading is None:
        return None
    index = reading.group.names.index("weight")
    return None if index in reading.quality else shown(reading).get("weight")
