"""The wire of the chaos run does to a connection what it says, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from tests.chaos.wire import Slow, Wire, wires


class Served:
    """A server that answers nothing and keeps what it gets."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.ended = asyncio.Event()
        self.last_words = b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                self.got += data
                if self.last_words:
                    writer.write(self.last_words)
                    break
        except ConnectionError:
            pass
        finally:
            writer.close()
            self.ended.set()


async def through_a_wire(served: Served, do) -> None:
    server = await asyncio.start_server(served, "127.0.0.1", 0)
    async with server, wires(server.sockets[0].getsockname()[1]) as (wire,):
        reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
        try:
            await do(wire, reader, writer)
        finally:
            writer.close()
            await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])


async def test_it_is_cut_after_exactly_so_many_bytes():
    served = Served()

    async def cut(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"1234567890")
        await asyncio.gather(wire.cut_after(7, within_s=10), served.ended.wait())
        with pytest.raises(ConnectionResetError):
            await reader.read()

    await through_a_wire(served, cut)
    assert bytes(served.got) == b"1234567"


async def test_slow_or_not_everything_passes_in_order():
    served = Served()

    async def send(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire.slow = Slow(3, 0.001)
        writer.write(b"1234567890" * 5)
        writer.write_eof()
        await served.ended.wait()

    await through_a_wire(served, send)
    assert bytes(served.got) == b"1234567890" * 5


async def test_the_last_words_of_a_server_arrive():
    served = Served()
    served.last_words = b"refused"

    async def ask(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"?")
        assert await reader.read() == b"refused"

    await through_a_wire(served, ask)


async def test_closed_it_lets_nobody_through():
    served = Served()

    async def knock(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire.is_open = False
        reader, other = await asyncio.open_connection("127.0.0.1", wire.port)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        other.close()

    await through_a_wire(served, knock)
