"""`hub-gateway demo`: one command that proves itself, and leaves nothing behind."""

from __future__ import annotations

import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from drivers.model import Point, PointGroup, Quality, Reading, Value
from gateway.buffer import inspect
from gateway.demo_table import said_last
from gateway.health import DeviceHealth
from tests.app.conftest import ROOT, environment, free_port, until
from tests.plugins.mosquitto import Mosquitto

FOR = "8s"


def test_the_demo_proves_that_nothing_is_lost(tmp_path: Path) -> None:
    with demo("--for", FOR, "--listen", f"127.0.0.1:{free_port()}") as process:
        told, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
    assert_proven(told)
    belt = r"\d\.\d\d m/s, parcels \d+, load \d+\.\d kg, jams \d+"
    for name, driver, said in (
        ("infeed", "modbus", belt),
        ("singulator", "modbus", belt),
        ("weigher", "scale", r"-?\d+\.\d{3} kg( in motion)?"),
        ("weigh-belt", "modbus", belt),
        ("portal", "rfid", r"nothing yet|urn:epc:\S+, antenna \d"),
        ("portal-belt", "modbus", belt),
        ("feeder", "modbus", belt),
        ("sorter", "opcua", r"Execute, sorted \d+, missorted \d+(, last to \w+)?"),
        ("counter", "scale", r"-?\d+\.\d\d kg( in motion)?"),
        ("pallet-scale", "scale", r"-?\d+\.\d kg( in motion)?"),
        ("door", "rfid", r"nothing yet|urn:epc:\S+, antenna \d"),
    ):
        assert re.search(rf"^ +{name} +{driver} +up +({said}) +\d+ *$", told, re.MULTILINE), told


def test_it_brings_its_own_broker_and_finds_a_free_port_where_there_is_neither(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "demo"
    with taken_port(9464), demo("--for", FOR, "--dir", folder, mosquitto=False) as process:
        told, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
    assert_proven(told)
    assert "status page http://127.0.0.1:9464 " not in told
    assert "connected to mqtt://127.0.0.1:" in (folder / "gateway.log").read_text()
    assert "with MQTT 3.1.1" in (folder / "gateway.log").read_text()


def test_a_broker_and_a_folder_of_ones_own_are_used_again(tmp_path: Path, mosquitto: Mosquitto) -> None:
    mosquitto.start()
    taken = 0
    for log_level in ("warning", "info"):
        with demo("--for", "1s", "--dir", tmp_path, "--broker", mosquitto.url, "--log-level", log_level) as process:
            told, complaints = process.communicate(timeout=60)
        assert (process.returncode, complaints) == (0, "")
        taken += assert_proven(told)
        assert (log_level == "info") is (" INFO " in (tmp_path / "gateway.log").read_text())
    assert inspect.status(tmp_path / "buffer.db").last_position == taken
    sessions = re.findall(r"New client connected from \S+ as (hubdemo\w+) \(\w+, c(\d)", mosquitto.log)
    assert [clean for _, clean in sessions] == ["0", "1", "0", "1"]  # each was made to be kept, and then forgotten


def test_ctrl_c_ends_it_with_the_proof_also_when_the_broker_was_away(tmp_path: Path, mosquitto: Mosquitto) -> None:
    mosquitto.remember()
    mosquitto.start()
    log = tmp_path / "gateway.log"
    with demo("--listen", f"127.0.0.1:{free_port()}", "--dir", tmp_path, "--broker", mosquitto.url) as process:
        until(lambda: log.exists() and "sorter is up" in log.read_text(), "the devices are up", timeout_s=60)
        mosquitto.stop()
        until(lambda: "Connection refused" in log.read_text(), "the gateway misses the broker")
        mosquitto.start()
        until(lambda: re.search(r"connected to .* after [1-9]\d* failures", log.read_text()), "it is connected again")
        process.send_signal(signal.SIGINT)
        told, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
    assert_proven(told)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_it_starts_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    with demo("--dir", tmp_path) as process:
        until(lambda: descendants(process.pid), "it has started a process", timeout_s=60)
        process.send_signal(number)
        told, complaints = process.communicate(timeout=60)
    assert (process.returncode, told, complaints) == (0, "", "")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ("--broker", "mqtt://127.0.0.1:1"),
            "cannot reach the broker mqtt://127.0.0.1:1: [Errno 111] Connection refused",
        ),
        (("--broker", "mqtts://127.0.0.1:1"), "--broker mqtts://127.0.0.1:1: the demo speaks plain MQTT"),
        (("--dir", "/proc/version/demo"), "cannot write to /proc/version/demo: Not a directory; choose another --dir"),
        (("--listen", "nowhere"), "http.listen: "),
    ],
)
def test_what_it_cannot_do_is_told_without_a_traceback(options: tuple[str, ...], told: str) -> None:
    with demo("--for", "1s", *options) as process:
        out, complaints = process.communicate(timeout=60)
    assert (process.returncode, out) == (69, "")
    assert complaints.startswith("hub-gateway demo: ")
    assert told in complaints
    assert "Traceback" not in complaints


