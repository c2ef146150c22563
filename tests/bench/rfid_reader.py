"""Run by itself: an LLRP reader that reports tags at a rate, or as fast as they are taken.

    python -m tests.bench.rfid_reader COUNT RATE TAGS REPORTS    prints its port; RATE 0 is as fast as it goes

It serves one client: COUNT reports of TAGS different tags, REPORTS of them in a message, and then a tag of zeros. It
knows no more of LLRP than the bytes below.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

_CONNECTED = bytes.fromhex("043f000000200000000000f600160080000c%016x010000060000" % (time.time_ns() // 1000))
_OK = bytes.fromhex("011f000800000000")
_START, _KEEPALIVE_ACK, _ENABLE_EVENTS = 22, 72, 64
_TICK_S = 0.01


def _tag(number: int, now_us: int) -> bytes:
    """An SSCC-96 at antenna 1 with everything that the driver asks for: 54 bytes."""
    epc = 0x3114257BF400000000000000 + (number << 24)
    return struct.pack(
        ">HHB12sBIBHBbBHBQBQBHBH",
        *(0xF0, 54, 0x8D, epc.to_bytes(12, "big"), 0x89, 1, 0x81, 1, 0x86, -53, 0x87, 3),
        *(0x82, now_us, 0x84, now_us, 0x88, 1, 0x8C, 0x3000),
    )


def _message(kind: int, number: int, body: bytes) -> bytes:
    return struct.pack(">HII", 0x0400 | kind, 10 + len(body), number) + body


def _answer_until_started(connection: socket.socket) -> None:
    received = b""
    while True:
        while len(received) < 10 or len(received) < int.from_bytes(received[2:6], "big"):
            received += connection.recv(65536)
        word, length, number = struct.unpack(">HII", received[:10])
        received = received[length:]
        kind = word & 0x3FF
        if kind not in (_KEEPALIVE_ACK, _ENABLE_EVENTS):
            connection.sendall(_message(kind + 10, number, _OK))
        if kind == _START:
            return


def main(count: int, rate: float, tags: int, reports: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sys.stdout.write(f"{server.getsockname()[1]}\n")
        sys.stdout.flush()
        connection, _ = server.accept()
    with connection:
        connection.sendall(_CONNECTED)
        _answer_until_started(connection)
        at_once = max(1, round(rate * _TICK_S)) if rate else 2000
        due_s = time.monotonic()
        for first in range(0, count, at_once):
            now_us = time.time_ns() // 1000
            numbers = range(first, min(first + at_once, count))
            parts = [
                _message(61, part, b"".join(_tag(number % tags, now_us) for number in numbers[part : part + reports]))
                for part in range(0, len(numbers), reports)
            ]
            connection.sendall(b"".join(parts))
            if rate:
                due_s += at_once / rate
                time.sleep(max(0.0, due_s - time.monotonic()))
        connection.sendall(_message(61, 1, bytes.fromhex("00f000118d") + bytes(12)))
        while connection.recv(65536):
            pass


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
