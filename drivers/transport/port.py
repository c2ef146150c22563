"""Serial ports. pyserial opens and sets them up; reading and writing is the event loop's, without a thread."""

from __future__ import annotations

import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import serial

from drivers.transport import failure
from drivers.transport.descriptor import DescriptorStream
from drivers.transport.endpoint import SerialEndpoint, SerialLine


@contextmanager
def opened_port(endpoint: SerialEndpoint) -> Iterator[DescriptorStream]:
    """The port for this process alone, set up and empty. Raises `DeviceUnavailable` on entering."""
    # A pseudo-terminal is no line: it carries bytes, and the kernel refuses any other frame than 8N1.
    is_pseudo = Path(endpoint.path).resolve().is_relative_to("/dev/pts")
    line = SerialLine(endpoint.line.baudrate) if is_pseudo else endpoint.line
    try:
        port = serial.Serial(
            endpoint.path,
            baudrate=line.baudrate,
            bytesize=line.bytesize,
            parity=line.parity,
            stopbits=line.stopbits,
            timeout=0,
            exclusive=True,
        )
    except (OSError, ValueError, termios.error) as error:
        raise failure.cannot_open(endpoint, error) from error
    try:
        descriptor = port.fileno()
        try:
            _tell_errors_from_data(descriptor)
        except termios.error as error:
            raise failure.cannot_open(endpoint, error) from error
        yield DescriptorStream(descriptor, endpoint)
    finally:
        with suppress(OSError, termios.error):  # else closing waits for what a dead line will never take
            termios.tcflush(port.fileno(), termios.TCOFLUSH)
        port.close()


def _tell_errors_from_data(descriptor: int) -> None:
    """What pyserial leaves out, see termios(3).

    INPCK without PARMRK: a character with a parity or framing error is read as NUL, which is no digit anywhere.
    VMIN 1: a read of nothing means that the port is gone; with pyserial's 0 it also means that nothing has come yet.
    """
    iflag, oflag, cflag, lflag, ispeed, ospeed, control = termios.tcgetattr(descriptor)
    iflag = (iflag | termios.INPCK) & ~(termios.IGNPAR | termios.PARMRK | termios.BRKINT)
    control[termios.VMIN] = 1
    control[termios.VTIME] = 0
    termios.tcsetattr(descriptor, termios.TCSANOW, [iflag, oflag, cflag, lflag, ispeed, ospeed, control])
