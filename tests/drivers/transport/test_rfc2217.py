"""The client of RFC 2217 against pyserial's server, and against servers that do not do as they should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from drivers.contract import DeviceUnavailable
from drivers.model import Reason
from drivers.transport import open_stream, parse_url
from tests.drivers.transport.conftest import Peer, PortServer, serve


async def test_the_server_sets_its_line_as_the_url_says(port_server: PortServer) -> None:
    settings = "?baudrate=2400&bytesize=7&parity=E&stopbits=2"
    async with open_stream(parse_url(port_server.url + settings), timeout_s=5.0):
        line = port_server.line
        assert (line.baudrate, line.bytesize, line.parity, line.stopbits) == (2400, 7, "E", 2)


async def test_both_directions_are_binary(port_server: PortServer) -> None:
    everything = bytes(range(256)) * 3
    async with asyncio.timeout(10), open_stream(parse_url(port_server.url), timeout_s=5.0) as stream:
        await stream.write(everything)
        echoed = b""
        while len(echoed) < len(everything):
            echoed += await stream.read()
        assert echoed == everything


async def test_what_the_server_tells_about_the_line_is_no_data(port_server: PortServer) -> None:
    async with asyncio.timeout(10), open_stream(parse_url(port_server.url), timeout_s=5.0) as stream:
        port_server.manager.check_modem_lines(force_notification=True)
        await stream.write(b"SI\r\n")
        assert await stream.read() == b"SI\r\n"


class Scripted(Peer):
    """Answers each piece that it receives with the next of its lines."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[bytes] = []

    @property
    def url(self) -> str:
        return f"rfc2217://127.0.0.1:{self.port}"

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.answers:
            self.transport.write(self.answers.pop(0))


@pytest.fixture
async def scripted() -> AsyncIterator[Scripted]:
    async for serving in serve(Scripted()):
        assert isinstance(serving, Scripted)
        yield serving


DO_COM_PORT = b"\xff\xfd\x2c"
"""IAC DO COM-PORT-OPTION: the server wants to be told (RFC 2217, 2)."""
DONT_COM_PORT = b"\xff\xfe\x2c"


async def test_a_server_that_refuses_the_option_is_unavailable(scripted: Scripted) -> None:
    scripted.answers = [DONT_COM_PORT]
    with pytest.raises(DeviceUnavailable) as caught:
        async with open_stream(parse_url(scripted.url), timeout_s=5.0):
            pass
    assert "refuses" in caught.value.message
    assert "tcp://" in caught.value.hint


async def test_a_port_that_only_passes_bytes_on_is_noticed(scripted: Scripted) -> None:
    scripted.answers = [b"S S     100.00 g\r\n"]
    with pytest.raises(DeviceUnavailable) as caught:
        async with open_stream(parse_url(scripted.url), timeout_s=0.2):
            pass
    assert caught.value.reason is Reason.TIMEOUT
    assert "no answer about the COM port option" in caught.value.message


async def test_a_server_that_has_another_baudrate_is_told_on(scripted: Scripted) -> None:
    scripted.answers = [DO_COM_PORT, b"\xff\xfa\x2c\x65\x00\x00\x04\xb0\xff\xf0"]  # SERVER-SET-BAUDRATE 1200
    with pytest.raises(DeviceUnavailable) as caught:
        async with open_stream(parse_url(scripted.url), timeout_s=5.0):
            pass
    assert caught.value.message.endswith("the server was asked for baudrate 9600 and has 1200")


async def test_a_server_that_has_another_parity_is_told_on_by_its_letter(scripted: Scripted) -> None:
    scripted.answers = [DO_COM_PORT, b"\xff\xfa\x2c\x67\x01\xff\xf0"]
    with pytest.raises(DeviceUnavailable) as caught:
        async with open_stream(parse_url(scripted.url + "?parity=E"), timeout_s=5.0):
            pass
    assert caught.value.message.endswith("asked for parity E and has N")


async def test_a_server_that_forgets_an_answer_is_told_which(scripted: Scripted) -> None:
    scripted.answers = [DO_COM_PORT, b"\xff\xfa\x2c\x65\x00\x00\x25\x80\xff\xf0"]  # 9600, and nothing about the rest
    with pytest.raises(DeviceUnavailable) as caught:
        async with open_stream(parse_url(scripted.url), timeout_s=0.2):
            pass
    assert "no answer about bytesize" in caught.value.message


ACCEPTED = b"".join(
    b"\xff\xfa\x2c" + body + b"\xff\xf0" for body in (b"\x65\x00\x00\x25\x80", b"\x66\x08", b"\x67\x01", b"\x68\x01")
)


async def test_options_that_nobody_needs_are_refused_once(scripted: Scripted) -> None:
    scripted.answers = [DO_COM_PORT, ACCEPTED]
    async with asyncio.timeout(10), open_stream(parse_url(scripted.url), timeout_s=5.0) as stream:
        scripted.received.clear()
        will_echo = b"\xff\xfb\x01"
        scripted.transport.write(will_echo + will_echo + b"x")
        assert await stream.read() == b"x"
        await stream.write(b"y")
        assert await scripted.receive(4) == b"\xff\xfe\x01y"


async def test_agreeing_to_what_we_offered_is_not_answered_again(scripted: Scripted) -> None:
    scripted.answers = [DO_COM_PORT, ACCEPTED]
    async with asyncio.timeout(10), open_stream(parse_url(scripted.url), timeout_s=5.0) as stream:
        scripted.received.clear()
        scripted.transport.write(DO_COM_PORT + b"\xff\xfb\x00" + b"x")
        assert await stream.read() == b"x"
        await stream.write(b"y")
        assert await scripted.receive(1) == b"y"


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_a_server_says_the_data_behind_it_is_reached(scripted: Scripted, seed: int) -> None:
    random = Random(seed)
    scripted.answers = [DO_COM_PORT, ACCEPTED]
    async with asyncio.timeout(10), open_stream(parse_url(scripted.url), timeout_s=5.0) as stream:
        for _ in range(200):
            scripted.transport.write(bytes(random.choices([0xFF, 0xFA, 0xF0, 0xFB, 0xFD, 0x2C, 0x65, 0x41], k=16)))
        scripted.transport.write(b"\x41\xff\xf0" * 2 + b"\xff\xf0 12.340\r\n")
        data = b""
        while not data.endswith(b" 12.340\r\n"):
            data += await stream.read()
