"""A name server that does not answer holds up those who ask it, and nobody else."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.loop import Loop

NAMES = 40
"""More than the default executor of any machine here has threads."""


class NameServer:
    """Answers for `localhost` only; every other name waits until the end of the test. Counts the questions."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gone = threading.Event()
        self._real = socket.getaddrinfo

    def __call__(self, host: str, *rest: Any) -> Any:
        self.asked.append(host)
        if host != "localhost":
            self.gone.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self._real(host, *rest)


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr("socket.getaddrinfo", server)
    threads = set(threading.enumerate())
    yield server
    server.gone.set()
    for thread in set(threading.enumerate()) - threads:
        thread.join(10)


def test_names_that_nobody_answers_for_hold_up_neither_other_names_nor_threads_nor_the_end(
    name_server: NameServer,
) -> None:
    async def ask() -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            hanging = [group.create_task(loop.getaddrinfo(f"plc-{number}.example", 502)) for number in range(NAMES)]
            await asyncio.sleep(0)
            assert await loop.getaddrinfo("localhost", 1883, type=socket.SOCK_STREAM)
            assert await asyncio.to_thread(lambda: "rendered") == "rendered"
            for task in hanging:
                task.cancel()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(ask())
    assert not name_server.gone.is_set()


def test_all_who_ask_for_a_name_at_the_same_time_share_one_question_and_its_answer(name_server: NameServer) -> None:
    async def ask() -> list[Any]:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            asking = [asyncio.create_task(loop.getaddrinfo("plc.example", 502)) for _ in range(3)]
            await asyncio.sleep(0)
            asking.pop().cancel()
            name_server.gone.set()
            return await asyncio.gather(*asking, return_exceptions=True)

    with asyncio.Runner(loop_factory=Loop) as runner:
        answers = runner.run(ask())
        assert [type(answer) for answer in answers] == [socket.gaierror] * 2
        assert name_server.asked == ["plc.example"]
        runner.run(ask())
        assert name_server.asked == ["plc.example"] * 2
