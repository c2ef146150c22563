"""What is said of the same error of the system where a serial port and where a connection could not be opened."""

from __future__ import annotations

import errno
import socket
import ssl
import termios
from pathlib import Path

import pytest

from drivers import os_errors


def test_a_firewall_is_no_matter_of_groups() -> None:
    error = PermissionError(errno.EPERM, "connect")
    assert "dialout" in os_errors.of_port(error).hint
    assert os_errors.of_network(error, "scale-1", {}) == ("Operation not permitted", "")


def test_a_hint_of_the_family_comes_before_that_of_all() -> None:
    error = OSError(errno.EHOSTUNREACH, "connect")
    assert os_errors.of_network(error, "scale-1", {}).hint == "check cable, power and address"
    assert os_errors.of_network(error, "scale-1", {errno.EHOSTUNREACH: "walk there"}).hint == "walk there"


def test_a_host_without_an_address_is_named() -> None:
    words = os_errors.of_network(socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "scale-1", {})
    assert words.text == "the host name scale-1 does not resolve (Name or service not known)"


def _configure_as_pyserial(descriptor: int) -> None:
    try:
        termios.tcgetattr(descriptor)
    except termios.error as error:
        raise OSError(f"Could not configure port: {error}")  # noqa: B904


def test_the_number_that_pyserial_hides_is_found(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(OSError, match="Could not configure") as caught:
        _configure_as_pyserial(file.fileno())
    assert os_errors.of_port(caught.value) == ("Inappropriate ioctl for device", "it is not a serial port")


def test_words_of_a_library_stay_where_the_system_has_none() -> None:
    assert os_errors.of_port(ValueError("not a valid baudrate")) == ("not a valid baudrate", "")


def test_what_openssl_numbers_is_not_taken_for_a_number_of_the_system() -> None:
    context = ssl.create_default_context()
    incoming = ssl.MemoryBIO()
    incoming.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    connection = context.wrap_bio(incoming, ssl.MemoryBIO(), server_hostname="reader-1")
    with pytest.raises(ssl.SSLError) as caught:
        connection.do_handshake()
    assert caught.value.errno == errno.EPERM
    assert os_errors.text(caught.value) == "wrong version number"
