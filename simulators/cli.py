"""`hub-simulators`: a simulated hub, or a fleet of devices, as a process of its own.

The first line on standard output is JSON and says where everything is:
`{"ready": true, "endpoints": {"<name>": "<url>", …}, "control": "http://127.0.0.1:PORT"}`. Exit codes: 0 after SIGINT,
SIGTERM or `--for`; 78 bad layout; 69 a port or pseudo-terminal cannot be had; 2 bad usage.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from simulators.endpoint import EndpointError
from simulators.fleet import FleetSpec, fleet
from simulators.layout import DEFAULT_LAYOUT, LayoutError, load_layout, split_listen
from simulators.running import simulate

EX_UNAVAILABLE = 69
EX_CONFIG = 78

_UNITS_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.command == "run":
            return asyncio.run(_run(options))
        if options.command == "broker":
            return asyncio.run(_broker(options))
        try:
            host, port = options.listen
            spec = FleetSpec(
                options.devices,
                options.points,
                host=host,
                port=port,
                period_s=options.period,
                one_port=options.one_port,
            )
        except ValueError as error:
            parser.error(str(error))
        return asyncio.run(_fleet(spec, for_s=options.for_s))
    except LayoutError as error:
        print(error, file=sys.stderr)
        return EX_CONFIG
    except EndpointError as error:
        print(error, file=sys.stderr)
        return EX_UNAVAILABLE


async def _run(options: argparse.Namespace) -> int:
    layout = load_layout(options.layout)
    async with simulate(layout, seed=options.seed, speed_factor=options.speed_factor) as running:
        await _until_told(running.endpoints, running.control_url, for_s=options.for_s)
    return 0


async def _fleet(spec: FleetSpec, *, for_s: float | None) -> int:
    async with fleet(spec) as running:
        await _until_told(running.endpoints, running.control_url, for_s=for_s)
    return 0


async def _broker(options: argparse.Namespace) -> int:
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
    run.add_argument("layout", type=Path, nargs="?", default=DEFAULT_LAYOUT, help="layout file (default: a small line)")
    run.add_argument("--seed", type=int, default=0, help="same seed, same parcels (default 0)")
    run.add_argument("--speed-factor", type=_factor, default=1.0, help="how much faster time passes (default 1)")
    _add_for(run)

    load = commands.add_parser("fleet", help="serve many Modbus TCP devices whose registers all change")
    load.add_argument("--devices", type=int, default=200)
    load.add_argument("--points", type=int, default=100, help="holding registers of each device")
    load.add_argument(
        "--listen", type=_listen, default=("127.0.0.1", 0), help="host and first port (default 127.0.0.1:0)"
    )
    load.add_argument("--period", type=_duration, default=0.2, help="how often all values change (default 200ms)")
    load.add_argument("--one-port", action="store_true", help="one port, devices are unit ids")
    _add_for(load)

    broker = commands.add_parser("broker", help="an MQTT broker for machines that have none")
    broker.add_argument("--listen", type=_listen, default=("127.0.0.1", 0), help="host and port (default 127.0.0.1:0)")
    _add_for(broker)
    return parser


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


def _listen(text: str) -> tuple[str, int]:
    try:
        return split_listen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