@pytest.mark.parametrize(
    ("values", "quality", "words"),
    [
        ({"weight": Decimal("12.340"), "unit": "kg"}, {}, "12.340 kg"),
        ({"weight": Decimal("12.340"), "unit": "kg"}, {"weight": "uncertain:in-motion"}, "12.340 kg in motion"),
        ({"weight": None, "unit": "kg"}, {"weight": "bad:overload"}, "weight overload"),
        ({"uri": "urn:epc:id:sscc:0614141.1234567890", "antenna": None}, {}, "urn:epc:id:sscc:0614141.1234567890"),
        ({"load": 3.25, "speed": 0.8, "temperature": 31.0}, {}, "0.80 m/s, load 3.2 kg"),
        ({"sorted": 0, "last_destination": ""}, {}, "sorted 0"),
        ({"speed": None}, {"speed": "bad:illegal-address"}, "speed illegal address"),
        ({"speed": None}, {}, "nothing yet"),
    ],
)
def test_the_table_says_it_in_the_words_of_the_points(
    values: dict[str, Value], quality: dict[str, str], words: str
) -> None:
    group = PointGroup("device", 1.0, tuple(map(Point, values)))
    qualities = {list(values).index(name): Quality.parse(text) for name, text in quality.items()}
    device = DeviceHealth("device", "driver", last={group: Reading(group, 0, tuple(values.values()), qualities)})
    assert said_last(device) == words


def assert_proven(told: str) -> int:
    """The last lines say that all of it has arrived; how much that was."""
    proof = re.search(
        r"^readings taken +(\d+)\nacknowledged +(\d+) by mqtt://\S+\n"
        r"received +(\d+) by a subscriber, \d+ of them twice\nstill waiting +0\nlost +0\n\Z",
        told,
        re.MULTILINE,
    )
    assert proof, told
    assert int(proof[1]) > 0
    assert proof[1] == proof[2] == proof[3]
    return int(proof[1])


@contextmanager
def demo(*options: str | Path, mosquitto: bool = True) -> Iterator[subprocess.Popen[str]]:
    """The running demo, where mosquitto is installed or not; at the end all that it has started must be gone."""
    without = "import shutil, sys; shutil.which = lambda *_, **__: None; from gateway.cli import main; sys.exit(main())"
    command = [sys.executable, *(["-m", "gateway"] if mosquitto else ["-c", without]), "demo", *options]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    mark = f"DEMO_OF_TEST={secrets.token_hex(8)}"
    variables = environment(COLUMNS="200", **dict([mark.split("=")]))
    with subprocess.Popen(command, cwd=ROOT, text=True, env=variables, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()
    assert not [entry.name for entry in Path("/proc").iterdir() if _has_variable(entry, mark)], "processes left behind"


def descendants(pid: int) -> list[int]:
    """The child processes of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


@contextmanager
def taken_port(port: int) -> Iterator[None]:
    """The port is in use: by this test, or by somebody else already."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(("127.0.0.1", port))
            holder.listen()
        except OSError:
            assert holder.connect_ex(("127.0.0.1", port)) == 0
        yield


def _has_variable(process: Path, variable: str) -> bool:
    try:
        return variable.encode() in (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return False  # no process, or one that has just ended
