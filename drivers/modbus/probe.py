"""`hub-gateway probe modbus`: what a device really has, for the person who commissions it. Only reads."""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections import deque
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from pydantic import ValidationError

from drivers.contract import BadResponse, DeviceUnavailable
from drivers.modbus.dialect import Dialect
from drivers.modbus.endpoint import Endpoint, TcpEndpoint, parse_endpoint
from drivers.modbus.failure import NoAnswer, Refused
from drivers.modbus.line import Asker, open_line
from drivers.modbus.point import ADDRESSES, MAX_BITS, MAX_REGISTERS, Range, Table
from drivers.modbus.probe_table import Sweep, lines
from drivers.modbus.request import ReadRequest
from drivers.settings import duration_s
from drivers.tls import DeviceTlsSettings

_OK, _UNAVAILABLE = 0, 69
_INTERRUPTED = 130
"""What shells expect of a program that was ended by Ctrl-C."""
_BY_GATEWAY = (10, 11)
"""Exceptions with which a Modbus gateway says that the unit behind it is silent: not an answer of the unit."""


def add_arguments(parser: ArgumentParser) -> None:
    """As `drivers.contract.ToolModule.add_arguments`."""
    parser.set_defaults(refuse=parser.error)
    parser.add_argument("url", metavar="URL", help="as in the config file: tcp://host:502, rtu:///dev/ttyUSB0?…")
    units = parser.add_mutually_exclusive_group()
    units.add_argument("--unit", type=_unit, metavar="N", help="whose registers to show (default 1)")
    units.add_argument("--scan", type=_units, metavar="FIRST-LAST", help="which of these units answer at all")
    parser.add_argument("--table", type=Table, choices=list(Table), default=Table.HOLDING, help="default: holding")
    parser.add_argument(
        "--range", type=_addresses, default=(0, 31), metavar="FIRST-LAST", help="addresses (default 0-31)"
    )
    parser.add_argument(
        "--offset", type=int, default=0, metavar="N", help="added to each address on the wire, as address_offset"
    )
    parser.add_argument("--timeout", type=_duration, default=0.5, metavar="DURATION", help="default 500ms")
    tls = parser.add_argument_group("for tls://, as below tls: in the config file")
    for name in ("ca", "certificate", "key"):
        tls.add_argument(f"--{name}", type=Path, metavar="FILE")
    tls.add_argument("--server-name", metavar="NAME")
    tls.add_argument("--no-verify", action="store_true", help="whoever answers may be the device")


def run(options: Namespace) -> int:
    """As `drivers.contract.ToolModule.run`."""
    try:
        endpoint, tls = _endpoint(options)
    except ValueError as error:
        options.refuse(str(error))
    first, last = options.range
    probe = _Probe(endpoint, tls, Range(options.table, first, last + 1), Dialect(options.offset), options.timeout)
    try:
        return asyncio.run(probe.show(_unit_of(options)) if options.scan is None else probe.scan(options.scan))
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None


