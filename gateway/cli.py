"""`hub-gateway`: what an operator types. Errors come without a traceback; exit codes are those of sysexits.h."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from enum import IntEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from drivers import registry
from gateway.logs import LogFormat, start_logging

if TYPE_CHECKING:
    from gateway.config import Settings


_BUFFER_VIEWS = {
    "status": "how much is held, waiting for each destination, set aside and dropped",
    "tail": "the newest readings that wait, as JSON lines",
    "export": "all readings that wait, oldest first, as JSON lines",
    "set-aside": "readings that a destination has refused, with the reason, as JSON lines",
}


_CANNOT_PRINT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""`hub-gateway buffer export > FILE` on a full disk, on one that fails."""


class Exit(IntEnum):
    """Exit codes; the non-zero ones are those of sysexits.h."""

    OK = 0
    INCOMPLETE = 65
    UNAVAILABLE = 69
    IO_ERROR = 74
    CONFIG = 78


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parsed = _parser().parse_args(arguments)
    parsed.log_format = LogFormat(parsed.log_format) if parsed.log_format else None
    # What goes wrong in a live check stands in its table.
    parsed.log_level = parsed.log_level or ("error" if getattr(parsed, "live", False) else "info")
    start_logging(parsed.log_format, level=parsed.log_level)
    command: Callable[[argparse.Namespace], Exit] = parsed.command
    try:
        code = command(parsed)
        sys.stdout.flush()
    except BrokenPipeError:  # `hub-gateway … | head`
        _drop_output()
        return Exit.OK
    except OSError as error:
        if error.filename is not None or error.errno not in _CANNOT_PRINT:
            raise
        _drop_output()
        print(f"hub-gateway: cannot write the output: {error.strerror}", file=sys.stderr)
        return Exit.IO_ERROR
    return code


