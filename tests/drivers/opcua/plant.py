"""A plant to read from: asyncua's own server in this process, with nodes of every kind."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from asyncua import Server, ua
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.user_managers import UserManager
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

T = TypeVar("T")
URI = "urn:hub:conveyor"
APPLICATION_URI = "urn:hub:plant"
PASSWORD = "hunter2"


class Users(UserManager):
    """One person with a password; everybody with a certificate; nobody else unless `anonymous`."""

    def __init__(self, *, anonymous: bool) -> None:
        self._anonymous = anonymous

    def get_user(
        self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None
    ) -> User | None:
        if certificate is not None and username is None:
            return User(role=UserRole.User)
        if username is None and self._anonymous:
            return User(role=UserRole.User)
        return User(role=UserRole.User, name=username) if (username, password) == ("gw", PASSWORD) else None


class Plant:
    """The server and its nodes by name. Everything here is called from the loop of the test."""

    def __init__(self, server: Server, port: int, index: int, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.port = port
        self.index = index
        self.nodes: dict[str, Any] = {}
        self._loop = loop

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    async def there(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await it in the loop of the server."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    async def add(self, name: str, value: Any, kind: ua.VariantType | None = None, **more: Any) -> Any:
        async def add() -> Any:
            node = await self.nodes["Machine"].add_variable(
                ua.NodeId(name, self.index), ua.QualifiedName(name, self.index), value, varianttype=kind, **more
            )
            await node.set_writable()
            return node

        self.nodes[name] = await self.there(add())
        return self.nodes[name]

    async def write(self, name: str, value: Any, kind: ua.VariantType | None = None) -> None:
        await self.there(self.nodes[name].write_value(value, kind))

    async def report(self, **data: ua.DataValue) -> None:
        """Data values by name as they are, with status and times; all of them before the server publishes again."""

        async def report() -> None:
            for name, value in data.items():
                await self.server.write_attribute_value(self.nodes[name].nodeid, value)

        await self.there(report())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_certificate(
    folder: Path, *, uri: str = APPLICATION_URI, valid_from: timedelta = timedelta(days=-2), days: int = 365
) -> tuple[Path, Path]:
    """Files with a self-signed certificate (DER) and its key (PEM). `valid_from` is relative to now."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plant")])
    first = datetime.now(UTC) + valid_from
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(first + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "certificate.der").write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "certificate.der", folder / "key.pem"


@asynccontextmanager
async def plant(
    *,
    port: int = 0,
    namespaces: tuple[str, ...] = (URI,),
    policies: list[ua.SecurityPolicyType] | None = None,
    identity: tuple[Path, Path] | None = None,
    anonymous: bool = True,
) -> AsyncIterator[Plant]:
    """Started, with an object `Machine` in the namespace `URI`.

    It has a thread and a loop of its own: asyncua's server leaves tasks behind when a client is gone.
    """
    logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)

    async def start() -> Plant:
        server = Server(user_manager=Users(anonymous=anonymous))
        await server.init()
        await server.set_application_uri(APPLICATION_URI)
        if identity is not None:
            await server.load_certificate(str(identity[0]))
            await server.load_private_key(str(identity[1]))
        server.set_security_policy(policies or [ua.SecurityPolicyType.NoSecurity])
        at = port or free_port()
        server.set_endpoint(f"opc.tcp://127.0.0.1:{at}")
        for uri in namespaces:
            await server.register_namespace(uri)
        index = await server.get_namespace_index(URI)
        found = Plant(server, at, index, asyncio.get_running_loop())
        found.nodes["Machine"] = await server.nodes.objects.add_object(
            ua.NodeId("Machine", index), ua.QualifiedName("Machine", index)
        )
        await server.start()
        return found

    async def stop(running: Plant) -> None:
        await running.server.stop()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="plant")
    thread.start()
    try:
        running = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(start(), loop))
        try:
            yield running
        finally:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(stop(running), loop))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
