"""`hub-gateway probe modbus`, typed as a person would, against libmodbus."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.cli import main

VALUES = {"h:0": 0x4145, "h:1": 0x70A4, "h:4": 0x075B, "h:5": 0xCD15, "h:7": 0x8000, "c:3": 1, "c:17": 1, "i:1": 7}


@pytest.fixture
def probe(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Types the command; its exit code and what it printed."""

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(["probe", "modbus", *arguments])
        except SystemExit as usage:
            code = int(str(usage.code))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def url(libmodbus: Any) -> Iterator[str]:
    with libmodbus("tcp", values=VALUES, size=20) as port:
        yield f"tcp://127.0.0.1:{port}"


def test_registers_are_shown_in_every_type_and_order(probe: Any, url: str) -> None:
    code, printed, errors = probe(url, "--range", "0-5")
    assert (code, errors) == (0, "")
    lines = [line.split() for line in printed.splitlines()]
    assert printed.startswith(f"unit 1 on {url}: FC3 holding 0–5 (6 registers)\n")  # noqa: RUF001
    assert ["0", "0x4145", "16709", "16709", "0100", "0001", "0100", "0101", "AE"] in lines
    assert ["5", "0xCD15", "52501", "-13035", "1100", "1101", "0001", "0101", ".."] in lines
    assert ["pair", "as", "ABCD", "CDAB", "BADC", "DCBA"] in lines
    of_0 = lines.index(["0–1", "uint32", "1095069860", "1889812805", "1161929840", "2758821185"])  # noqa: RUF001
    assert lines[of_0 + 2][:2] == ["float32", "12.34"]
    of_4 = lines.index(["4–5", "uint32", "123456789", "3440707419", "1527190989", "365779719"])  # noqa: RUF001
    assert lines[of_4 + 1] == ["int32", "123456789", "-854259877", "1527190989", "365779719"]


def test_every_order_finds_the_number_of_the_standard_example(probe: Any, libmodbus: Any) -> None:
    """123456789 = 0x075BCD15, and 12.34 = 0x414570A4, in the column of the order in which they lie."""
    lying = {"ABCD": (0x075B, 0xCD15), "CDAB": (0xCD15, 0x075B), "BADC": (0x5B07, 0x15CD), "DCBA": (0x15CD, 0x5B07)}
    for column, (order, words) in enumerate(lying.items()):
        with libmodbus("tcp", values={"h:0": words[0], "h:1": words[1]}) as port:
            _, printed, _ = probe(f"tcp://127.0.0.1:{port}", "--range", "0-1")
        head, unsigned = (line.split() for line in printed.splitlines() if "ABCD" in line or "uint32" in line)
        assert (head[2 + column], unsigned[2 + column]) == (order, "123456789")


def test_what_is_refused_is_marked_and_the_rest_is_shown(probe: Any, url: str) -> None:
    code, printed, _ = probe(url, "--range", "18-40")
    assert code == 0
    assert [line.split(maxsplit=1)[0] for line in printed.splitlines() if "0x" in line] == ["18", "19"]
    assert "      20–40  exception 02 (illegal data address)" in printed  # noqa: RUF001


def test_a_range_that_is_refused_as_a_whole_was_still_answered(probe: Any, url: str) -> None:
    code, printed, _ = probe(url, "--range", "100-107")
    assert code == 0
    assert printed.splitlines()[2:] == ["    100–107  exception 02 (illegal data address)"]  # noqa: RUF001


def test_bits_are_shown_sixteen_to_a_row(probe: Any, url: str) -> None:
    code, printed, _ = probe(url, "--table", "coil", "--range", "0-21")
    assert code == 0
    assert printed.splitlines()[1:] == [
        "       0–15  0001 0000 0000 0000",  # noqa: RUF001
        "      16–19  0100",  # noqa: RUF001
        "      20–21  exception 02 (illegal data address)",  # noqa: RUF001
    ]


def test_an_offset_is_added_on_the_wire_and_not_to_what_is_shown(probe: Any, url: str) -> None:
    code, printed, _ = probe(url, "--table", "input", "--range", "2", "--offset", "-1")
    assert code == 0
    assert "FC4 input 1 (1 register)" in printed
    assert printed.splitlines()[2].split()[:3] == ["2", "0x0007", "7"]


def test_a_long_range_is_asked_for_in_pieces(probe: Any, libmodbus: Any) -> None:
    with libmodbus("tcp", values={"h:299": 4711}, size=300) as port:
        code, printed, _ = probe(f"tcp://127.0.0.1:{port}", "--range", "0-299")
    assert code == 0
    assert "        299  0x1267    4711" in printed