def _drop_output() -> None:
    """Throw away what Python still flushes on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(parsed: argparse.Namespace) -> Exit:
    # Until there are handlers, a reload or a stop that is asked for waits, rather than ending the process in any way.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP, signal.SIGINT, signal.SIGTERM))
    settings = _load(parsed.config)
    if settings is None:
        return Exit.CONFIG
    # Imported here, as in every command: `check` on a small box should not wait for what only `run` needs.
    from gateway.app import run_until_stopped
    from gateway.buffer import BufferUnavailable

    try:
        lost = run_until_stopped(settings, config=parsed.config)
    except BufferUnavailable as error:
        print(f"hub-gateway: {error}", file=sys.stderr)
        return Exit.IO_ERROR
    return Exit.IO_ERROR if lost else Exit.OK


def _check(parsed: argparse.Namespace) -> Exit:
    settings = _load(parsed.config)
    if settings is None:
        return Exit.CONFIG
    points = sum(len(device.points) for device in settings.devices)
    print(
        f"{parsed.config}: OK, {len(settings.devices)} devices with {points} points, "
        f"{len(settings.destinations)} destinations"
    )
    if not parsed.live:
        return Exit.OK
    from gateway.live_command import print_live_check

    print()
    return Exit.OK if print_live_check(settings.devices, state_folder=settings.state_folder) else Exit.UNAVAILABLE


def _points(parsed: argparse.Namespace) -> Exit:
    settings = _load(parsed.config)
    if settings is None:
        return Exit.CONFIG
    from gateway.points_command import print_plan

    print_plan(settings.devices)
    return Exit.OK


def _schema(_parsed: argparse.Namespace) -> Exit:
    from gateway.config import json_schema

    print(orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2).decode())
    return Exit.OK


def _buffer(parsed: argparse.Namespace) -> Exit:
    settings = _load(parsed.config)
    if settings is None:
        return Exit.CONFIG
    from gateway.buffer import BufferUnavailable, UnknownDestination
    from gateway.buffer_command import print_buffer, send_again

    try:
        if parsed.retry:
            send_again(settings, destination=parsed.destination)
            return Exit.OK
        print_buffer(parsed.what, settings, destination=parsed.destination, count=parsed.count)
    except UnknownDestination as error:
        print(f"hub-gateway: {error}", file=sys.stderr)
        return Exit.CONFIG
    except BufferUnavailable as error:
        print(f"hub-gateway: {error}", file=sys.stderr)
        return Exit.IO_ERROR
    return Exit.OK


def _audit(parsed: argparse.Namespace) -> Exit:
    from gateway.audit_command import Outcome, run_audit
    from gateway.audit_options import BadOption, audit_of
    from gateway.buffer import BufferUnavailable, UnknownDestination

    settings = None
    if parsed.config is not None:
        settings = _load(parsed.config)
        if settings is None:
            return Exit.CONFIG
    try:
        what = audit_of(parsed, settings)
    except BadOption as error:
        print(f"hub-gateway audit: {error}", file=sys.stderr)
        return Exit.CONFIG
    try:
        outcome = run_audit(what, for_s=parsed.for_s, as_json=parsed.json)
    except UnknownDestination as error:
        print(f"hub-gateway audit: {error}", file=sys.stderr)
        return Exit.CONFIG
    except BufferUnavailable as error:
        print(f"hub-gateway audit: {error}", file=sys.stderr)
        return Exit.IO_ERROR
    except OSError as error:
        print(f"hub-gateway audit: cannot listen to {what.destination.url}: {error}", file=sys.stderr)
        return Exit.UNAVAILABLE
    return {Outcome.COMPLETE: Exit.OK, Outcome.INCOMPLETE: Exit.INCOMPLETE, Outcome.UNPROVEN: Exit.UNAVAILABLE}[outcome]


def _demo(parsed: argparse.Namespace) -> Exit:
    try:
        from gateway.demo import DemoUnavailable, run_demo
    except ModuleNotFoundError as error:
        print(f"hub-gateway demo: {error}; install it with: pip install 'hub-gateway[demo]'", file=sys.stderr)
        return Exit.UNAVAILABLE
    try:
        run_demo(
            for_s=parsed.for_s,
            broker=parsed.broker,
            listen=parsed.listen,
            folder=parsed.dir,
            log_format=parsed.log_format,
            log_level=parsed.log_level,
        )
    except DemoUnavailable as error:
        print(f"hub-gateway demo: {error}", file=sys.stderr)
        return Exit.UNAVAILABLE
    return Exit.OK


def _load(path: Path) -> Settings | None:
    """The settings in the file, or None after telling everything that is wrong with it."""
    from gateway.config import ConfigError, load

    try:
        return load(path)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hub-gateway", description="Edge gateway for logistics hubs.")
    parser.add_argument("--version", action="version", version=f"hub-gateway {version('hub-gateway')}")
    logging = _LateParser(add_help=False)
    logging.add_argument(
        "--log-format", choices=[one.value for one in LogFormat], help="default: text, with priorities for the journal"
    )
    logging.add_argument("--log-level", choices=["debug", "info", "warning", "error"], help="default: info")
    config = _LateParser(add_help=False)
    config.add_argument("-c", "--config", type=Path, required=True, metavar="FILE", help="the config file (YAML)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_LateParser)

    _add_tools(commands, parents=[logging])

    def add(
        name: str, command: Callable[[argparse.Namespace], Exit], text: str, *, with_config: bool = True
    ) -> argparse.ArgumentParser:
        parents = [logging, config] if with_config else [logging]
        added = commands.add_parser(name, parents=parents, help=text, description=text)
        added.set_defaults(command=command)
        return added

    add("run", _run, "the daemon: read, buffer, forward until SIGTERM")
    check = add("check", _check, "validate a config file and tell everything that is wrong with it")
    check.add_argument("--live", action="store_true", help="also connect to every device and read each point once")
    add("points", _points, "every point with the request that will fetch it")
    add("schema", _schema, "JSON Schema of the config file, for editors", with_config=False)
    buffer = commands.add_parser("buffer", help="what is waiting, per destination; works while the daemon runs")
    buffer.set_defaults(command=_buffer, destination=None, count=0, retry=False)
    views = buffer.add_subparsers(required=True, dest="what", metavar="WHAT")
    for name, text in _BUFFER_VIEWS.items():
        view = views.add_parser(name, parents=[logging, config], help=text, description=text)
        if name in {"tail", "export"}:
            view.add_argument("--destination", metavar="NAME", help="only what this destination has not acknowledged")
        if name == "set-aside":
            view.add_argument("--destination", metavar="NAME", help="only what this destination has refused")
            view.add_argument("--retry", action="store_true", help="have them sent again, under their old ids")
        if name == "tail":
            view.add_argument("-n", "--count", type=_count, default=20, metavar="N", help="how many (default 20)")
    audit = add("audit", _audit, "listen to a broker and prove that no reading is missing", with_config=False)
    whence = audit.add_mutually_exclusive_group(required=True)
    whence.add_argument("--broker", metavar="URL", help="for example mqtts://broker.example:8883")
    whence.add_argument("-c", "--config", type=Path, metavar="FILE", help="that of the gateway on this machine")
    audit.add_argument("--destination", metavar="NAME", help="with -c, when it has several")
    audit.add_argument("--topic", metavar="FILTER", help="default: hub/#, or that of the destination")
    audit.add_argument("--username", metavar="NAME", help="with --broker")
    audit.add_argument("--password-file", type=Path, metavar="FILE", help="its first line is the password")
    for name, text in (("ca", "what the broker's is checked against"), ("certificate", "our own"), ("key", "of that")):
        audit.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"{text} (PEM)")
    audit.add_argument("--for", dest="for_s", type=_duration, metavar="DURATION", help="stop after, for example, 10m")
    audit.add_argument("--json", action="store_true", help="print the verdict as one JSON object")
    demo = add("demo", _demo, "a simulated hub, a broker and the gateway, live in this terminal", with_config=False)
    demo.add_argument("--for", dest="for_s", type=_duration, metavar="DURATION", help="stop after, for example, 30s")
    demo.add_argument("--broker", metavar="URL", help="use this broker, for example mqtt://127.0.0.1:1883")
    demo.add_argument(
        "--listen", metavar="HOST:PORT", help="where the status page is (default: 127.0.0.1:9464, or a free port)"
    )
    demo.add_argument("--dir", type=Path, metavar="DIR", help="keep buffer and logs here (default: a new folder)")
    return parser


class _LateParser(argparse.ArgumentParser):
    """A parser that learns what its command takes when the command is typed, so that nothing else is imported."""

    learn: Callable[[argparse.ArgumentParser], None] | None = None

    def parse_known_args(self, *arguments: Any, **keywords: Any) -> Any:
        if self.learn is not None:
            learn, self.learn = self.learn, None
            learn(self)
        return super().parse_known_args(*arguments, **keywords)


def _add_tools(
    commands: argparse._SubParsersAction[_LateParser],
    *,
    parents: list[_LateParser],
) -> None:
    """The commands that driver families bring."""
    groups: dict[str, argparse._SubParsersAction[_LateParser]] = {}
    for tool in registry.TOOLS:
        within = commands
        if len(tool.words) > 1:
            first = tool.words[0]
            if first not in groups:
                texts = "; ".join(other.text for other in registry.TOOLS if other.words[0] == first)
                group = commands.add_parser(first, help=texts)
                groups[first] = group.add_subparsers(required=True, metavar="WHAT", parser_class=_LateParser)
            within = groups[first]
        parser = within.add_parser(tool.words[-1], parents=parents, help=tool.text, description=tool.text)
        parser.learn = _arguments_of(tool)
        parser.set_defaults(command=_run_tool, tool=tool)


def _arguments_of(tool: registry.Tool) -> Callable[[argparse.ArgumentParser], None]:
    return lambda parser: tool.load().add_arguments(parser)


def _run_tool(parsed: argparse.Namespace) -> Exit:
    from drivers.contract import DriverError

    tool: registry.Tool = parsed.tool
    try:
        return Exit(tool.load().run(parsed))
    except DriverError as error:
        print(f"hub-gateway {' '.join(tool.words)}: {error}", file=sys.stderr)
        return Exit.UNAVAILABLE
    except KeyboardInterrupt:
        return Exit.OK


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = -1
    if count < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return count


def _duration(text: str) -> float:
    from drivers.settings import duration_s

    try:
        return duration_s(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
