"""Who is trusted: certificates, logins, and the two commands. Against asyncua's server with encryption."""

from __future__ import annotations

import asyncio
import stat
from argparse import ArgumentParser
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

from drivers import registry
from drivers.contract import DeviceUnavailable
from tests.drivers.opcua.listen import PATIENCE_S, asking, make_driver, said
from tests.drivers.opcua.plant import APPLICATION_URI, PASSWORD, URI, Plant, make_certificate, plant
from tests.plugins.tcp_proxy import tcp_proxy

SECURE = {"policy": "Basic256Sha256", "user": "gw", "password": PASSWORD}
POINTS = [{"name": "speed", "address": f"nsu={URI};s=Speed"}]
POLICIES = [ua.SecurityPolicyType.NoSecurity, ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Plant]:
    identity = make_certificate(tmp_path / "plant")
    async with plant(policies=POLICIES, identity=identity, anonymous=False) as running:
        await running.add("Speed", 1.5)
        await running.add("Weights", [10, 20])
        yield running


async def command(*words: str) -> int:
    """What `hub-gateway …` runs; it has an event loop of its own."""
    (tool,) = [each for each in registry.TOOLS if words[: len(each.words)] == each.words]
    parser = ArgumentParser()
    tool.load().add_arguments(parser)
    options = parser.parse_args(words[len(tool.words) :])
    return await asyncio.to_thread(tool.load().run, options)


async def trust(server: Plant, folder: Path) -> None:
    assert await command("opcua", "trust", server.url, "--yes", "--state", str(folder)) == 0


async def refusal(url: str, folder: Path, security: dict[str, Any] = SECURE) -> DeviceUnavailable:
    with pytest.raises(DeviceUnavailable) as caught:
        async with make_driver(url, folder, POINTS, security=security).connect():
            pass
    return caught.value


