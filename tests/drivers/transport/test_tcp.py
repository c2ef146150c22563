"""TCP connections."""

from __future__ import annotations

import asyncio
import socket

import pytest

from drivers.contract import DeviceUnavailable
from drivers.model import Reason
from drivers.transport import open_stream, parse_url
from tests.drivers.transport.conftest import Peer


async def test_a_device_that_refuses_is_unavailable_with_something_to_do() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(DeviceUnavailable) as caught:
            async with open_stream(parse_url(f"tcp://127.0.0.1:{bound.getsockname()[1]}"), timeout_s=5.0):
                pass
    assert caught.value.message.endswith(": Connection refused")
    assert caught.value.hint


async def test_a_name_that_does_not_resolve_says_so() -> None:
    with pytest.raises(DeviceUnavailable) as caught:
        async with open_stream(parse_url("tcp://no-such-host.invalid:4001"), timeout_s=30.0):
            pass
    assert "no-such-host.invalid does not resolve" in caught.value.message


@pytest.mark.parametrize("host", ["10.0.0..7", "a" * 64 + ".example"])
async def test_what_cannot_be_the_name_of_a_host_says_so(host: str) -> None:
    with pytest.raises(DeviceUnavailable, match="cannot be the name of a host; check the spelling"):
        async with open_stream(parse_url(f"tcp://{host}:4001"), timeout_s=30.0):
            pass


async def test_an_address_that_does_not_answer_costs_the_timeout() -> None:
    with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for waiting in (first, second):  # a full queue: the kernel drops what comes after
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        with pytest.raises(DeviceUnavailable) as caught:
            async with open_stream(parse_url(f"tcp://127.0.0.1:{listening.getsockname()[1]}"), timeout_s=0.05):
                pass
    assert caught.value.reason is Reason.TIMEOUT


async def test_an_address_that_swallows_everything_leaves_time_for_the_next(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())

        async def found(*_: object, **__: object) -> list[tuple[object, ...]]:
            port = int(peer.url.rpartition(":")[2])
            kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            return [(*kind, listening.getsockname()), (*kind, ("127.0.0.1", port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)
        async with open_stream(parse_url("tcp://two.example:4001"), timeout_s=1.0):
            await asyncio.wait_for(peer.connected.wait(), 5)


async def test_an_orderly_end_is_the_end_too(peer: Peer) -> None:
    async with open_stream(parse_url(peer.url), timeout_s=5.0) as stream:
        await peer.connected.wait()
        peer.transport.write(b"last words")
        peer.transport.close()
        assert await stream.read() == b"last words"
        with pytest.raises(DeviceUnavailable) as caught:
            await stream.read()
    assert caught.value.message == f"{peer.url}: the other end closed the connection"


async def test_a_peer_that_is_silent_is_asked_whether_it_is_still_there(peer: Peer) -> None:
    before = set(_sockets())
    async with open_stream(parse_url(peer.url), timeout_s=5.0):
        await peer.connected.wait()
        (ours,) = [
            number for number in set(_sockets()) - before if number != peer.transport.get_extra_info("socket").fileno()
        ]
        with socket.socket(fileno=socket.dup(ours)) as copy:
            assert copy.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15


def _sockets() -> list[int]:
    from pathlib import Path

    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if str(entry.readlink()).startswith("socket:"):
                found.append(int(entry.name))
        except FileNotFoundError:
            continue
    return found


async def test_the_second_address_of_a_name_is_tried_too(peer: Peer) -> None:
    loop = asyncio.get_running_loop()
    refused = socket.socket()
    refused.bind(("127.0.0.1", 0))
    addresses = [refused.getsockname(), ("127.0.0.1", peer.port)]

    async def two_addresses(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in addresses]

    loop.getaddrinfo = two_addresses  # type: ignore[method-assign,assignment]
    with refused:
        async with open_stream(parse_url("tcp://scale.example:4001"), timeout_s=5.0):
            await peer.connected.wait()


async def test_a_device_that_sends_without_a_pause_leaves_others_their_turn(peer: Peer) -> None:
    async with asyncio.timeout(10), open_stream(parse_url(peer.url), timeout_s=5.0) as stream:
        await peer.connected.wait()
        peer.transport.write(bytes(2**22))
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        for number in range(20):
            await stream.read()
            assert turns >= number
        counting.cancel()
        await asyncio.wait([counting])
