"""The reader behind a real socket: one client, keepalives, and every fault as a client meets it."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest

from simulators.faults import Fault, FaultError, FaultKind
from simulators.llrp import LlrpEndpoint
from simulators.llrp.endpoint import _Connection
from tests.simulators.llrp.desk import (
    BOOTED_US,
    DELETE,
    ENABLE,
    EVENTS_ON,
    IMMEDIATE,
    PALLET,
    Desk,
    StillPortal,
    about_rospec,
    decode_report,
    hexed,
    rospec,
)

DEADLINE_S = 10.0
QUIET_S = 0.3
"""How long nothing must come for it to count as silence."""
WELCOME = hexed("00F6 0016 | 0080 000C 0006474846222240 | 0100 0006 0000")
KEEPALIVE_EVERY_50_MS = "0403 00000014 00000003 00 00DC 0009 01 00000032"
GET_ROSPECS = "041A 0000000A 00000002"


@dataclass(slots=True)
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def message(self) -> bytes:
        """The next one."""
        header = await self.reader.readexactly(10)
        return header + await self.reader.readexactly(int.from_bytes(header[2:6]) - 10)

    async def until(self, fits: Callable[[bytes], bool]) -> bytes:
        while not fits(message := await self.message()):
            pass
        return message

    async def ask(self, request: str) -> bytes:
        """Send a message, and wait for the one that carries its id and comes as an answer."""
        raw = hexed(request)
        self.writer.write(raw)
        return await self.until(lambda message: message[6:10] == raw[6:10] and message[1] not in {61, 62, 63})

    async def report(self) -> bytes:
        return await self.until(lambda message: message[1] == 61)

    async def inventory(self) -> None:
        await self.ask(rospec(start=IMMEDIATE))
        await self.ask(about_rospec(ENABLE))


Connect = Callable[[], Awaitable[Client]]


@pytest.fixture
async def endpoint(portal: StillPortal) -> AsyncIterator[LlrpEndpoint]:
    endpoint = LlrpEndpoint(
        "rfid-1", portal, host="127.0.0.1", port=0, random=Random(1), wall_ns=lambda: BOOTED_US * 1000
    )
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        await endpoint.open(group)
        yield endpoint
        await endpoint.close()


@pytest.fixture
async def connect(endpoint: LlrpEndpoint) -> AsyncIterator[Connect]:
    """A new client, whose connection ends with the test."""
    writers = []

    async def one() -> Client:
        host, port = endpoint.url.removeprefix("llrp://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writers.append(writer)
        return Client(reader, writer)

    async with asyncio.timeout(DEADLINE_S):
        yield one
    for writer in writers:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
async def client(connect: Connect) -> Client:
    """One that has been welcomed."""
    client = await connect()
    assert (await client.message())[10:] == WELCOME
    return client


async def silence(waiting: Awaitable[object]) -> bool:
    try:
        async with asyncio.timeout(QUIET_S):
            await waiting
    except TimeoutError:
        return True
    return False


async def test_a_client_is_welcomed_before_it_says_anything(connect: Connect) -> None:
    assert await (await connect()).message() == hexed("043F 00000020 00000000") + WELCOME


async def test_a_second_client_is_turned_away_and_the_first_is_told(client: Client, connect: Connect) -> None:
    second = await connect()
    assert (await second.message())[-6:] == hexed("0100 0006 0002")
    assert await second.reader.read() == b""
    assert (await client.message())[-6:] == hexed("0100 0006 0004")
    assert (await client.ask(GET_ROSPECS))[1] == 36


async def test_after_close_connection_the_next_one_is_welcome(client: Client, connect: Connect) -> None:
    assert await client.ask("040E 0000000A 0000000D") == hexed("0404 00000012 0000000D 011F 0008 0000 0000")
    assert await client.reader.read() == b""
    assert (await (await connect()).message())[10:] == WELCOME


async def test_a_lost_client_makes_room_and_its_rospec_goes_on(
    client: Client, connect: Connect, portal: StillPortal
) -> None:
    await client.inventory()
    client.writer.transport.abort()
    portal.rounds.clear()
    other = await connect()
    assert (await other.message())[10:] == WELCOME
    assert decode_report(await other.report())[0]["epc"] == PALLET
    assert (await other.ask(GET_ROSPECS))[27] == 2


async def test_keepalives_come_at_their_interval(client: Client) -> None:
    await client.ask(KEEPALIVE_EVERY_50_MS)
    for _ in range(3):
        assert (await client.message())[:2] == hexed("043E")


async def test_tags_are_reported_while_they_are_there(client: Client, portal: StillPortal) -> None:
    await client.inventory()
    (tag,) = decode_report(await client.report())
    portal.tags.clear()
    assert (tag["epc"], tag["antenna"], tag["rssi"], tag["first_us"]) == (PALLET, 1, -53, BOOTED_US)
    await client.ask(GET_ROSPECS)
    assert await silence(client.report())


async def test_what_is_no_llrp_ends_the_connection(client: Client) -> None:
    client.writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert await client.reader.read() == b""


async def test_a_client_that_does_not_read_fills_a_bounded_buffer(
    endpoint: LlrpEndpoint, client: Client, portal: StillPortal
) -> None:
    portal.tags = portal.tags * 4000
    await client.inventory()
    (served,) = endpoint.clients
    assert isinstance(served, _Connection)
    client.writer.transport.pause_reading()
    while not served.is_blocked:  # noqa: ASYNC110 - the kernel's buffers have no event to wait for
        await asyncio.sleep(0.01)
    before = served.transport.get_write_buffer_size()
    await asyncio.sleep(QUIET_S)
    assert served.transport.get_write_buffer_size() <= before


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    certificate, key = tmp_path / "reader.pem", tmp_path / "reader.key"
    making = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=reader", "-days", "2"]
    subprocess.run([*making, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


async def test_over_tls_it_is_the_same_reader(portal: StillPortal, certificate: tuple[Path, Path]) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*certificate)
    endpoint = LlrpEndpoint("rfid-1", portal, host="127.0.0.1", port=0, random=Random(1), tls=server)
    trusting = ssl.create_default_context(cafile=certificate[0])
    trusting.check_hostname = False
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        await endpoint.open(group)
        parts = urlsplit(endpoint.url)
        assert parts.scheme == "llrps"
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=trusting)
        client = Client(reader, writer)
        assert (await client.message())[-6:] == hexed("0100 0006 0000")
        await client.inventory()
        assert decode_report(await client.report())[0]["epc"] == PALLET
        writer.transport.abort()
        await endpoint.close()


class TestFaults:
    async def test_refuse(self, endpoint: LlrpEndpoint, client: Client, connect: Connect) -> None:
        await endpoint.impose(Fault(FaultKind.REFUSE))
        with pytest.raises(ConnectionResetError):
            await client.reader.read()
        with pytest.raises(ConnectionRefusedError):
            await connect()
        await endpoint.impose(Fault())
        assert (await (await connect()).message())[10:] == WELCOME

    async def test_reset(self, endpoint: LlrpEndpoint, client: Client, connect: Connect) -> None:
        await endpoint.impose(Fault(FaultKind.RESET))
        with pytest.raises(ConnectionResetError):
            await client.reader.read()
        other = await connect()
        await other.message()
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await other.ask(GET_ROSPECS)

    async def test_busy_turns_the_only_client_away(self, endpoint: LlrpEndpoint, connect: Connect) -> None:
        await endpoint.impose(Fault(FaultKind.BUSY))
        client = await connect()
        assert (await client.message())[-6:] == hexed("0100 0006 0002")
        assert await client.reader.read() == b""

    async def test_close_event_tells_and_closes(self, endpoint: LlrpEndpoint, client: Client, connect: Connect) -> None:
        await endpoint.impose(Fault(FaultKind.CLOSE_EVENT))
        assert (await client.message())[-4:] == hexed("0101 0004")
        assert await client.reader.read() == b""
        other = await connect()
        assert (await other.message())[10:] == WELCOME
        assert (await other.message())[-4:] == hexed("0101 0004")
        assert await other.reader.read() == b""

    async def test_hang_is_a_half_open_connection(
        self, endpoint: LlrpEndpoint, client: Client, connect: Connect, portal: StillPortal
    ) -> None:
        await client.ask(KEEPALIVE_EVERY_50_MS)
        await client.inventory()
        await endpoint.impose(Fault(FaultKind.HANG))
        client.writer.write(hexed(about_rospec(DELETE)))
        with suppress(TimeoutError):
            async with asyncio.timeout(QUIET_S):
                while True:
                    await client.message()  # what was on its way
        assert await silence(client.message())
        await endpoint.impose(Fault())
        assert (await client.ask(GET_ROSPECS))[27] == 2  # it did not act on the DELETE

    async def test_a_new_client_of_a_hanging_reader_hears_nothing(
        self, endpoint: LlrpEndpoint, connect: Connect
    ) -> None:
        await endpoint.impose(Fault(FaultKind.HANG))
        assert await silence((await connect()).message())

    async def test_silent_answers_and_nothing_else(self, endpoint: LlrpEndpoint, client: Client) -> None:
        await client.inventory()
        await endpoint.impose(Fault(FaultKind.SILENT))
        await client.ask(KEEPALIVE_EVERY_50_MS)
        assert await silence(client.message())
        assert (await client.ask(GET_ROSPECS))[1] == 36

    async def test_slow_answers_late_and_in_order(self, endpoint: LlrpEndpoint, client: Client) -> None:
        loop = asyncio.get_running_loop()
        await endpoint.impose(Fault(FaultKind.SLOW, delay_s=0.2))
        asked_at = loop.time()
        client.writer.write(hexed(GET_ROSPECS) + hexed("041A 0000000A 00000003"))
        assert [(await client.message())[9] for _ in range(2)] == [2, 3]
        assert loop.time() - asked_at >= 0.2

    async def test_split_messages_are_whole_in_the_end(self, endpoint: LlrpEndpoint, client: Client) -> None:
        await endpoint.impose(Fault(FaultKind.SPLIT))
        whole = Desk(StillPortal()).ask("0401 0000000B 00000001 00")
        most_pieces = 0
        while most_pieces < 2:  # on a busy machine the pieces of one message may arrive together
            client.writer.write(hexed("0401 0000000B 00000001 00"))
            pieces: list[bytes] = []
            while sum(map(len, pieces)) < len(whole):
                pieces.append(await client.reader.read(4096))
            assert b"".join(pieces) == whole
            most_pieces = max(most_pieces, len(pieces))
        await client.inventory()
        assert decode_report(await client.report())[0]["epc"] == PALLET

    async def test_merged_messages_come_together(self, endpoint: LlrpEndpoint, client: Client) -> None:
        await endpoint.impose(Fault(FaultKind.MERGED))
        client.writer.write(hexed(GET_ROSPECS))
        client.writer.write(hexed("0448 0000000A 00000055"))
        await asyncio.sleep(0)
        client.writer.write(hexed("041A 0000000A 00000003"))
        both = await client.reader.read(4096)
        assert both == hexed("0424 00000012 00000002 011F 0008 0000 0000 0424 00000012 00000003 011F 0008 0000 0000")

    async def test_garble_sends_other_bytes_of_the_same_length(self, endpoint: LlrpEndpoint, client: Client) -> None:
        await endpoint.impose(Fault(FaultKind.GARBLE))
        client.writer.write(hexed(GET_ROSPECS))
        answer = await client.reader.readexactly(18)
        assert answer != hexed("0424 00000012 00000002 011F 0008 0000 0000")
        assert await silence(client.reader.read(1))

    async def test_half_frame_sends_the_first_half(self, endpoint: LlrpEndpoint, client: Client) -> None:
        await endpoint.impose(Fault(FaultKind.HALF_FRAME))
        client.writer.write(hexed(GET_ROSPECS))
        assert await client.reader.readexactly(9) == hexed("0424 00000012 000000")
        assert await silence(client.reader.read(1))

    async def test_exception_answers_with_the_code_and_does_not_act(
        self, endpoint: LlrpEndpoint, client: Client
    ) -> None:
        await endpoint.impose(Fault(FaultKind.EXCEPTION, code=401))
        answer = await client.ask(rospec())
        assert (answer[:2], answer[14:16]) == (hexed("0464"), hexed("0191"))
        await endpoint.impose(Fault())
        assert len(await client.ask(GET_ROSPECS)) == 18

    async def test_wrong_clock_shifts_every_time(self, endpoint: LlrpEndpoint, client: Client) -> None:
        await endpoint.impose(Fault(FaultKind.WRONG_CLOCK, offset_s=-820_454_400.0))  # 26 years
        await client.inventory()
        assert decode_report(await client.report())[0]["first_us"] == BOOTED_US - 820_454_400_000_000

    async def test_buffer_overflow_loses_reports_and_says_so(self, endpoint: LlrpEndpoint, client: Client) -> None:
        await client.inventory()
        await endpoint.impose(Fault(FaultKind.BUFFER_OVERFLOW))
        await client.until(lambda message: message[-4:] == hexed("00FB 0004"))
        assert (await client.message())[-4:] == hexed("00FB 0004")
        await endpoint.impose(Fault())
        assert decode_report(await client.report())[0]["epc"] == PALLET

    async def test_antenna_lost_and_found_again(self, endpoint: LlrpEndpoint, client: Client) -> None:
        await client.ask(EVENTS_ON)
        await client.inventory()
        await endpoint.impose(Fault(FaultKind.ANTENNA_LOST, code=1))
        await client.until(lambda message: message[-7:] == hexed("00FF 0007 00 0001"))
        assert await silence(client.report())
        await endpoint.impose(Fault())
        await client.until(lambda message: message[-7:] == hexed("00FF 0007 01 0001"))
        assert decode_report(await client.report())[0]["epc"] == PALLET

    async def test_an_antenna_that_is_not_there_cannot_be_lost(self, endpoint: LlrpEndpoint) -> None:
        with pytest.raises(FaultError, match='there is no antenna 3 at "rfid-1"; they are 1 to 2'):
            await endpoint.impose(Fault(FaultKind.ANTENNA_LOST, code=3))

    async def test_restart_forgets_the_rospec_and_resets_the_client(
        self, endpoint: LlrpEndpoint, client: Client, connect: Connect
    ) -> None:
        await client.inventory()
        await endpoint.impose(Fault(FaultKind.RESTART))
        with pytest.raises(ConnectionResetError):
            await client.until(lambda _: False)
        other = await connect()
        assert (await other.message())[10:] == WELCOME
        assert len(await other.ask(GET_ROSPECS)) == 18

    async def test_a_modbus_fault_is_not_possible(self, endpoint: LlrpEndpoint) -> None:
        with pytest.raises(FaultError, match='"wrong-unit" is not possible on "rfid-1", which is llrp'):
            await endpoint.impose(Fault(FaultKind.WRONG_UNIT))
