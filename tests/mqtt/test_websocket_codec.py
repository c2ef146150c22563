"""The upgrade to a WebSocket and its frames, against the examples of RFC 6455, and servers that are none."""

from __future__ import annotations

import pytest

from gateway.mqtt import DestinationUnavailable
from gateway.mqtt.stream import Address
from gateway.mqtt.websocket import frame, request, trouble_with

KEY, ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def answer(*fields, status=b"HTTP/1.1 101 Switching Protocols"):
    return b"\r\n".join([status, *fields, b"", b""])


def test_a_masked_frame_is_that_of_the_standard():
    assert frame(1, b"Hello", mask=bytes.fromhex("37fa213d")).hex() == "818537fa213d7f9f4d5158"


@pytest.mark.parametrize(
    ("length", "head"),
    [(0, "8280"), (125, "82fd"), (126, "82fe007e"), (65535, "82feffff"), (65536, "82ff0000000000010000")],
)
def test_the_length_stands_in_as_few_bytes_as_it_needs(length, head):
    assert frame(2, b"x" * length, mask=bytes(4)) == bytes.fromhex(head) + bytes(4) + b"x" * length


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("ws://broker.example", "broker.example", "/mqtt"),
        ("wss://broker.example:443/some/where", "broker.example", "/some/where"),
        ("ws://broker.example:443", "broker.example:443", "/mqtt"),
        ("wss://[fe80::1]:9001", "[fe80::1]:9001", "/mqtt"),
    ],
)
def test_host_and_path_are_those_of_the_url(url, host, path):
    first, *fields = request(Address.parse(url), KEY).decode().split("\r\n")
    assert first == f"GET {path} HTTP/1.1"
    assert f"Host: {host}" in fields
    assert f"Origin: http{'s' * url.startswith('wss')}://{host}" in fields
    assert fields[-2:] == ["", ""]


@pytest.mark.parametrize(
    "fields",
    [
        (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: " + ACCEPT),
        (b"upgrade:WebSocket", b"CONNECTION:upgrade", b"sec-websocket-accept:" + ACCEPT),
        (
            b"Server: caf\xe9",
            b"Sec-WebSocket-Accept:  " + ACCEPT + b" ",
            b"Connection: keep-alive, Upgrade",
            b"Upgrade: websocket",
        ),
    ],
    ids=["as in the standard", "without space", "with more"],
)
def test_every_answer_that_http_allows_opens_the_websocket(fields):
    assert trouble_with(answer(*fields), KEY) is None


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (answer(status=b"HTTP/1.1 403 Forbidden"), "it answers '403 Forbidden'"),
        (answer(status=b"HTTP/1.1 \x1b[2J"), r"it answers '\x1b[2J'"),
        (answer(status=b"SSH-2.0-x"), "what listens there does not speak HTTP"),
        (answer(b"Upgrade: h2c", b"Connection: Upgrade"), "it answers with another protocol"),
        (answer(b"Upgrade: websocket", b"Connection: Upgrade"), "it has not understood the key"),
        (
            answer(b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: " + KEY),
            "it has not understood the key",
        ),
    ],
)
def test_every_other_answer_is_explained(head, words):
    assert trouble_with(head, KEY) == words


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "ended before MQTT began: it was closed; check the port and path of url"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade", "ended before MQTT began: it was closed"),
        (b"x" * 20_000, "ended before MQTT began: no end of the HTTP header within 16384 bytes"),
        (b"\x20\x03\x00\x00\x00\r\n\r\n", "does not open a WebSocket: what listens there does not speak HTTP"),
    ],
    ids=["nothing", "half", "without end", "MQTT"],
)
async def test_a_server_that_does_not_answer_as_it_should_is_no_destination(scripted, broker, said, words):
    async def script(client):
        await client.reader.readuntil(b"\r\n\r\n")
        client.writer.write(said)

    async with scripted.plays(script):
        with pytest.raises(DestinationUnavailable, match=words):
            async with broker(scripted.url.replace("mqtt", "ws")).connect():
                pass
