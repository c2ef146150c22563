"""Serial ports."""

from __future__ import annotations

import errno
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from drivers.contract import DeviceUnavailable
from drivers.transport import open_stream, parse_url
from drivers.transport.failure import cannot_open
from tests.drivers.transport.conftest import Terminal


async def test_a_port_that_is_not_there_asks_for_the_adapter() -> None:
    with pytest.raises(DeviceUnavailable) as caught:
        async with open_stream(parse_url("serial:///dev/nowhere?parity=E&bytesize=7"), timeout_s=1.0):
            pass
    assert caught.value.message == "cannot open /dev/nowhere (9600 7E1): No such file or directory"
    assert "plugged in" in caught.value.hint


async def test_a_port_is_for_one_program_alone(terminal: Terminal) -> None:
    async with open_stream(parse_url(terminal.url), timeout_s=1.0):
        with pytest.raises(DeviceUnavailable) as caught:
            async with open_stream(parse_url(terminal.url), timeout_s=1.0):
                pass
    assert caught.value.hint == "another program has the port open; stop it"


async def test_a_file_is_no_port(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(DeviceUnavailable) as caught:
        async with open_stream(parse_url(f"serial://{file}"), timeout_s=1.0):
            pass
    assert caught.value.hint == "it is not a serial port"


def test_a_port_of_another_group_tells_which_group_to_join() -> None:
    error = cannot_open(parse_url("serial:///dev/ttyS0"), PermissionError(errno.EACCES, "could not open port"))
    assert error.message == "cannot open /dev/ttyS0 (9600 8N1): Permission denied"
    assert "dialout" in error.hint


async def test_a_broken_character_is_not_handed_on_as_if_it_were_whole(terminal: Terminal) -> None:
    async with open_stream(parse_url(terminal.url), timeout_s=1.0):
        iflag, *_, control = termios.tcgetattr(terminal.master)  # a pseudo-terminal has one set for both sides
    assert iflag & termios.INPCK
    assert not iflag & (termios.IGNPAR | termios.PARMRK | termios.ISTRIP)
    assert control[termios.VMIN] in (1, b"\x01")


async def test_a_pseudo_terminal_carries_bytes_whatever_the_line_settings(terminal: Terminal) -> None:
    url = f"{terminal.url}?baudrate=2400&bytesize=7&parity=E&stopbits=2"
    async with open_stream(parse_url(url), timeout_s=1.0) as stream:
        terminal.send(b"12.340")
        assert await stream.read() == b"12.340"


@pytest.mark.parametrize("module", ["drivers.transport", "drivers.transport.rfc2217"])
def test_pyserial_is_not_imported_before_a_port_is_opened(module: str) -> None:
    code = f"import sys, {module}; sys.exit('serial' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
