"""`hub-gateway`: what an operator types. Errors come without a traceback; exit codes are those of sysexits.h."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from gateway.arguments import parser_of
from gateway.logs import LogFormat, start_logging

if TYPE_CHECKING:
    from drivers import registry
    from gateway.config import Settings


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
    return parser_of(
        {
            "run": _run,
            "check": _check,
            "points": _points,
            "schema": _schema,
            "buffer": _buffer,
            "audit": _audit,
            "demo": _demo,
        },
        tool=_run_tool,
    )


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