class _Probe:
    def __init__(
        self, endpoint: Endpoint, tls: DeviceTlsSettings | None, span: Range, dialect: Dialect, timeout_s: float
    ) -> None:
        self._endpoint, self._tls, self._span = endpoint, tls, span
        self._dialect, self._timeout_s = dialect, timeout_s

    async def show(self, unit: int) -> int:
        """Every address of the range, and what its registers mean in pairs."""
        sweep = Sweep()
        async with self._open() as line:
            for span in self._whole_requests():
                await self._sweep(line, unit, span, sweep)
        if sweep.stopped_by is not None and not sweep.values and not sweep.refused:
            raise sweep.stopped_by
        asked = self._dialect.text(self._dialect.reads[self._span.table], self._span)
        print(f"unit {unit} on {self._endpoint.link}: {asked}")
        print(*lines(self._span, sweep), sep="\n")
        if sweep.stopped_by is not None:
            print(f"not read further: {sweep.stopped_by}", file=sys.stderr)
        return _OK

    async def scan(self, units: tuple[int, int]) -> int:
        """Every unit that answers, with what its first address holds or which exception it gives."""
        waiting, found = deque(range(units[0], units[1] + 1)), 0
        while waiting:
            async with self._open() as line:
                while waiting:
                    unit = waiting.popleft()
                    _show_progress(f"unit {unit} of {units[0]}-{units[1]}")
                    try:
                        answer = await self._answer(line, unit)
                    except DeviceUnavailable:  # hung up on this unit; the others get a new connection
                        break
                    finally:
                        _show_progress("")
                    if answer:
                        print(f"unit {unit}: {answer}", flush=True)
                        found += 1
        print(f"{found} of {units[1] - units[0] + 1} units answer on {self._endpoint.link}")
        return _OK if found else _UNAVAILABLE

    def _open(self) -> AbstractAsyncContextManager[Asker]:
        return open_line(self._endpoint, timeout_s=self._timeout_s, tls=self._tls)

    def _whole_requests(self) -> list[Range]:
        most = MAX_BITS if self._span.table.holds_bits else MAX_REGISTERS
        starts = range(self._span.start, self._span.end, most)
        return [Range(self._span.table, start, min(start + most, self._span.end)) for start in starts]

    async def _sweep(self, line: Asker, unit: int, span: Range, sweep: Sweep) -> None:
        """Read what can be read of `span`, in halves of halves where it is refused."""
        if sweep.stopped_by is not None:
            return
        addresses = range(span.start, span.end)
        try:
            data = await self._ask(line, unit, span)
        except Refused as refusal:
            if refusal.code in _BY_GATEWAY:
                sweep.stopped_by = refusal
            elif refusal.may_be_part and len(addresses) > 1:
                middle = addresses[len(addresses) // 2]
                await self._sweep(line, unit, Range(span.table, span.start, middle), sweep)
                await self._sweep(line, unit, Range(span.table, middle, span.end), sweep)
            else:
                sweep.refused.update(dict.fromkeys(addresses, refusal.name))
        except (NoAnswer, DeviceUnavailable) as error:
            sweep.stopped_by = error
        except BadResponse as error:
            sweep.refused.update(dict.fromkeys(addresses, f"not understood: {error.message}"))
        else:
            sweep.add(span, data)

    async def _answer(self, line: Asker, unit: int) -> str | None:
        found, first = Sweep(), Range(self._span.table, self._span.start, self._span.start + 1)
        try:
            found.add(first, await self._ask(line, unit, first))
        except Refused as refusal:
            return None if refusal.code in _BY_GATEWAY else refusal.name
        except NoAnswer:
            return None
        except BadResponse as error:
            return f"not understood: {error.message}"
        return f"{first} = {found.values[first.start]}"

    async def _ask(self, line: Asker, unit: int, span: Range) -> bytes:
        return await line.ask(ReadRequest(span, unit=unit, dialect=self._dialect), timeout_s=self._timeout_s)


def _endpoint(options: Namespace) -> tuple[Endpoint, DeviceTlsSettings | None]:
    """Raises ValueError for options that do not go together."""
    endpoint = parse_endpoint(options.url)
    units, (first, last) = options.scan or (_unit_of(options),) * 2, options.range
    if not endpoint.framing.has_transactions and not 1 <= units[0] <= units[1] <= 247:
        raise ValueError("units on a serial line are 1 to 247 (0 is the broadcast)")
    if not 0 <= first + options.offset <= last + options.offset < ADDRESSES:
        raise ValueError(f"{first}-{last} with an offset of {options.offset} is not on the wire")
    return endpoint, _tls(options, endpoint)


def _unit_of(options: Namespace) -> int:
    """Not argparse's default, with which `--unit 1` would go unnoticed beside `--scan`."""
    return 1 if options.unit is None else int(options.unit)


def _tls(options: Namespace, endpoint: Endpoint) -> DeviceTlsSettings | None:
    given = {name: getattr(options, name) for name in ("ca", "certificate", "key", "server_name")}
    if isinstance(endpoint, TcpEndpoint) and endpoint.encrypted:
        try:
            return DeviceTlsSettings.model_validate({**given, "verify": not options.no_verify})
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    if any(given.values()) or options.no_verify:
        raise ValueError(f"{endpoint.link} is not encrypted, so the options for tls:// have no effect")
    return None


def _show_progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _unit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= 255):
        raise ArgumentTypeError(f'"{text}" is not a unit; they are 0 to 255')
    return int(text)


def _units(text: str) -> tuple[int, int]:
    first, last = _pair(text)
    return _unit(str(first)), _unit(str(last))


def _addresses(text: str) -> tuple[int, int]:
    first, last = _pair(text)
    if last >= ADDRESSES:
        raise ArgumentTypeError(f'"{text}" runs beyond the last address, {ADDRESSES - 1}')
    return first, last


def _pair(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not all(part.isascii() and part.isdecimal() and len(part) < 6 for part in (first, last if dash else first)):
        raise ArgumentTypeError(f'"{text}" is not a range; write for example 0-31')
    pair = int(first), int(last if dash else first)
    if pair[0] > pair[1]:
        raise ArgumentTypeError(f'"{text}" ends before it starts')
    return pair


def _duration(text: str) -> float:
    try:
        seconds = duration_s(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
    if seconds <= 0:
        raise ArgumentTypeError(f"{text} is no time to wait")
    return seconds
