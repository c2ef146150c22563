"""What the tests of connections share: the gateway's side, and certificates."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from gateway.config import DestinationSettings
from gateway.mqtt import Broker


class Authority:
    """A certificate authority in a folder: `openssl` makes its certificates."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.ca = folder / f"{name}.pem"
        self._openssl("req", "-x509", *self._new(self.ca), "-days", "2", "-subj", f"/CN={name}")

    def issue(self, name: str, *, host: str = "IP:127.0.0.1") -> tuple[Path, Path]:
        """Certificate and key for `host`."""
        certificate = self.folder / f"{name}.pem"
        request = self.folder / f"{name}.csr"
        extension = self.folder / f"{name}.ext"
        extension.write_text(f"subjectAltName={host}\n")
        self._openssl("req", *self._new(certificate, out=request), "-subj", f"/CN={name}")
        self._openssl(
            "x509", "-req", "-in", str(request), "-CA", str(self.ca), "-CAkey", str(self.ca.with_suffix(".key")),
            "-CAcreateserial", "-days", "2", "-extfile", str(extension), "-out", str(certificate),
        )  # fmt: skip
        return certificate, certificate.with_suffix(".key")

    @staticmethod
    def _new(certificate: Path, *, out: Path | None = None) -> list[str]:
        key = certificate.with_suffix(".key")
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        return [*new, "-keyout", str(key), "-out", str(out or certificate)]

    def _openssl(self, *arguments: str) -> None:
        run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Authority]:
    """Makes an authority with the given name."""
    return lambda name: Authority(tmp_path_factory.mktemp("certificates"), name)


@pytest.fixture
def broker() -> Callable[..., Broker]:
    """Makes the gateway's side: `broker(url, keepalive=..., timeout_s=...)`."""

    def make(
        url: str, *, timeout_s: float = 10.0, silence_s: float = 30.0, client_id: str = "gw", **settings: Any
    ) -> Broker:
        return Broker(
            DestinationSettings(name="test", url=url, **settings),
            client_id=client_id,
            will=("hub/status", b'{"online":false}'),
            timeout_s=timeout_s,
            silence_s=silence_s,
        )

    return make


@pytest.fixture
def collect() -> Callable[..., Awaitable[list[Any]]]:
    """Waits for that many acknowledgements."""

    async def wait(connection: Any, count: int) -> list[Any]:
        found: list[Any] = []
        async with asyncio.timeout(10):
            while len(found) < count:
                found += await connection.acknowledgements()
        return found

    return wait
