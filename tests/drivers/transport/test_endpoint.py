"""Urls: what they mean, and what is said about those that mean nothing."""

from __future__ import annotations

import re

import pytest

from drivers.transport import Rfc2217Endpoint, SerialEndpoint, SerialLine, TcpEndpoint, parse_url


def test_a_serial_port_is_at_9600_8n1_unless_it_says_otherwise() -> None:
    endpoint = parse_url("serial:///dev/ttyUSB1")
    assert endpoint == SerialEndpoint("/dev/ttyUSB1", SerialLine(9600, 8, "N", 1))
    assert endpoint.link == "serial:///dev/ttyUSB1"


def test_every_setting_of_a_line_can_be_given() -> None:
    endpoint = parse_url("serial:///dev/ttyUSB1?baudrate=2400&bytesize=7&parity=e&stopbits=2")
    assert isinstance(endpoint, SerialEndpoint)
    assert str(endpoint.line) == "2400 7E2"


def test_one_port_has_one_name_whatever_its_settings() -> None:
    assert parse_url("serial:///dev//ttyS0?parity=O").link == parse_url("serial:///dev/ttyS0").link


def test_a_tcp_port() -> None:
    assert parse_url("tcp://10.0.0.7:4001") == TcpEndpoint("10.0.0.7", 4001)
    assert parse_url("tcp://[fe80::1]:4001").link == "tcp://[fe80::1]:4001"


def test_a_port_behind_a_server_has_settings_too() -> None:
    endpoint = parse_url("rfc2217://moxa:950?baudrate=19200&parity=O")
    assert endpoint == Rfc2217Endpoint("moxa", 950, SerialLine(19200, 8, "O", 1))
    assert endpoint.link == "rfc2217://moxa:950"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("serial://ttyUSB0", "three slashes"),
        ("serial:///", "three slashes"),
        (
            "serial:///dev/ttyS0?baudrat=9600",
            '"baudrat" is not a setting of a serial line; known are baudrate, bytesize',
        ),
        ("serial:///dev/ttyS0?parity=E&parity=O", "sets parity twice"),
        ("serial:///dev/ttyS0?parity=X", 'not "X"'),
        ("serial:///dev/ttyS0?bytesize=9", "bytesize is 7 or 8"),
        ("serial:///dev/ttyS0?stopbits=3", "stopbits is 1 or 2"),
        ("serial:///dev/ttyS0?baudrate=fast", 'not "fast"'),
        ("tcp://10.0.0.7", "needs the port"),
        ("tcp://10.0.0.7:0", "needs the port"),
        ("tcp://10.0.0.7:70000", "is not a url"),
        ("tcp://:4001", "must be tcp://host:port"),
        ("tcp://10.0.0.7:4001/path", "must be tcp://host:port"),
        ("tcp://10.0.0.7:4001?baudrate=9600", "tcp:// has no settings"),
        ("rfc2217://10.0.0.7:4001?baud=9600", '"baud" is not a setting'),
        ("rtu:///dev/ttyS0", '"rtu://" is not supported here; supported are serial:///dev/ttyUSB0'),
        ("/dev/ttyS0", '"/dev/ttyS0" is not supported here'),
        ("tcp://[::1:4001", "is not a url"),
    ],
)
def test_a_wrong_url_is_explained(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_url(url)
