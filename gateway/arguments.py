"""What can be typed after `hub-gateway`: commands, options, their help."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from drivers import registry
from gateway.logs import LogFormat

Command = Callable[[argparse.Namespace], int]
"""Runs what was typed; returns the exit code."""

_BUFFER_VIEWS = {
    "status": "how much is held, waiting for each destination, set aside and dropped",
    "tail": "the newest readings that wait, as JSON lines",
    "export": "all readings that wait, oldest first, as JSON lines",
    "set-aside": "readings that a destination has refused, with the reason, as JSON lines",
}


def parser_of(commands: Mapping[str, Command], *, tool: Command) -> argparse.ArgumentParser:
    """What is parsed has the `command` to run; `tool` runs one that a driver family brings, the parsed `tool`."""
    parser = argparse.ArgumentParser(prog="hub-gateway", description="Edge gateway for logistics hubs.")
    parser.add_argument("--version", action="version", version=f"hub-gateway {version('hub-gateway')}")
    logging = _LateParser(add_help=False)
    logging.add_argument(
        "--log-format", choices=[one.value for one in LogFormat], help="default: text, with priorities for the journal"
    )
    logging.add_argument("--log-level", choices=["debug", "info", "warning", "error"], help="default: info")
    config = _LateParser(add_help=False)
    config.add_argument("-c", "--config", type=Path, required=True, metavar="FILE", help="the config file (YAML)")
    words = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_LateParser)

    _add_tools(words, parents=[logging], command=tool)

    def add(name: str, text: str, *, with_config: bool = True) -> argparse.ArgumentParser:
        parents = [logging, config] if with_config else [logging]
        added = words.add_parser(name, parents=parents, help=text, description=text)
        added.set_defaults(command=commands[name])
        return added

    add("run", "the daemon: read, buffer, forward until SIGTERM")
    check = add("check", "validate a config file and tell everything that is wrong with it")
    check.add_argument("--live", action="store_true", help="also connect to every device and read each point once")
    add("points", "every point with the request that will fetch it")
    add("schema", "JSON Schema of the config file, for editors", with_config=False)
    buffer = words.add_parser("buffer", help="what is waiting, per destination; works while the daemon runs")
    buffer.set_defaults(command=commands["buffer"], destination=None, count=0, retry=False)
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
    audit = add("audit", "listen to a broker and prove that no reading is missing", with_config=False)
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
    demo = add("demo", "a simulated hub, a broker and the gateway, live in this terminal", with_config=False)
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
    words: argparse._SubParsersAction[_LateParser],
    *,
    parents: list[_LateParser],
    command: Command,
) -> None:
    """The commands that driver families bring."""
    groups: dict[str, argparse._SubParsersAction[_LateParser]] = {}
    for tool in registry.TOOLS:
        within = words
        if len(tool.words) > 1:
            first = tool.words[0]
            if first not in groups:
                texts = "; ".join(other.text for other in registry.TOOLS if other.words[0] == first)
                group = words.add_parser(first, help=texts)
                groups[first] = group.add_subparsers(required=True, metavar="WHAT", parser_class=_LateParser)
            within = groups[first]
        parser = within.add_parser(tool.words[-1], parents=parents, help=tool.text, description=tool.text)
        parser.learn = _arguments_of(tool)
        parser.set_defaults(command=command, tool=tool)


def _arguments_of(tool: registry.Tool) -> Callable[[argparse.ArgumentParser], None]:
    return lambda parser: tool.load().add_arguments(parser)


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