async def test_an_unknown_server_is_refused_and_kept_until_it_is_trusted(
    server: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = await refusal(server.url, tmp_path)
    assert error.hint == f"if it is the right server: hub-gateway opcua trust {server.url} --state {tmp_path}"
    shown = (tmp_path / "plant" / "certificate.der").read_bytes()
    (rejected,) = (tmp_path / "opcua" / "rejected").iterdir()
    assert rejected.read_bytes() == shown
    await trust(server, tmp_path)
    assert f"URI       {APPLICATION_URI}" in capsys.readouterr().out
    assert not rejected.exists()
    driver = make_driver(server.url, tmp_path, POINTS, security=SECURE, subscribe=False)
    async with asking(driver) as session:
        assert said(await session.read(driver.groups[0])) == {"speed": 1.5}


async def test_nobody_is_trusted_without_a_yes(server: Plant, tmp_path: Path) -> None:
    assert await command("opcua", "trust", server.url, "--state", str(tmp_path)) == 69
    assert not (tmp_path / "opcua" / "trusted").exists()


async def test_the_servers_of_a_config_are_trusted_beside_its_buffer(server: Plant, tmp_path: Path) -> None:
    config = tmp_path / "hub.yaml"
    config.write_text(
        "buffer: {path: state/buffer.db}\n"
        f"devices: [{{name: d, driver: opcua, url: '{server.url}', security: {{policy: Basic256Sha256}}}}]\n"
    )
    assert await command("opcua", "trust", "-c", str(config), "--yes") == 0
    assert list((tmp_path / "state" / "opcua" / "trusted").iterdir())


async def test_the_key_of_the_gateway_is_for_its_user_alone_and_stays(server: Plant, tmp_path: Path) -> None:
    from cryptography import x509

    file = tmp_path / "opcua" / "own" / "identity.pem"
    await refusal(server.url, tmp_path)
    made = file.read_bytes()
    await refusal(server.url, tmp_path)
    assert file.read_bytes() == made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    certificate = x509.load_der_x509_certificate((file.parent / "certificate.der").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert uri.startswith("urn:")
    assert uri.endswith(":hub-gateway")


async def test_a_wrong_password_is_told_and_not_shown(server: Plant, tmp_path: Path) -> None:
    await trust(server, tmp_path)
    error = await refusal(server.url, tmp_path, {**SECURE, "password": "swordfish"})
    assert "logging in" in error.message
    assert "check user and password" in error.hint
    assert "swordfish" not in str(error)


async def test_a_login_with_a_certificate(server: Plant, tmp_path: Path) -> None:
    await trust(server, tmp_path)
    certificate, key = make_certificate(tmp_path / "person", uri="urn:hub:person")
    security = {"policy": "Basic256Sha256", "user_certificate": str(certificate), "user_key": str(key)}
    driver = make_driver(server.url, tmp_path, POINTS, security=security, subscribe=False)
    async with asking(driver) as session:
        assert said(await session.read(driver.groups[0])) == {"speed": 1.5}


async def test_a_policy_that_is_not_offered_is_told_with_those_that_are(server: Plant, tmp_path: Path) -> None:
    error = await refusal(server.url, tmp_path, {"policy": "Aes256Sha256RsaPss", "mode": "Sign"})
    assert "does not offer Aes256Sha256RsaPss Sign" in error.message
    assert "Basic256Sha256 SignAndEncrypt" in error.hint


async def test_a_certificate_out_of_date_is_refused_although_it_is_trusted(tmp_path: Path) -> None:
    identity = make_certificate(tmp_path / "plant", valid_from=timedelta(days=-30), days=7)
    async with plant(policies=POLICIES, identity=identity) as server:
        await trust(server, tmp_path)
        error = await refusal(server.url, tmp_path)
    assert "and not now" in error.message
    assert "renew the server's certificate" in error.hint


async def test_a_certificate_of_another_uri_is_used_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = make_certificate(tmp_path / "plant", uri="urn:somebody:else")
    async with plant(policies=POLICIES, identity=identity) as server:
        await server.add("Speed", 1.5)
        await trust(server, tmp_path)
        assert f"the server calls itself {APPLICATION_URI}" in capsys.readouterr().out
        async with make_driver(server.url, tmp_path, POINTS, security=SECURE).connect():
            pass
    assert "its trusted certificate is of urn:somebody:else" in caplog.text


async def test_browse_prints_the_tree_and_points_that_the_config_takes(
    server: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import yaml

    from drivers.opcua.settings import OpcuaPointSettings

    monkeypatch.setenv("OPCUA_PASSWORD", PASSWORD)
    await trust(server, tmp_path)
    capsys.readouterr()
    words = ["browse", server.url, "--security", "Basic256Sha256", "--user", "gw", "--state", str(tmp_path)]
    assert await command(*words) == 0
    tree = capsys.readouterr().out
    assert f"Speed  [nsu={URI};s=Speed]  Double = 1.5" in tree
    assert f"Weights  [nsu={URI};s=Weights]  Int64[2] = [10, 20]" in tree
    assert await command(*words, "--points") == 0
    points = [OpcuaPointSettings.model_validate(each) for each in yaml.safe_load(capsys.readouterr().out)]
    assert [(each.name, each.address, each.part) for each in points] == [
        ("Machine.Speed", f"nsu={URI};s=Speed", ""),
        ("Machine.Weights.0", f"nsu={URI};s=Weights", "[0]"),
        ("Machine.Weights.1", f"nsu={URI};s=Weights", "[1]"),
    ]
    assert await command("browse", server.url, "--endpoints") == 0
    assert "Basic256Sha256 SignAndEncrypt  login: " in capsys.readouterr().out


async def test_cancelled_before_the_channel_is_secure_it_leaves_the_server(server: Plant, tmp_path: Path) -> None:
    await trust(server, tmp_path)
    async with tcp_proxy(server.port) as wire:
        driver = make_driver(f"opc.tcp://127.0.0.1:{wire.port}", tmp_path, POINTS, security=SECURE)

        async def connect() -> None:
            async with driver.connect():
                pass

        connecting = asyncio.create_task(connect())
        async with asyncio.timeout(PATIENCE_S):
            while wire.accepted < 2:  # noqa: ASYNC110  the wire counts and tells nobody; the first asked for the endpoints
                await asyncio.sleep(0)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            await wire.idle()
