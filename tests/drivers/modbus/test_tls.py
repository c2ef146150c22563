"""Modbus in TLS: libmodbus behind a TLS front that asks for a client certificate, and pymodbus's own TLS server."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, run
from typing import Any

import pytest
from pymodbus.server import ModbusTlsServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.contract import DeviceUnavailable
from drivers.model import Reason

SPEED = {"name": "speed", "address": "holding:0", "type": "uint16"}


class Authority:
    """Issues certificates with `openssl`; each is a file with its key beside it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.ca = folder, folder / f"{name}.pem"
        self._new_key(self.ca)
        self._openssl("req", "-x509", "-key", self._key(self.ca), "-subj", f"/CN={name}", "-out", str(self.ca))

    def issue(self, name: str, *, host: str = "IP:127.0.0.1", days: int = 2) -> dict[str, str]:
        """`certificate` and `key`; with -1 days it has expired yesterday."""
        certificate = self.folder / f"{name}.pem"
        self._new_key(certificate)
        extension = self.folder / f"{name}.ext"
        extension.write_text(f"subjectAltName={host}\n")
        request = str(certificate.with_suffix(".csr"))
        self._openssl("req", "-new", "-key", self._key(certificate), "-subj", f"/CN={name}", "-out", request)
        self._openssl(
            "x509", "-req", "-in", request, "-CA", str(self.ca), "-CAkey", self._key(self.ca), "-CAcreateserial",
            "-days", str(days), "-extfile", str(extension), "-out", str(certificate),
        )  # fmt: skip
        return {"certificate": str(certificate), "key": self._key(certificate)}

    def _new_key(self, certificate: Path) -> None:
        curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        self._openssl("genpkey", *curve, "-out", self._key(certificate))

    @staticmethod
    def _key(certificate: Path) -> str:
        return str(certificate.with_suffix(".key"))

    @staticmethod
    def _openssl(*arguments: str) -> None:
        run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("hub"), "hub-authority")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger-authority")


@pytest.fixture(scope="module")
def server(hub: Authority) -> dict[str, str]:
    return hub.issue("plc", host="IP:127.0.0.1,DNS:plc.example")


@pytest.fixture(scope="module")
def client(hub: Authority) -> dict[str, str]:
    return hub.issue("gateway")


