"""`hub-gateway opcua trust`: look at the certificate of a server, and let the gateway trust it."""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from drivers.contract import DeviceUnavailable
from drivers.model import Reason
from drivers.opcua.driver import FOLDER
from drivers.opcua.endpoint import Endpoint, parse_endpoint
from drivers.opcua.reach import STATE_FOLDER, add_state, add_timeout, endpoint
from drivers.opcua.security import SecuritySettings

_OK, _UNAVAILABLE = 0, 69


def add_arguments(parser: ArgumentParser) -> None:
    """As `drivers.contract.ToolModule.add_arguments`."""
    parser.set_defaults(refuse=parser.error)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("url", nargs="?", type=endpoint, metavar="URL", help="opc.tcp://host:4840")
    which.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="every OPC UA server in it that is used with a policy"
    )
    parser.add_argument("--yes", action="store_true", help="trust what it shows, without a question")
    add_state(parser)
    add_timeout(parser)


def run(options: Namespace) -> int:
    """As `drivers.contract.ToolModule.run`. 69 also when somebody said no: the server cannot be used."""
    try:
        servers, folder = _servers(options)
    except ValueError as error:
        options.refuse(str(error))
    worst = _OK
    for server in servers:
        try:
            worst = max(worst, asyncio.run(_look_at(server, folder, options)))
        except DeviceUnavailable as error:
            if len(servers) == 1:
                raise
            print(error, file=sys.stderr)
            worst = _UNAVAILABLE
    return worst


def _servers(options: Namespace) -> tuple[list[Endpoint], Path]:
    """Whom to ask, and where to keep what they show. Raises ValueError."""
    if options.config is None:
        return [options.url], (options.state or STATE_FOLDER) / FOLDER
    try:
        document = yaml.safe_load(options.config.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"cannot read {options.config}: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"{options.config} is not the config of a gateway")  # noqa: TRY004  what is wrong is the file
    devices = document.get("devices")
    found = [_server(device) for device in devices if _is_secured(device)] if isinstance(devices, list) else []
    if not found:
        raise ValueError(f"{options.config} has no OPC UA device with a policy below security:")
    return list(dict.fromkeys(found)), (options.state or _state_folder(document, options.config)) / FOLDER


def _is_secured(device: Any) -> bool:
    if not isinstance(device, dict) or device.get("driver") != "opcua":
        return False
    security = device.get("security")
    return isinstance(security, dict) and security.get("policy", "None") != "None"


def _server(device: dict[str, Any]) -> Endpoint:
    return parse_endpoint(str(device.get("url")))


def _state_folder(document: dict[str, Any], file: Path) -> Path:
    """The folder of the buffer, relative to the config."""
    buffer = document.get("buffer")
    path = buffer.get("path") if isinstance(buffer, dict) else None
    if path is not None and "${" in str(path):
        raise ValueError(f"{file} takes the path of its buffer from elsewhere; name its folder with --state")
    return STATE_FOLDER if path is None else (file.parent / str(path)).parent


async def _look_at(server: Endpoint, folder: Path, options: Namespace) -> int:
    from drivers.opcua.certificates import CertificateFolder  # noqa: PLC0415  asyncua and cryptography are loaded here
    from drivers.opcua.client import Access, endpoints_of  # noqa: PLC0415
    from drivers.opcua.secure import certificate_of  # noqa: PLC0415

    access = Access(server, SecuritySettings(), folder, options.timeout)
    offers = [offer for offer in await endpoints_of(access) if offer.ServerCertificate]
    store = CertificateFolder(folder)
    answer = _OK
    seen: list[Any] = []
    for offer in offers:
        try:
            certificate = certificate_of(offer)
        except ValueError as error:
            raise _nothing(server, f"its certificate is not understood ({error})") from error
        if certificate is None or certificate in seen:
            continue
        seen.append(certificate)
        _show(server, certificate, offer.Server.ApplicationUri or "")
        if store.trusts(certificate):
            print("  it is trusted already")
        elif options.yes or _says_yes():
            try:
                print(f"  trusted: {store.trust(certificate, server)}")
            except OSError as error:
                options.refuse(f"cannot keep it: {error}")
        else:
            print("  not trusted", "" if sys.stdin.isatty() else "(nobody to ask; say --yes)")
            answer = _UNAVAILABLE
    if not seen:
        raise _nothing(server, "it shows no certificate")
    return answer


def _show(server: Endpoint, certificate: Any, uri: str) -> None:
    from drivers.opcua.certificates import application_uris, fingerprint  # noqa: PLC0415

    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    uris = application_uris(certificate)
    print(f"{server} shows")
    print(f"  subject   {certificate.subject.rfc4514_string()}")
    print(f"  issuer    {certificate.issuer.rfc4514_string()}")
    print(f"  SHA-256   {fingerprint(certificate)}")
    print(f"  valid     {first:%Y-%m-%d} to {last:%Y-%m-%d}")
    print(f"  URI       {', '.join(uris) or '(none)'}")
    if not first <= datetime.now(UTC) <= last:
        print("  ! not valid today: the gateway will not connect before it is renewed, or its own clock is right")
    if uri not in uris:
        print(f"  ! the server calls itself {uri}, for which this certificate was not made")


def _says_yes() -> bool:
    if not sys.stdin.isatty():
        return False
    try:
        return input("  is that the fingerprint on the server, and is it to be trusted? [y/N] ").strip().lower() == "y"
    except EOFError:
        return False


def _nothing(server: Endpoint, why: str) -> DeviceUnavailable:
    return DeviceUnavailable(
        f"{server}: {why}",
        reason=Reason.BAD_RESPONSE,
        hint="a server without a certificate can only be used with policy None",
    )