@contextmanager
def device(answer: Callable[[bytes], bytes | None]) -> Iterator[str]:
    """A TCP device in a thread; None hangs up. Yields its url."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    while request := connection.recv(300):
                        reply = answer(request)
                        if reply is None:
                            break
                        connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def framed(request: bytes, pdu: bytes) -> bytes:
    return request[:4] + (len(pdu) + 1).to_bytes(2, "big") + request[6:7] + pdu


def test_a_scan_finds_the_units_that_answer_even_with_an_exception(probe: Any) -> None:
    def answer(request: bytes) -> bytes | None:
        by_unit = {2: b"\3\2\x12\x34", 3: b"\x83\2", 4: b"\x83\x0b", 5: None, 6: b"\3\2\0\1"}
        pdu = by_unit.get(request[6], b"")
        return None if pdu is None else framed(request, pdu) if pdu else b""

    with device(answer) as url:
        code, printed, _ = probe(url, "--scan", "1-7", "--timeout", "300ms")
    assert code == 0
    assert printed.splitlines() == [
        "unit 2: holding:0 = 4660",
        "unit 3: exception 02 (illegal data address)",
        "unit 6: holding:0 = 1",
        f"3 of 7 units answer on {url}",
    ]


def test_a_scan_that_finds_nobody_is_unavailable(probe: Any) -> None:
    with device(lambda request: b"") as url:
        code, printed, _ = probe(url, "--scan", "1-3", "--timeout", "20ms")
    assert (code, printed) == (69, f"0 of 3 units answer on {url}\n")


async def test_a_scan_of_a_serial_line_finds_libmodbus(libmodbus: Any, rtu_bus: Any) -> None:
    async with rtu_bus(2) as (ours, theirs):
        with libmodbus("rtu", theirs, "3", values={"h:0": 7}):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", "probe", "modbus", f"rtu://{ours}?baudrate=115200&parity=N",
                "--scan", "1-4", "--timeout", "100ms", stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            printed, _ = await process.communicate()
    assert (process.returncode, printed.decode().splitlines()[0]) == (0, "unit 3: holding:0 = 7")


async def test_ctrl_c_ends_a_scan_without_a_traceback(scripted: Any) -> None:
    server = await scripted(lambda request, send: None)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "probe", "modbus", server.url, "--scan", "1-247", "--timeout", "1h",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a run in the background ignores it
    )  # fmt: skip
    await server.requested.wait()
    process.send_signal(signal.SIGINT)
    printed, errors = await process.communicate()
    assert (process.returncode, printed, errors) == (130, b"", b"")


def test_a_unit_that_stops_answering_shows_what_came_until_then(probe: Any) -> None:
    def answer(request: bytes) -> bytes:
        start, count = int.from_bytes(request[8:10], "big"), request[11]
        if start + count > 130:
            return b""
        return framed(request, bytes([3, 2 * count]) + bytes(2 * count))

    with device(answer) as url:
        code, printed, errors = probe(url, "--range", "0-130", "--timeout", "50ms")
    assert code == 0
    assert "    125–130  not read" in printed  # noqa: RUF001
    assert "not read further: reading FC3 holding 125–130" in errors  # noqa: RUF001


def test_a_gateway_that_speaks_for_a_silent_unit_is_no_answer_of_the_unit(probe: Any) -> None:
    with device(lambda request: framed(request, b"\x83\x0b")) as url:
        code, printed, errors = probe(url, "--range", "0-400")
    assert (code, printed) == (69, "")
    assert "exception 0B (gateway target device failed to respond)" in errors


def test_nothing_there_is_unavailable_and_says_why(probe: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        code, _, errors = probe(f"tcp://127.0.0.1:{unused.getsockname()[1]}")
    assert code == 69
    assert "Connection refused; check that its Modbus server is enabled" in errors
    with device(lambda request: b"") as url:
        code, printed, errors = probe(url, "--timeout", "50ms")
    assert (code, printed) == (69, "")
    assert "no answer within 0.05 s" in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["udp://x"], '"udp://" is not supported for modbus'),
        (["tcp://x", "--range", "9-3"], '"9-3" ends before it starts'),
        (["tcp://x", "--range", "a"], '"a" is not a range; write for example 0-31'),
        (["tcp://x", "--range", "0-65536"], '"0-65536" runs beyond the last address, 65535'),
        (["tcp://x", "--range", "0-5", "--offset", "-1"], "0-5 with an offset of -1 is not on the wire"),
        (["tcp://x", "--unit", "256"], '"256" is not a unit; they are 0 to 255'),
        (["tcp://x", "--unit", "1", "--scan", "1-2"], "not allowed with argument"),
        (["rtu:///dev/ttyUSB0", "--scan", "0-5"], "units on a serial line are 1 to 247"),
        (["tcp://x", "--timeout", "5"], "needs a number and a unit"),
        (["tcp://x", "--timeout", "0s"], "0s is no time to wait"),
        (["tcp://x", "--ca", "ca.pem"], "is not encrypted, so the options for tls:// have no effect"),
        (["tls://x", "--key", "gw.key"], "a key has no effect without a certificate"),
        (["tls://x", "--ca", "ca.pem", "--no-verify"], "ca has no effect with verify: false"),
    ],
)
def test_bad_usage_is_told_and_asks_nobody(arguments: list[str], words: str, probe: Any) -> None:
    code, _, errors = probe(*arguments)
    assert code == 2
    assert words in errors
