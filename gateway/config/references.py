"""`${env:NAME}`, `${file:/path}` and `${credential:NAME}` inside the text values of a config file.

`$${` stands for `${` itself. A credential is the file `$CREDENTIALS_DIRECTORY/NAME`, as systemd's `LoadCredential=`
provides it. One line end at the end of a file or credential does not count. What was put in is not searched again. Keys
and points files are not searched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.config import files
from gateway.config.problems import KeyPath, did_you_mean, printable, quoted

MAX_SECRET_BYTES = 64 * 2**10
KINDS = ("env", "file", "credential")

_REFERENCE = re.compile(r"\$(\$)?\{([^{}]*)(\})?")
_ENTRY = 2  # ("destinations", 0)
_SHORT = 4


class UnresolvedError(Exception):
    """A reference that leads nowhere; the message says what to set."""


@dataclass(slots=True)
class Resolved:
    """Values with their references filled in, and what must never be shown."""

    data: Any = None
    unresolved: dict[KeyPath, str] = field(default_factory=dict)
    secrets: dict[KeyPath, dict[str, str]] = field(default_factory=dict)
    """By section or entry: what was filled in → the reference that stood for it."""

    def hide(self, message: str, path: KeyPath) -> str:
        """`message` about the value at `path` with every secret of that section or entry replaced by its reference."""
        secrets = self.secrets.get(path[:_ENTRY], {})
        for secret in sorted(secrets, key=len, reverse=True):
            for form in {secret, repr(secret)[1:-1], printable(secret)}:
                pattern = re.escape(form)
                if len(form) < _SHORT:
                    pattern = rf"(?<!\w){pattern}(?!\w)"
                message = re.sub(pattern, secrets[secret].replace("\\", r"\\"), message)
        return message


def resolve(data: Any, *, environment: Mapping[str, str], folder: Path) -> Resolved:
    """Fill in every reference in `data` (dicts, lists and scalars). Relative file names start at `folder`."""
    resolved = Resolved()

    def walk(value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {key: walk(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, (*path, index)) for index, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value

        def put(match: re.Match[str]) -> str:
            if match[1]:
                return match[0][1:]
            found = _look_up(match[2], closed=match[3] is not None, environment=environment, folder=folder)
            if found:
                resolved.secrets.setdefault(path[:_ENTRY], {})[found] = match[0]
            return found

        try:
            return _REFERENCE.sub(put, value)
        except UnresolvedError as error:
            resolved.unresolved[path] = str(error)
            return value

    resolved.data = walk(data, ())
    return resolved


def _look_up(reference: str, *, closed: bool, environment: Mapping[str, str], folder: Path) -> str:
    kind, colon, name = reference.partition(":")
    if not closed:
        raise UnresolvedError("${ has no closing }; write $${ for the characters themselves")
    if kind not in KINDS or not colon or not name:
        hint = did_you_mean(kind, KINDS) if colon else "; for an environment variable write ${env:NAME}"
        raise UnresolvedError(f"${{…}} holds env:NAME, file:/path or credential:NAME{hint}")
    if kind == "file":
        return _content(folder / name, f"${{file:{name}}}")
    if kind == "credential":
        return _credential(name, environment)
    if name not in environment:
        raise UnresolvedError(
            f"the environment variable {name} is not set; set it, in systemd with Environment= or EnvironmentFile="
        )
    try:
        environment[name].encode()
    except UnicodeEncodeError as error:
        raise UnresolvedError(f"the environment variable {name} is not UTF-8 text") from error
    return environment[name]


def _credential(name: str, environment: Mapping[str, str]) -> str:
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if "/" in name or name in {".", ".."}:
        raise UnresolvedError(f"{quoted(name)} cannot be a credential: its name is a file name without folders")
    if not directory:
        raise UnresolvedError(
            f"there are no credentials (CREDENTIALS_DIRECTORY is not set); add LoadCredential={name}:/path to the unit"
        )
    return _content(Path(directory) / name, f"the credential {name}")


def _content(path: Path, what: str) -> str:
    try:
        raw = files.read(path, most_bytes=MAX_SECRET_BYTES + 1)
    except files.UnreadableFile as error:
        raise UnresolvedError(f"{what}: {path}: {error}") from error
    if len(raw) > MAX_SECRET_BYTES:
        raise UnresolvedError(f"{what} is larger than {MAX_SECRET_BYTES // 1024} KiB")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise UnresolvedError(f"{what} is not UTF-8 text") from error
    return text.removesuffix("\n").removesuffix("\r")
