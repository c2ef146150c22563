"""One destination has ended a connection: the others say again that the gateway is online, where it may be in doubt."""

import asyncio

from gateway.forward import Presence, presence


async def doubts(one: Presence, client_id: str, *, times: int) -> None:
    for _ in range(times):
        await one.doubted(client_id)


async def test_the_others_doubt_soon_and_when_a_late_will_must_have_come(monkeypatch):
    monkeypatch.setattr(presence, "SOON_S", 0.01)
    monkeypatch.setattr(presence, "LATE_S", 0.0)
    one = Presence()
    before, twice = asyncio.create_task(doubts(one, "b", times=2)), asyncio.create_task(doubts(one, "c", times=2))
    await asyncio.sleep(0)
    one.ended("a", keepalive_s=0.05)
    joined = asyncio.create_task(doubts(one, "d", times=2))
    async with asyncio.timeout(5):
        await asyncio.gather(before, twice, joined)
    late = asyncio.create_task(one.doubted("b"))
    await asyncio.sleep(0)
    assert not late.done()
    one.ended("c", keepalive_s=0.05)
    async with asyncio.timeout(5):
        await late


async def test_nobody_doubts_for_a_connection_of_the_same_client_id(monkeypatch):
    """The broker has ended the older connection, and published its will, when it accepts the next."""
    monkeypatch.setattr(presence, "SOON_S", 0.0)
    monkeypatch.setattr(presence, "LATE_S", 0.0)
    one = Presence()
    same = asyncio.create_task(one.doubted("a"))
    other = asyncio.create_task(doubts(one, "b", times=2))
    await asyncio.sleep(0)
    one.ended("a", keepalive_s=0.01)
    async with asyncio.timeout(5):
        await other
    assert not same.done()
    same.cancel()
