"""How the commands of this family are told which server, and as whom."""

from __future__ import annotations

import getpass
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from pydantic import ValidationError

from drivers.opcua.driver import FOLDER
from drivers.opcua.endpoint import Endpoint, parse_endpoint
from drivers.opcua.security import Policy, SecuritySettings
from drivers.settings import duration_s

STATE_FOLDER = Path("/var/lib/hub-gateway")
"""Where the gateway keeps its state unless its config says otherwise: the folder of `buffer: path`."""
PASSWORD_VARIABLE = "OPCUA_PASSWORD"  # noqa: S105  its name, not a password


def add_state(parser: ArgumentParser) -> None:
    """Where certificates are kept."""
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help=f"the folder of the gateway's buffer, which has its certificates in {FOLDER}/ (default {STATE_FOLDER})",
    )


def add_timeout(parser: ArgumentParser) -> None:
    """How long an answer is waited for."""
    parser.add_argument("--timeout", type=_duration, default=5.0, metavar="DURATION", help="default 5s")


def add_security(parser: ArgumentParser) -> None:
    """What stands below `security:` in the config."""
    group = parser.add_argument_group("as below security: in the config file")
    group.add_argument(
        "--security",
        default=Policy.NONE.value,
        metavar="POLICY[,MODE]",
        help=f"{', '.join(Policy)}; Sign or SignAndEncrypt (default None)",
    )
    group.add_argument(
        "--user", metavar="NAME", help=f"its password is asked for, or taken from the environment: {PASSWORD_VARIABLE}"
    )
    group.add_argument("--user-certificate", type=Path, metavar="FILE")
    group.add_argument("--user-key", type=Path, metavar="FILE")


def endpoint(text: str) -> Endpoint:
    """The server, as an argument."""
    try:
        return parse_endpoint(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def security(options: Namespace) -> SecuritySettings:
    """What was said about it; asks for the password on a terminal. Raises ValueError."""
    policy, _, mode = options.security.partition(",")
    given = {
        "policy": policy,
        "mode": mode or None,
        "user": options.user,
        "user_certificate": options.user_certificate,
        "user_key": options.user_key,
    }
    try:
        settings = SecuritySettings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{name}: " for name in first["loc"])
        raise ValueError(where + first["msg"].removeprefix("Value error, ")) from None
    if settings.user is None:
        return settings
    return SecuritySettings.model_validate({**given, "password": _password(settings.user)})


def state_folder(options: Namespace) -> Path:
    """The folder of this family."""
    return Path(options.state or STATE_FOLDER) / FOLDER


def _password(user: str) -> str:
    if (found := os.environ.get(PASSWORD_VARIABLE)) is not None:
        return found
    if not sys.stdin.isatty():
        raise ValueError(f"the password of {user} is neither in {PASSWORD_VARIABLE} nor can it be asked for")
    return getpass.getpass(f"password of {user}: ")


def _duration(text: str) -> float:
    try:
        seconds = duration_s(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
    if seconds <= 0:
        raise ArgumentTypeError(f"{text} is no time to wait")
    return seconds
