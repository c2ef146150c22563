"""The documentation as data: fenced blocks, tables, and the transcript of what the README says one can type."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
DEADLINE_S = 15.0

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_ASKED_AGAIN = ("curl -s ", "grep ", "hub-gateway buffer ", "sqlite3 ", "tail ")
"""Commands that only look; a person would repeat them until something has happened, and so does `Transcript`."""


@dataclass(frozen=True, slots=True)
class Document:
    """One Markdown file of the repository."""

    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    def blocks(self, language: str) -> list[str]:
        """The contents of all fenced blocks of this language."""
        return [body for kind, body in _FENCE.findall(self.text) if kind == language]

    def section(self, heading: str) -> str:
        """What stands under a heading, up to the next heading of any level. There must be exactly one."""
        prose = _FENCE.sub(lambda fence: fence[0].replace("\n#", "\n "), self.text)
        parts = _HEADING.split(prose)
        found = [body for title, body in zip(parts[1::2], parts[2::2], strict=True) if title == heading]
        assert len(found) == 1, f"{self.path.name} has {len(found)} sections called {heading!r}"
        return found[0]

    def table(self, heading: str) -> list[list[str]]:
        """The rows, without the head, of all tables in a section; cells are stripped, `\\|` is `|`."""
        lines = [line for line in self.section(heading).splitlines() if line.startswith("|")]
        rows = [[cell.replace(r"\|", "|").strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
        return [row for number, row in enumerate(rows) if not _is_head(rows, number)]


def _is_head(rows: Sequence[Sequence[str]], number: int) -> bool:
    return any(set("".join(row)) <= set("-: ") for row in rows[number : number + 2])


def code(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


@dataclass(slots=True)
class Transcript:
    """Runs the ```` ```console ```` blocks of a document, in order, in one folder.

    A line `$ command` is run by bash; the lines below it must appear in its output in this order. Numbers and ids may
    differ, `…` stands for anything. A command that ends with `&` runs until the transcript ends. Ports of the text are
    replaced by free ones. Files are the ```` ```yaml ```` blocks that begin with `# name.yaml`.
    """

    folder: Path
    ports: dict[str, int]
    listening: dict[str, str]
    """Program → port of the text that it must listen on before the next command."""
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def write_files(self, document: Document) -> None:
        for block in document.blocks("yaml"):
            name = re.match(r"# (\S+\.yaml)\n", block)
            if name is not None:
                (self.folder / name[1]).write_text(self._local(block), "utf-8")

    def run(self, block: str) -> None:
        for command, expected in _commands(block):
            if command.endswith(" &"):
                self._start(self._local(command.removesuffix(" &")), command)
            else:
                self._expect(self._local(command), expected, again=command.startswith(_ASKED_AGAIN))

    def _start(self, command: str, written: str) -> None:
        self.running.append(subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=self.folder, env=_environment()))
        port = self.listening.get(written.split(maxsplit=1)[0])
        if port is not None:
            _wait_for_listener(self.ports[port], written)

    def _expect(self, command: str, expected: Sequence[str], *, again: bool) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while True:
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=self.folder,
                env=_environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=DEADLINE_S,
                check=False,
            )
            if done.returncode == 0 and _says(done.stdout, expected):
                return
            if not again or time.monotonic() > deadline_s:
                break
            time.sleep(0.1)
        wanted = "\n".join(expected)
        pytest.fail(f"$ {command}\nexit code {done.returncode}, said:\n{done.stdout}\nthe document says:\n{wanted}")

    def _local(self, text: str) -> str:
        for written, free in self.ports.items():
            text = re.sub(rf"\b{written}\b", str(free), text)
        return text


@contextmanager
def transcript(folder: Path, *, ports: Sequence[str], listening: dict[str, str]) -> Iterator[Transcript]:
    """A `Transcript` whose background commands are ended when the block ends, the last one first."""
    started = Transcript(folder, dict(zip(ports, _free_ports(len(ports)), strict=True)), listening)
    try:
        yield started
    finally:
        for process in reversed(started.running):
            process.send_signal(signal.SIGTERM)
        for process in started.running:
            try:
                process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _commands(block: str) -> Iterator[tuple[str, list[str]]]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *expected = part.splitlines()
        yield command, [line for line in expected if line.strip()]


def _says(output: str, expected: Sequence[str]) -> bool:
    """Whether the expected lines occur in this order."""
    lines = iter(_comparable(output).splitlines())
    patterns = [re.escape(_comparable(line)).replace("…", ".*") for line in expected]
    return all(any(re.fullmatch(pattern, line) for line in lines) for pattern in patterns)


def _comparable(text: str) -> str:
    """Without what differs from run to run: ids, numbers other than a 0 between blanks, the widths of columns."""
    text = re.sub(r"\b[0-9a-f]{8}\b", "#", text)
    text = re.sub(r"\d+(\.\d+)?", lambda number: "0" if _is_zero_alone(number) else "#", text)
    text = re.sub(r"─+", "─", text)
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def _is_zero_alone(number: re.Match[str]) -> bool:
    around = number.string[: number.start()][-1:] + number.string[number.end() :][:1]
    return float(number[0]) == 0 and not around.strip()


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def _wait_for_listener(port: int, command: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline_s, f"{command!r} does not listen on port {port}"
        time.sleep(0.02)


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def keys_of(schema: Mapping[str, Any], model: str) -> dict[str, object]:
    """Every key below a model of the schema, dotted, with its default: "required", None, or the value."""
    found: dict[str, object] = {}
    node = schema["$defs"][model]
    for key, property_ in node["properties"].items():
        inner = _model_behind(schema, property_)
        if inner is not None:
            found |= {f"{key}.{name}": default for name, default in keys_of(schema, inner).items()}
        elif key in node.get("required", ()):
            found[key] = "required"
        else:
            default = property_.get("default")
            found[key] = None if default in ("", []) else default
    return found


def keys_in_table(rows: list[list[str]]) -> dict[str, object]:
    """What a table of keys and defaults says, in the terms of `keys_of`."""
    return {code(key)[0]: _default_in_table(default) for key, default, *_ in rows}


def _model_behind(schema: Mapping[str, Any], property_: Mapping[str, Any]) -> str | None:
    """The model that a property leads to, when it is one with keys of its own."""
    for one in (property_, *property_.get("anyOf", ())):
        name: str = one.get("$ref", "").removeprefix("#/$defs/")
        if "properties" in schema["$defs"].get(name, {}):
            return name
    return None


def _default_in_table(cell: str) -> object:
    if cell in {"required", "none"}:
        return None if cell == "none" else cell
    (text,) = code(cell)
    return yaml.safe_load(text)
