"""Against node-opcua, which knows nothing of us: with its limits of 10 nodes a read and 7 items a call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.contract import DeviceUnavailable, WritableSession
from drivers.opcua.endpoint import parse_endpoint
from tests.drivers.opcua.listen import PATIENCE_S, asking, listening, make_driver, said
from tests.drivers.opcua.node_plant import HERE, NodePlant, node_plant
from tests.plugins.node_packages import installed

URI = "nsu=urn:hub:conveyor"
SECURE = {"policy": "Basic256Sha256", "mode": "SignAndEncrypt", "user": "gw", "password": "hunter2"}
POINTS = [
    {"name": "speed", "address": f"{URI};s=Speed", "writable": True},
    {"name": "weight", "address": f"{URI};s=Weights", "part": "[1]"},
    {"name": "broken", "address": f"{URI};s=Broken"},
    {"name": "absent", "address": f"{URI};s=Absent"},
    {"name": "by-path", "address": f"/Objects/{URI};Machine/Count"},
]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server keeps its key; making one takes it seconds."""
    installed(HERE)
    return tmp_path_factory.mktemp("node")


@pytest.fixture
async def server(keys: Path) -> AsyncIterator[NodePlant]:
    async with node_plant(keys) as running:
        yield running


async def trust(server: NodePlant, folder: Path) -> None:
    from drivers.opcua.certificates import CertificateFolder
    from drivers.opcua.client import Access, endpoints_of
    from drivers.opcua.secure import certificate_of
    from drivers.opcua.security import SecuritySettings

    endpoint = parse_endpoint(server.url)
    offers = await endpoints_of(Access(endpoint, SecuritySettings(), folder, PATIENCE_S))
    certificate = certificate_of(offers[0])
    assert certificate is not None
    CertificateFolder(folder / "opcua").trust(certificate, endpoint)


async def test_every_type_is_read(server: NodePlant, tmp_path: Path) -> None:
    names = ["Speed", "Float", "Count", "Big", "Name", "Running", "Since"]
    points: list[dict[str, Any]] = [{"name": name, "address": f"{URI};s={name}"} for name in names]
    points += [{"name": "high", "address": f"{URI};s=Range", "part": "High"}]
    driver = make_driver(server.url, tmp_path, points, subscribe=False)
    async with asking(driver) as session:
        assert said(await session.read(driver.groups[0])) == {
            "Speed": 0.0,
            "Float": 1.42,
            "Count": 1,
            "Big": 2**63 - 1,
            "Name": "parcel",
            "Running": True,
            "Since": "2026-01-02T03:04:05Z",
            "high": 20.0,
        }


@pytest.mark.parametrize("subscribe", [True, False])
async def test_forty_points_pass_its_limits(server: NodePlant, tmp_path: Path, *, subscribe: bool) -> None:
    points = [{"name": f"many{i}", "address": f"/Objects/2:Machine/Many{i}"} for i in range(30)]
    driver = make_driver(server.url, tmp_path, points, subscribe=subscribe)
    if subscribe:
        async with listening(driver) as ear:
            await ear.until(lambda ear: len(ear.values) == 30)
            assert ear.values == {f"many{i}": i for i in range(30)}
    else:
        async with asking(driver) as session:
            reading = await session.read(driver.groups[0])
            assert said(reading) == {f"many{i}": i for i in range(30)}


@pytest.mark.parametrize("policy", ["Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"])
@pytest.mark.parametrize("mode", ["Sign", "SignAndEncrypt"])
async def test_with_every_policy_and_mode_and_a_user(server: NodePlant, tmp_path: Path, policy: str, mode: str) -> None:
    await trust(server, tmp_path)
    driver = make_driver(server.url, tmp_path, POINTS, security={**SECURE, "policy": policy, "mode": mode})
    async with listening(driver) as ear:
        await server.tell("write", "Speed", "Double", 1.5)
        await ear.until(lambda ear: ear.values.get("speed") == 1.5 and len(ear.quality) == 5)
        assert (ear.values["weight"], ear.values["by-path"]) == (20.0, 1)
        assert ear.quality["broken"] == "bad:BadSensorFailure"
        assert ear.quality["absent"] == "bad:BadNodeIdUnknown"
        assert await server.tell("sessions") == 1
    assert await server.tell("sessions") == 0


async def test_what_is_written_is_read_back(server: NodePlant, tmp_path: Path) -> None:
    driver = make_driver(server.url, tmp_path, POINTS)
    async with driver.connect() as session:
        assert isinstance(session, WritableSession)
        group = driver.groups[0]
        assert await session.write(group, group.points[0], 3) == 3.0
    assert await server.tell("read", "Speed") == 3.0


async def test_a_wrong_password_is_said(server: NodePlant, tmp_path: Path) -> None:
    await trust(server, tmp_path)
    driver = make_driver(server.url, tmp_path, POINTS, security={**SECURE, "password": "wrong"})
    with pytest.raises(DeviceUnavailable, match="logging in") as caught:
        async with driver.connect():
            pass
    assert "check user and password" in caught.value.hint
    assert "wrong" not in str(caught.value)


async def test_a_server_that_does_not_trust_us_is_said(server: NodePlant, tmp_path: Path) -> None:
    await trust(server, tmp_path)
    await server.tell("strict")
    driver = make_driver(server.url, tmp_path, POINTS, security=SECURE)
    with pytest.raises(DeviceUnavailable) as caught:
        async with driver.connect():
            pass
    assert str(tmp_path / "opcua" / "own" / "certificate.der") in caught.value.hint


async def test_a_power_cut_is_noticed_and_survived(server: NodePlant, keys: Path, tmp_path: Path) -> None:
    driver = make_driver(server.url, tmp_path, POINTS)
    async with listening(driver) as ear:
        await ear.until(lambda ear: "speed" in ear.values)
        server.kill()
        with pytest.raises(DeviceUnavailable):
            await ear.until(lambda ear: False)
    async with node_plant(keys, port=server.port), listening(driver) as ear:
        await ear.until(lambda ear: "speed" in ear.values)
