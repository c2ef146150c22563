"""LLRP in TLS, with certificates that openssl made."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.contract import DeviceUnavailable
from tests.drivers.rfid.listener import driver, listening
from tests.drivers.rfid.scripted_reader import SSCC, ScriptedReader, report, tag
from tests.plugins.cancellation import cancelled_at_every_await


def _openssl(*arguments: str, folder: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`reader.pem`, signed by itself for the name speedway; `gateway.pem` and `other.pem` for others."""
    folder = tmp_path_factory.mktemp("certificates")
    for name, subject in (("reader", "speedway"), ("gateway", "gateway"), ("other", "other")):
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
            *("-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={subject}"),
            *("-addext", f"subjectAltName=DNS:{subject}"),
            folder=folder,
        )
    return folder


def _server(certificates: Path, *, asks: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "reader.pem", certificates / "reader.key")
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates / "gateway.pem")
    return context


@pytest.fixture
async def reader(certificates: Path) -> AsyncIterator[ScriptedReader]:
    async with ScriptedReader().listening(tls=_server(certificates)) as listening_reader:
        yield listening_reader


def _encrypted(reader: ScriptedReader, **tls: Any) -> Any:
    return driver(reader.url.replace("llrp:", "llrps:"), tls=tls)


async def _reads(reader: ScriptedReader, made: Any) -> None:
    async with listening(reader, made) as listener:
        listener.client.send(report(tag()))
        assert (await listener.next())["epc"] == SSCC.hex().upper()


async def _cannot(made: Any) -> DeviceUnavailable:
    with pytest.raises(DeviceUnavailable) as caught:
        async with made.connect():
            pass
    assert caught.value.hint
    return caught.value


async def test_a_reader_whose_certificate_is_known_is_read(reader: ScriptedReader, certificates: Path) -> None:
    await _reads(reader, _encrypted(reader, ca=certificates / "reader.pem", server_name="speedway"))


async def test_a_reader_with_another_name_is_refused(reader: ScriptedReader, certificates: Path) -> None:
    error = await _cannot(_encrypted(reader, ca=certificates / "reader.pem"))
    assert "certificate is not accepted" in error.message
    assert "tls.server_name" in error.hint


async def test_a_reader_that_another_authority_has_signed_is_refused(
    reader: ScriptedReader, certificates: Path
) -> None:
    error = await _cannot(_encrypted(reader, ca=certificates / "other.pem", server_name="speedway"))
    assert "certificate is not accepted" in error.message


async def test_unless_told_otherwise_a_certificate_must_be_trusted(reader: ScriptedReader) -> None:
    assert "certificate is not accepted" in (await _cannot(_encrypted(reader))).message


async def test_who_says_so_reads_from_anybody(reader: ScriptedReader) -> None:
    await _reads(reader, _encrypted(reader, verify=False))


async def test_a_reader_may_ask_who_we_are(certificates: Path) -> None:
    async with ScriptedReader().listening(tls=_server(certificates, asks=True)) as reader:
        known = {"ca": certificates / "reader.pem", "server_name": "speedway"}
        own = {"certificate": certificates / "gateway.pem", "key": certificates / "gateway.key"}
        await _reads(reader, _encrypted(reader, **known, **own))


async def test_a_port_without_tls_is_suspected() -> None:
    async with ScriptedReader().listening() as reader:
        error = await _cannot(_encrypted(reader, verify=False))
    assert "the one with TLS" in error.hint


async def test_a_port_with_tls_is_no_llrp_to_who_speaks_plainly(reader: ScriptedReader) -> None:
    made = driver(reader.url, timeout="200ms")
    assert "no connection event" in (await _cannot(made)).message


async def test_files_that_cannot_be_used_are_named(reader: ScriptedReader, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    error = await _cannot(_encrypted(reader, ca=tmp_path / "ca.pem"))
    assert "the files of tls: cannot be used" in error.message


async def test_cancelled_at_any_await_it_leaves_nothing_open(reader: ScriptedReader) -> None:
    reader.on_start = report(tag())
    made = _encrypted(reader, verify=False)

    async def read_once() -> None:
        async with made.connect() as session:
            readings = session.readings()
            await anext(readings)
            await readings.aclose()

    assert await cancelled_at_every_await(read_once) > 10
