"""A driver in a package of its own, built and installed as its README says, found by its entry point."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.app.conftest import Gateway, environment, hub_gateway, until
from tests.drivers.text_line.rig import PACKAGE, LineDevice, line_device
from tests.plugins.mosquitto import Mosquitto


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the example was built into by setuptools, from a copy of its sources, without a network."""
    folder = tmp_path_factory.mktemp("third-party")
    source = folder / "source"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-c", "import setuptools; setuptools.setup()", "-q"]
    site = folder / "site"
    subprocess.run(
        [*build, "build_py", "--build-lib", str(site), "egg_info", "--egg-base", str(site)],
        cwd=source, check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert (site / "text_line" / "session.py").is_file()
    return site


def bench(device: LineDevice, **more: Any) -> dict[str, Any]:
    points = [{"name": "load", "unit": "kg"}, {"name": "light", "writable": True}]
    url = f"line://127.0.0.1:{device.port}"
    return {"name": "bench", "driver": "text-line", "url": url, "points": points} | more


async def command(*arguments: str | Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Run a command while the devices of the test answer."""
    return await asyncio.to_thread(hub_gateway, *arguments, env=environment(PYTHONPATH=str(site)))


async def test_check_points_and_schema_know_it(installed: Path, gateway: Gateway) -> None:
    async with line_device(speaks=False) as device:
        gateway.settings["devices"] = [bench(device)]
        gateway.write()
        checked = await command("check", "-c", gateway.config, site=installed)
        assert (checked.returncode, checked.stderr) == (0, "")
        planned = await command("points", "-c", gateway.config, site=installed)
        assert "bench every 0.2 s: load?" in planned.stdout
        schema = json.loads((await command("schema", site=installed)).stdout)
        assert schema["$defs"]["text-line_device"]["properties"]["listen"]["default"] is False
        assert device.asked == []


async def test_its_mistakes_are_told_with_their_place(installed: Path, gateway: Gateway) -> None:
    async with line_device(speaks=False) as device:
        gateway.settings["devices"] = [bench(device, lisen=True), bench(device, name="other", url="line://nowhere")]
        gateway.write()
        checked = await command("check", "-c", gateway.config, site=installed)
    assert checked.returncode == 78
    assert 'devices[0].lisen: "lisen" is not a key here; did you mean "listen"?' in checked.stderr
    assert "devices[1].url: must be line://host:port" in checked.stderr


async def test_without_the_package_its_name_is_unknown(gateway: Gateway) -> None:
    async with line_device(speaks=False) as device:
        gateway.settings["devices"] = [bench(device)]
        gateway.write()
        checked = await command("check", "-c", gateway.config, site=gateway.folder)
    assert checked.returncode == 78
    assert "text-line" in checked.stderr


@pytest.mark.parametrize("listen", [False, True])
async def test_a_live_check_shows_what_it_reads(installed: Path, gateway: Gateway, listen: bool) -> None:
    async with line_device(speaks=listen) as device:
        points = [{"name": "load", "unit": "kg"}, {"name": "light"}]
        gateway.settings["devices"] = [bench(device, listen=listen, points=points)]
        gateway.write()
        checked = await command("check", "-c", gateway.config, "--live", site=installed)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "1.00 kg" in checked.stdout


async def test_it_is_read_and_written(installed: Path, gateway: Gateway, mosquitto: Mosquitto) -> None:
    mosquitto.start()
    async with line_device(speaks=False) as device, mosquitto.subscriber("hub/lgg/sort-01/bench") as subscriber:
        gateway.settings["devices"] = [bench(device)]
        gateway.settings["commands"] = {"enabled": True}
        await asyncio.to_thread(gateway.start, PYTHONPATH=str(installed))
        first = await subscriber.next()
        assert b'"values":{"load":1.00,"light":true}' in first.payload
        await asyncio.to_thread(until, lambda: "Received SUBSCRIBE from hub-gateway" in mosquitto.log, "it subscribes")
        asking = ["mosquitto_rr", "-h", "127.0.0.1", "-p", str(mosquitto.port), "-q", "1", "-V", "5", "-W", "15"]
        told = await asyncio.to_thread(
            subprocess.run,
            [*asking, "-e", "answers", "-t", "hub/lgg/sort-01/bench/set/light", "-m", '{"value": false}'],
            stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
        assert json.loads(told.stdout) == {"ok": True, "value": False}
        await subscriber.until(lambda reading: reading["values"].get("light") is False)
        assert await asyncio.to_thread(gateway.stop) == 0
    assert device.held["light"] == "off"
