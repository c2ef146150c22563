"""What an operator types: messages, exit codes, and never a traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config import load
from tests.app.conftest import ROOT, Gateway, environment, hub_gateway

EXAMPLE = ROOT / "config" / "hub.yaml"
MISTAKES = """\
gateway: {site: lgg, id: sort-01}
buffer: {path: buffer.db, max_bytes: 12 parsecs}
destinations: [{name: broker, url: "http://127.0.0.1", qos: 0}]
devices:
  - {name: one, driver: modbus, url: "tcp://127.0.0.1:502", points: [{name: p, address: "holding:0", type: flot32}]}
  - {name: one, driver: modbus, url: "tcp://127.0.0.1:503", pionts: []}
"""


def test_the_module_and_the_console_script_are_the_same_command() -> None:
    script = Path(sys.executable).with_name("hub-gateway")
    told = subprocess.run([script, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert re.fullmatch(r"hub-gateway \d+\.\d+\.\d+\n", told)
    assert hub_gateway("--version").stdout == told


def test_a_good_config_is_told_in_one_line() -> None:
    told = hub_gateway("check", "-c", EXAMPLE)
    assert (told.returncode, told.stderr) == (0, "")
    devices = load(EXAMPLE).devices
    points = sum(len(device.points) for device in devices)
    assert told.stdout == f"{EXAMPLE}: OK, {len(devices)} devices with {points} points, 1 destinations\n"


@pytest.mark.parametrize("command", ["check", "run"])
def test_every_mistake_of_a_config_is_told_with_its_place(tmp_path: Path, command: str) -> None:
    (tmp_path / "hub.yaml").write_text(MISTAKES)
    told = hub_gateway(command, "-c", tmp_path / "hub.yaml")
    assert told.returncode == 78
    assert told.stdout == ""
    lines = told.stderr.splitlines()
    assert all(re.match(re.escape(f"{tmp_path}/hub.yaml") + r":\d+:\d+: [a-z_\[\]0-9.]+: \S", line) for line in lines)
    for place in ("buffer.max_bytes", "destinations[0].url", "destinations[0].qos", "devices[0].points[0].type"):
        assert any(f": {place}: " in line for line in lines), lines
    assert f'{tmp_path}/hub.yaml:6:61: devices[1].pionts: "pionts" is not a key here; did you mean "points"?' in lines
    assert any(line.endswith('"flot32" is not a type; did you mean "float32"?') for line in lines), lines


def test_a_config_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    told = hub_gateway("run", "-c", tmp_path / "hub.yaml")
    assert told.returncode == 78
    assert told.stderr == f"{tmp_path}/hub.yaml: the config file cannot be read: No such file or directory\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("run",), "the following arguments are required: -c/--config"),
        (("buffer", "-c", "x"), "invalid choice"),
        (("run", "-c", "x", "--log-format", "xml"), "invalid choice: 'xml' (choose from 'text', 'json')"),
        (("demo", "--for", "soon"), "'soon' needs a number and a unit"),
        (("buffer", "tail", "-c", "x", "-n", "-1"), "'-1' is not a number from 0 on"),
    ],
)
def test_bad_usage_is_told_with_code_2(arguments: tuple[str, ...], told: str) -> None:
    result = hub_gateway(*arguments)
    assert result.returncode == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr


def test_the_plan_names_every_request_and_every_point() -> None:
    told = hub_gateway("points", "-c", EXAMPLE)
    assert (told.returncode, told.stderr) == (0, "")
    links = [line for line in told.stdout.splitlines() if line and not line.startswith(" ")]
    requests = re.findall(r"^  (\S+) every (\S+) s: unit \d+ FC[1-4] ", told.stdout, re.MULTILINE)
    points = re.findall(r"^    (\S+) +\S", told.stdout, re.MULTILINE)
    assert "tcp://10.0.0.5:502" in links
    assert ("infeed-conveyor", "1") in requests
    assert len(points) == sum(len(device.points) for device in load(EXAMPLE).devices)


def test_the_schema_is_json_schema_of_the_config_file() -> None:
    told = hub_gateway("schema")
    assert (told.returncode, told.stderr) == (0, "")
    schema = json.loads(told.stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"gateway", "buffer", "destinations", "http", "defaults", "devices"} <= schema["properties"].keys()


@pytest.mark.parametrize("arguments", [("schema",), ("check", "-c", EXAMPLE)])
def test_a_reader_that_has_gone_away_is_no_error(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as gone:  # noqa: PTH123  a descriptor
        told = hub_gateway(*arguments, stdout=gone)
    assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [("schema",), ("check", "-c", EXAMPLE)])
def test_a_full_disk_that_takes_no_output_is_told(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        told = hub_gateway(*arguments, stdout=full)
    assert told.returncode == 74
    assert told.stderr == "hub-gateway: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("view", ["status", "export"])
def test_a_buffer_that_does_not_exist_yet_is_told_as_such(tmp_path: Path, view: str) -> None:
    config = _config(tmp_path)
    told = hub_gateway("buffer", view, "-c", config)
    assert (told.returncode, told.stdout) == (74, "")
    assert told.stderr == (
        f"hub-gateway: there is no buffer at {tmp_path}/gateway/buffer.db; "
        "check buffer.path; the first `run` makes it\n"
    )


@pytest.mark.parametrize("arguments", [("status",), ("set-aside", "--retry")], ids=["read", "write"])
def test_a_buffer_whose_path_no_system_can_have_is_told_as_such(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    path = tmp_path / ("long" * 100)
    told = hub_gateway("buffer", *arguments, "-c", _config(tmp_path, path=path))
    assert (told.returncode, told.stdout) == (74, "")
    assert told.stderr == f"hub-gateway: cannot open the buffer {path}: File name too long; check buffer.path\n"


def test_a_buffer_in_a_folder_of_somebody_else_is_told_as_such(tmp_path: Path) -> None:
    config = _config(tmp_path, path=tmp_path / "closed" / "buffer.db")
    (tmp_path / "closed").mkdir(mode=0)
    command = [sys.executable, "-m", "gateway", "buffer", "status", "-c", str(config)]
    if os.getuid() == 0:  # root, but without the capabilities that let it pass everywhere
        rights = "-dac_override,-dac_read_search"
        command = [shutil.which("setpriv") or "setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}", *command]
    told = subprocess.run(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True, check=False)
    assert told.returncode == 74
    assert told.stderr == (
        f"hub-gateway: cannot open the buffer {tmp_path}/closed/buffer.db: Permission denied; "
        "run this as the gateway's user or as root\n"
    )


def test_a_demo_without_its_extra_says_what_to_install() -> None:
    without = "import sys; sys.modules['rich'] = sys.modules['rich.box'] = None; from gateway.cli import main; "
    command = [sys.executable, "-c", f"{without}sys.exit(main(['demo']))"]
    told = subprocess.run(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True, check=False)
    assert told.returncode == 69
    assert told.stderr.startswith("hub-gateway demo: ")
    assert told.stderr.endswith("install it with: pip install 'hub-gateway[demo]'\n")


def _config(folder: Path, *, path: Path | None = None) -> Path:
    gateway = Gateway(folder / "gateway")
    gateway.settings["devices"] = [
        {
            "name": "one",
            "driver": "modbus",
            "url": "tcp://127.0.0.1:502",
            "points": [{"name": "p", "address": "holding:0", "type": "uint16"}],
        }
    ]
    if path is not None:
        gateway.settings["buffer"]["path"] = str(path)
    gateway.write()
    return gateway.config