def front(hub: Authority, certificate: dict[str, str]) -> ssl.SSLContext:
    """What the standard asks of a server: it has a certificate, and wants one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate["certificate"], certificate["key"])
    context.load_verify_locations(hub.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture
def device(libmodbus: Any) -> Iterator[int]:
    """The port of a libmodbus server with a register."""
    with libmodbus("tcp", values={"h:0": 1420}) as port:
        yield port


async def fails(driver: Any) -> DeviceUnavailable:
    """With TLS 1.3 a server refuses a client only after the handshake, so the first read may be what fails."""
    with pytest.raises(DeviceUnavailable) as error:
        async with asyncio.timeout(10), driver.connect() as session:
            await session.read(driver.groups[0])
    assert error.value.hint
    return error.value


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_with_both_certificates_it_reads_and_writes(
    version: ssl.TLSVersion, forwarder: Any, make_driver: Any, hub: Authority, request: Any
) -> None:
    server, client, device = (request.getfixturevalue(name) for name in ("server", "client", "device"))
    context = front(hub, server)
    context.minimum_version = context.maximum_version = version
    port = await forwarder(device, context=context)
    driver = make_driver(
        {
            "url": f"tls://127.0.0.1:{port}",
            "tls": {"ca": str(hub.ca), **client},
            "points": [{**SPEED, "writable": True}],
        }
    )
    (group,) = driver.groups
    async with driver.connect() as session:
        assert (await session.read(group)).values == (1420,)
        assert await session.write(group, group.points[0], 7) == 7
        assert (await session.read(group)).values == (7,)


async def test_pymodbus_in_tls_is_read(make_driver: Any, hub: Authority, server: Any, client: Any) -> None:
    block = [SimData(0, values=list(range(200)), datatype=DataType.REGISTERS)]
    served = ModbusTlsServer([SimDevice(1, block)], sslctx=front(hub, server), address=("127.0.0.1", 0))
    await served.serve_forever(background=True)
    try:
        port = served.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        points = [{"name": f"p{n}", "address": f"holding:{n}", "type": "uint16"} for n in range(200)]
        tls = {"ca": str(hub.ca), **client}
        driver = make_driver({"url": f"tls://127.0.0.1:{port}", "tls": tls, "points": points})
        async with driver.connect() as session:
            assert (await session.read(driver.groups[0])).values == tuple(range(200))
    finally:
        await served.shutdown()  # type: ignore[no-untyped-call]


async def test_a_name_of_its_own_in_the_certificate_is_checked_when_told(
    device: int, forwarder: Any, make_driver: Any, hub: Authority, client: Any
) -> None:
    port = await forwarder(device, context=front(hub, hub.issue("named", host="DNS:plc-7")))
    url, tls = f"tls://127.0.0.1:{port}", {"ca": str(hub.ca), **client}
    driver = make_driver({"url": url, "tls": {**tls, "server_name": "plc-7"}, "points": [SPEED]})
    async with driver.connect() as session:
        assert (await session.read(driver.groups[0])).values == (1420,)
    error = await fails(make_driver({"url": url, "tls": {**tls, "server_name": "plc-8"}, "points": [SPEED]}))
    assert "its certificate is not trusted: Hostname mismatch" in error.message
    assert "as tls.server_name" in error.hint


Make = Callable[[Authority, Authority], dict[str, str]]
FALSE_DEVICES: dict[str, tuple[Make, str, str]] = {
    "a device of another authority": (
        lambda hub, stranger: stranger.issue("false"),
        "its certificate is not trusted: unable to get local issuer certificate",
        "tls.ca must hold",
    ),
    "an expired device": (
        lambda hub, stranger: hub.issue("expired", days=-1),
        "its certificate is not trusted: certificate has expired",
        "renew the device's certificate",
    ),
    "a device of another name": (
        lambda hub, stranger: hub.issue("elsewhere", host="DNS:elsewhere.example"),
        "its certificate is not trusted: IP address mismatch",
        "tls.server_name",
    ),
}


@pytest.mark.parametrize("who", FALSE_DEVICES)
async def test_a_device_that_is_not_trusted_is_told_with_the_reason(
    who: str, forwarder: Any, make_driver: Any, hub: Authority, request: Any
) -> None:
    stranger, client, device = (request.getfixturevalue(name) for name in ("stranger", "client", "device"))
    make, message, hint = FALSE_DEVICES[who]
    port = await forwarder(device, context=front(hub, make(hub, stranger)))
    tls = {"ca": str(hub.ca), **client}
    error = await fails(make_driver({"url": f"tls://127.0.0.1:{port}", "tls": tls, "points": [SPEED]}))
    assert message in error.message
    assert hint in error.hint
    assert error.reason is Reason.COMM_FAILURE


@pytest.fixture
def s_server(hub: Authority, server: dict[str, str]) -> Callable[..., Any]:
    """A context manager: OpenSSL's own server, which asks for a certificate of the hub; yields its port."""

    @contextmanager
    def serve(*options: str) -> Iterator[int]:
        files = ["-cert", server["certificate"], "-key", server["key"], "-CAfile", str(hub.ca)]
        command = ["openssl", "s_server", "-accept", "127.0.0.1:0", *files, *options]
        with Popen(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True) as process:
            try:
                assert process.stdout is not None
                accepting = next(line for line in process.stdout if line.startswith("ACCEPT"))
                yield int(accepting.rpartition(":")[2])
            finally:
                process.kill()

    return serve


REFUSED_CLIENTS: dict[str, tuple[Make, str]] = {
    "nobody": (lambda hub, stranger: {}, "tlsv13 alert certificate required"),
    "one of another authority": (lambda hub, stranger: stranger.issue("false-gateway"), "tlsv1 alert unknown ca"),
    "an expired one": (lambda hub, stranger: hub.issue("old-gateway", days=-1), "sslv3 alert certificate expired"),
}


