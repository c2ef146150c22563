"""The unit file as systemd itself judges it."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.forwarding import DRAIN_S

FOLDER = Path(__file__).parents[2] / "systemd"
UNIT = FOLDER / "hub-gateway.service"
INSTALLED = "/opt/hub-gateway/bin/hub-gateway"


@pytest.fixture(scope="session")
def systemd_analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.fail("the unit is checked by systemd-analyze: apt-get install systemd", pytrace=False)
    return found


def settings(section: str) -> dict[str, str]:
    """The last value of every setting."""
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters="=")
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT.read_text())
    return dict(unit[section])


def test_systemd_finds_nothing_to_complain_about(systemd_analyze: str, tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(INSTALLED, "/bin/true"))
    verdict = subprocess.run([systemd_analyze, "verify", copy], capture_output=True, text=True, check=False)
    complaints = [line for line in (verdict.stdout + verdict.stderr).splitlines() if UNIT.stem in line]
    assert (verdict.returncode, complaints) == (0, [])


def test_the_sandbox_leaves_an_exposure_of_at_most_one_and_a_half(systemd_analyze: str) -> None:
    verdict = subprocess.run(
        [systemd_analyze, "security", "--offline=true", "--no-pager", "--threshold=15", UNIT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


def test_systemd_waits_longer_than_the_gateway_drains() -> None:
    assert int(settings("Service")["TimeoutStopSec"]) >= DRAIN_S + 10


def test_the_gateway_starts_without_a_network_and_never_gives_up() -> None:
    assert "network-online" not in settings("Unit")["After"]
    assert settings("Unit")["StartLimitIntervalSec"] == "0"


def test_a_bad_config_is_not_tried_again() -> None:
    assert settings("Service")["RestartPreventExitStatus"] == "78"


def test_every_kind_of_port_that_the_unit_allows_is_there_before_its_first_adapter() -> None:
    allowed = set(re.findall(r"^DeviceAllow=char-(ttyUSB|ttyACM) rw$", UNIT.read_text(), re.MULTILINE))
    modules = {line for line in (FOLDER / "modules-load.conf").read_text().splitlines() if not line.startswith("#")}
    assert (allowed, modules) == ({"ttyUSB", "ttyACM"}, {"usbserial", "cdc_acm"})


def test_the_user_of_the_unit_is_the_one_that_is_made() -> None:
    user = settings("Service")["User"]
    assert re.search(rf"^u {user} ", (FOLDER / "sysusers.conf").read_text(), re.MULTILINE)
