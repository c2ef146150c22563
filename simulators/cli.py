"""`hub-simulators`: a simulated hub, or a fleet of devices, as a process of its own.

The first line on standard output is JSON and says where everything is:
`{"ready": true, "endpoints": {"<name>": "<url>", …}, "control": "http://127.0.0.1:PORT"}`. `ledger` opens nothing: it
prints what happens in a hub as fast as it can be calculated. Exit codes: 0 after SIGINT, SIGTERM or `--for`; 78 bad
layout; 69 a port or pseudo-terminal cannot be had; 73 the ledger cannot be written; 2 bad usage.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from simulators.endpoint import EndpointError
from simulators.fleet import FleetSpec, fleet
from simulators.hub import Hub
from simulators.layout import DEFAULT_LAYOUT, LAYOUTS, LayoutError, load_layout
from simulators.ledger import Entry
from simulators.machine import STEP_S
from simulators.running import simulate
from simulators.settings import split_listen

EX_UNAVAILABLE = 69
EX_CANTCREAT = 73
EX_CONFIG = 78

_UNITS_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class LedgerError(Exception):
    """The ledger cannot be written; the message says where and why."""


_EXIT_CODES = {LayoutError: EX_CONFIG, EndpointError: EX_UNAVAILABLE, LedgerError: EX_CANTCREAT}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.do
    try:
        return run(options)
    except argparse.ArgumentError as error:
        parser.error(error.message)
    except (LayoutError, EndpointError, LedgerError) as error:
        print(error, file=sys.stderr)
        return _EXIT_CODES[type(error)]


def _run(options: argparse.Namespace) -> int:
    return asyncio.run(_hub(options))


def _fleet(options: argparse.Namespace) -> int:
    host, port = options.listen
    try:
        spec = FleetSpec(
            options.devices,
            options.points,
            host=host,
            port=port,
            period_s=options.period,
            one_port=options.one_port,
        )
    except ValueError as error:
        raise argparse.ArgumentError(None, str(error)) from error
    return asyncio.run(_devices(spec, for_s=options.for_s))


def _broker(options: argparse.Namespace) -> int:
    return asyncio.run(_mqtt(options))


async def _hub(options: argparse.Namespace) -> int:
    layout = load_layout(options.layout, fraction=options.fraction)
    with ExitStack() as files:
        ledger = None if options.ledger is None else _ledger_file(options.ledger, files)
        async with simulate(layout, seed=options.seed, speed_factor=options.speed_factor, ledger=ledger) as running:
            await _until_told(running.endpoints, running.control_url, for_s=options.for_s)
    return 0


def _ledger(options: argparse.Namespace) -> int:
    twin = Hub(load_layout(options.layout, fraction=options.fraction).spec(), seed=options.seed)
    twin.ledger.tell(lambda entry: print(entry.line()))
    try:
        for _ in range(round(options.for_s / STEP_S)):
            twin.step(STEP_S)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _ledger_file(path: Path, files: ExitStack) -> Callable[[Entry], None]:
    """Writes every entry at once, so that it can be followed. Raises `LedgerError`."""
    try:
        file = files.enter_context(path.open("w", encoding="utf-8", buffering=1))
    except OSError as error:
        raise LedgerError(f"the ledger {path} cannot be written: {error.strerror}") from error
    return lambda entry: print(entry.line(ts_ms=time.time_ns() // 1_000_000), file=file)


async def _devices(spec: FleetSpec, *, for_s: float | None) -> int:
    async with fleet(spec) as running:
        await _until_told(running.endpoints, running.control_url, for_s=for_s)
    return 0


async def _mqtt(options: argparse.Namespace) -> int:
    from simulators.broker import broker  # noqa: PLC0415  amqtt takes longer to import than all the rest

    host, port = options.listen
    async with broker(host, port) as url:
        await _until_told({"broker": url}, None, for_s=options.for_s)
    return 0


async def _until_told(endpoints: Mapping[str, str], control_url: str | None, *, for_s: float | None) -> None:
    """Say that everything is ready, then wait for a signal or for `for_s`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    ready = {"ready": True, "endpoints": dict(endpoints)} | ({"control": control_url} if control_url else {})
    print(json.dumps(ready), flush=True)
    try:
        async with asyncio.timeout(for_s):
            await stop.wait()
    except TimeoutError:
        return


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hub-simulators", description="Simulated hub machines for gateways to talk to."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="run the machines of a layout in real time")
    run.set_defaults(do=_run)
    _add_hub(run)
    run.add_argument("--speed-factor", type=_factor, default=1.0, help="how much faster time passes (default 1)")
    run.add_argument("--ledger", type=Path, metavar="FILE", help="write what truly happens there, as JSON lines")
    _add_for(run)

    ledger = commands.add_parser("ledger", help="print what happens in a hub, without sockets and without waiting")
    ledger.set_defaults(do=_ledger)
    _add_hub(ledger)
    ledger.add_argument(
        "--for", dest="for_s", type=_duration, default=3600.0, metavar="TIME", help="simulated time (default 1h)"
    )

    load = commands.add_parser("fleet", help="serve many Modbus TCP devices whose registers all change")
    load.set_defaults(do=_fleet)
    load.add_argument("--devices", type=int, default=200)
    load.add_argument("--points", type=int, default=100, help="holding registers of each device")
    load.add_argument(
        "--listen", type=_listen, default=("127.0.0.1", 0), help="host and first port (default 127.0.0.1:0)"
    )
    load.add_argument("--period", type=_duration, default=0.2, help="how often all values change (default 200ms)")
    load.add_argument("--one-port", action="store_true", help="one port, devices are unit ids")
    _add_for(load)

    broker = commands.add_parser("broker", help="an MQTT broker for machines that have none")
    broker.set_defaults(do=_broker)
    broker.add_argument("--listen", type=_listen, default=("127.0.0.1", 0), help="host and port (default 127.0.0.1:0)")
    _add_for(broker)
    return parser


def _add_hub(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "layout",
        type=_layout,
        nargs="?",
        default=DEFAULT_LAYOUT,
        help=f"layout file, or one of {', '.join(_shipped())} (default {DEFAULT_LAYOUT.stem})",
    )
    command.add_argument("--seed", type=int, default=0, help="same seed, same parcels (default 0)")
    command.add_argument("--fraction", type=_fraction, help="how much of a layout that repeats, for example 0.1")


def _add_for(command: argparse.ArgumentParser) -> None:
    command.add_argument("--for", dest="for_s", type=_duration, metavar="TIME", help="stop by itself, for example 30s")


def _duration(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text)
    if match is None or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} needs a number and a unit (ms, s, m, h, d), for example 30s")
    return float(match[1]) * _UNITS_S[match[2]]


def _factor(text: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text) is None or not 0 < float(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to 1000")
    return float(text)


def _fraction(text: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text) is None or not 0 < float(text) <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to 1")
    return float(text)


def _layout(text: str) -> Path:
    """A file, or the name of a layout that is shipped."""
    return LAYOUTS / f"{text}.yaml" if text in _shipped() else Path(text)


def _shipped() -> list[str]:
    return sorted(path.stem for path in LAYOUTS.glob("*.yaml"))


def _listen(text: str) -> tuple[str, int]:
    try:
        return split_listen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