@pytest.mark.parametrize("who", REFUSED_CLIENTS)
async def test_a_device_that_refuses_us_gives_its_reason(
    who: str, s_server: Any, make_driver: Any, hub: Authority, stranger: Authority
) -> None:
    make, reason = REFUSED_CLIENTS[who]
    with s_server("-Verify", "1", "-verify_return_error") as port:
        tls = {"ca": str(hub.ca), **make(hub, stranger)}
        error = await fails(make_driver({"url": f"tls://127.0.0.1:{port}", "tls": tls, "points": [SPEED]}))
    assert f"the other end closed the connection ({reason})" in error.message
    assert "it does not accept tls.certificate" in error.hint


async def test_a_device_that_hangs_up_in_the_handshake_is_told_so(scripted: Any, make_driver: Any) -> None:
    server = await scripted(lambda request, send: server.transport.close())
    error = await fails(make_driver({"url": server.url_of("tls"), "points": [SPEED]}))
    assert "the TLS handshake failed: the other end hung up" in error.message


async def test_verification_is_off_only_when_it_is_switched_off(
    device: int, forwarder: Any, make_driver: Any, hub: Authority, request: Any
) -> None:
    stranger, client = (request.getfixturevalue(name) for name in ("stranger", "client"))
    port = await forwarder(device, context=front(hub, stranger.issue("self-made", host="DNS:nobody")))
    url = f"tls://127.0.0.1:{port}"
    driver = make_driver({"url": url, "tls": {**client, "verify": False}, "points": [SPEED]})
    async with driver.connect() as session:
        assert (await session.read(driver.groups[0])).values == (1420,)
    assert "not trusted" in (await fails(make_driver({"url": url, "tls": client, "points": [SPEED]}))).message
    assert "not trusted" in (await fails(make_driver({"url": url, "points": [SPEED]}))).message


async def test_tls_before_1_2_is_refused(s_server: Any, make_driver: Any, hub: Authority) -> None:
    with s_server("-tls1_1", "-cipher", "ALL:@SECLEVEL=0") as port:
        tls = {"ca": str(hub.ca)}
        error = await fails(make_driver({"url": f"tls://127.0.0.1:{port}", "tls": tls, "points": [SPEED]}))
    assert "the TLS handshake failed: " in error.message
    assert "protocol version" in error.message


async def test_a_port_without_tls_says_so(scripted: Any, make_driver: Any) -> None:
    plain = await scripted(lambda request, send: send(b"\0\1\0\0\0\3\1\x83\1"))
    driver = make_driver({"url": plain.url_of("tls"), "points": [SPEED]})
    error = await fails(driver)
    assert "the TLS handshake failed: wrong version number" in error.message
    assert "check that the port speaks TLS" in error.hint
    silent = await scripted(lambda request, send: None)
    error = await fails(make_driver({"url": silent.url_of("tls"), "timeout": "100ms", "points": [SPEED]}))
    assert "no answer within 0.1 s" in error.message
    assert "that the port speaks TLS" in error.hint


def locked(key: str, copy: Path) -> str:
    """A copy of a key that needs a password."""
    run(["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", str(copy)], check=True)
    return str(copy)


async def test_files_that_cannot_be_used_are_named(
    make_driver: Any, tmp_path: Path, hub: Authority, client: Any
) -> None:
    (tmp_path / "empty.pem").touch()
    encrypted = locked(client["key"], tmp_path / "encrypted.key")
    for tls in (
        {"ca": str(tmp_path / "empty.pem")},
        {"ca": str(tmp_path / "missing.pem")},
        {"certificate": client["certificate"], "key": str(hub.ca.with_suffix(".key"))},
        {"certificate": client["certificate"], "key": encrypted},
    ):
        error = await fails(make_driver({"url": "tls://127.0.0.1:1", "tls": tls, "points": [SPEED]}))
        assert f"cannot connect to tls://127.0.0.1:1: cannot use {', '.join(tls.values())}: " in error.message
