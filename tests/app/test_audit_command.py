"""`hub-gateway audit` against a real broker: what it prints and its exit code, when all is there and when it is not."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.model import Point, PointGroup, Reading
from gateway.buffer import Buffer
from gateway.config import BufferSettings
from gateway.health import BufferHealth
from tests.app.conftest import ROOT, Fleet, Gateway, environment, free_port, hub_gateway, until
from tests.app.test_audit import message
from tests.plugins.documents import Document
from tests.plugins.mosquitto import Mosquitto

POINT = {"name": "n", "address": "holding:0", "type": "uint16"}


@contextmanager
def auditing(broker: Mosquitto, *options: str | Path) -> Iterator[subprocess.Popen[str]]:
    """The running command, once the broker has granted its subscription."""
    grants = broker.log.count("SUBACK to hubaudit")
    command = [sys.executable, "-m", "gateway", "audit", *map(str, options)]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, env=environment(), **pipes) as process:
        try:
            until(lambda: broker.log.count("SUBACK to hubaudit") > grants, "the broker grants the subscription")
            yield process
        finally:
            process.kill()


def publish(broker: Mosquitto, *bodies: Any, topic: str = "hub/lgg/sort-01/infeed", retained: bool = False) -> None:
    lines = "\n".join(json.dumps(body) for body in bodies) + "\n"
    command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.port), "-q", "1", "-t", topic, "-l"]
    command += ["-r"] * retained
    subprocess.run(command, input=lines, text=True, check=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, complaints = process.communicate(timeout=40)
    return process.returncode, out, complaints


def test_what_is_missing_and_what_contradicts_itself_is_named(mosquitto: Mosquitto) -> None:
    mosquitto.start()
    with auditing(mosquitto, "--broker", mosquitto.url, "--for", "1s") as process:
        publish(mosquitto, message(5), message(6), message(9), message(6) | {"values": {"n": 0}}, "no reading")
        code, out, complaints = ended(process)
    assert (code, complaints) == (65, "")
    assert out.startswith(
        "sort-01, epoch 0a1b2c3d\n"
        "  judged       positions 5 to 9\n"
        "  received     3, 1 of them twice, 0 connections begun\n"
        "  missing      2: 7 to 8\n"
        "  contradict   1: 0a1b2c3d-6\n"
        "1 messages were neither readings nor a gateway's status\n"
    )
    assert re.search(r"^infeed +3 +3 +0 +1 +1 +0 +0a1b2c3d-5 +0a1b2c3d-9 +\d+\.\d s$", out, re.MULTILINE)


def test_stopped_by_a_person_a_young_gap_is_open_which_proves_nothing_and_the_session_is_given_up(
    mosquitto: Mosquitto,
) -> None:
    mosquitto.start()
    with auditing(mosquitto, "--broker", mosquitto.url, "--json") as process:
        publish(mosquitto, message(1), message(3))
        until(lambda: mosquitto.log.count("Received PUBACK from hubaudit") >= 2, "it has taken both")
        process.send_signal(signal.SIGINT)
        code, out, complaints = ended(process)
    found = json.loads(out)
    (epoch,) = found["epochs"]
    assert (code, complaints, found["unheard"]) == (69, "", [])
    assert (epoch["readings"], epoch["missing"], epoch["open"], epoch["open_spans"]) == (2, 0, 1, [[2, 2]])
    sessions = re.findall(r"New client connected from \S+ as hubaudit\w+ \(p5, c(\d)", mosquitto.log)
    assert sessions == ["0", "1"]


def test_an_interruption_of_the_audit_itself_is_no_gap(mosquitto: Mosquitto) -> None:
    mosquitto.remember()
    mosquitto.start()
    with auditing(mosquitto, "--broker", mosquitto.url, "--json") as process:
        publish(mosquitto, message(1))
        until(lambda: "Received PUBACK from hubaudit" in mosquitto.log, "it has taken the first")
        mosquitto.stop()
        mosquitto.start()
        publish(mosquitto, message(2), message(3))
        until(lambda: mosquitto.log.count("Received PUBACK from hubaudit") >= 3, "it has taken the others")
        process.send_signal(signal.SIGTERM)
        code, out, _ = ended(process)
    found = json.loads(out)
    assert (code, found["interruptions"], found["forgotten"], found["epochs"][0]["readings"]) == (0, 1, 0, 3)


@pytest.mark.parametrize("comes_back", [False, True])
def test_without_a_connection_at_the_end_or_after_a_forgotten_session_nothing_is_proved(
    mosquitto: Mosquitto, comes_back: bool
) -> None:
    mosquitto.start()
    with auditing(mosquitto, "--broker", mosquitto.url) as process:
        publish(mosquitto, message(1))
        until(lambda: "Received PUBACK from hubaudit" in mosquitto.log, "it has taken the first")
        mosquitto.stop()
        if comes_back:
            mosquitto.start()  # it has kept nothing
            until(lambda: mosquitto.log.count("SUBACK to hubaudit") == 2, "the broker grants it anew")
            publish(mosquitto, message(2))
        process.send_signal(signal.SIGTERM)
        code, out, complaints = ended(process)
    why = (
        "readings may have come while the broker kept nothing" if comes_back else "at the end the broker did not answer"
    )
    assert (code, complaints) == (69, "")
    assert "the connection of the audit itself was interrupted 1 times" in out
    assert f"nothing is proved: {why}\n" in out


def test_a_reading_that_the_broker_has_retained_is_not_judged(mosquitto: Mosquitto) -> None:
    mosquitto.start()
    publish(mosquitto, message(1), topic="hub/lgg/sort-01/old", retained=True)
    with auditing(mosquitto, "--broker", mosquitto.url, "--for", "1s") as process:
        publish(mosquitto, message(500), message(501))
        code, out, complaints = ended(process)
    assert (code, complaints) == (0, "")
    assert "  judged       positions 500 to 501\n" in out
    assert "1 messages had been kept by the broker (retained)" in out


def test_with_the_config_what_is_missing_is_looked_up_in_the_buffer(
    gateway: Gateway, mosquitto: Mosquitto, fleet: Fleet
) -> None:
    """One device is refused by the broker: its positions are gaps, and set aside."""
    mosquitto.password("sort-01", "secret")
    own = [f"topic write hub/lgg/sort-01/{name}" for name in ("status", "device-001")]
    mosquitto.access("user sort-01", *own, "topic read #")
    mosquitto.start()
    gateway.settings["destinations"] = [
        {"name": "broker", "url": mosquitto.url, "username": "sort-01", "password": "secret"}
    ]
    gateway.settings["devices"] = [fleet.device(1), fleet.device(2)]
    gateway.start()
    with auditing(mosquitto, "-c", gateway.config, "--for", "16s", "--json") as process:
        code, out, complaints = ended(process)
    gateway.stop()
    (epoch,) = json.loads(out)["epochs"]
    account = epoch["account"]
    assert epoch["missing"] > 0, out
    assert account["set_aside"] > 0
    assert account["unaccounted"] == 0, out
    assert account["set_aside"] + account["waiting"] + account["dropped"] <= epoch["missing"] + epoch["open"]
    assert [one["device"] for one in json.loads(out)["devices"]] == ["device-001"]
    assert (code, complaints) == (0, "")


async def test_with_the_config_an_open_gap_is_looked_up_too_and_its_epoch_must_be_heard(
    gateway: Gateway, mosquitto: Mosquitto
) -> None:
    mosquitto.start()
    gateway.settings["destinations"] = [{"name": "broker", "url": mosquitto.url}]
    gateway.settings["devices"] = [{"name": "belt", "driver": "modbus", "url": "tcp://127.0.0.1:1", "points": [POINT]}]
    gateway.write()
    settings = BufferSettings(path=gateway.buffer, min_free_disk=0)
    async with Buffer.open(settings, destinations=["broker"], health=BufferHealth()) as buffer:
        for number in range(1, 5):
            buffer.append(Reading(PointGroup("belt", 1.0, (Point("n"),)), number, (number,)))
        await buffer.flush()

    def audit(*messages: dict[str, Any]) -> tuple[int, str]:
        taken = mosquitto.log.count("Received PUBACK from hubaudit") + len(messages)
        with auditing(mosquitto, "-c", gateway.config, "--topic", "hub/#") as process:
            publish(mosquitto, *messages)
            until(lambda: mosquitto.log.count("Received PUBACK from hubaudit") >= taken, "it has taken all")
            process.send_signal(signal.SIGINT)
            code, out, _ = ended(process)
        return code, out

    code, out = audit(message(1), message(2))
    assert (code, f"nothing is proved: nothing has come of epoch {buffer.epoch}" in out) == (69, True), out
    code, out = audit(message(1, epoch=buffer.epoch), message(4, epoch=buffer.epoch))
    assert "  open         2, may still come: 2 to 3\n    of these   2 wait, 0 set aside, 0 dropped\n" in out
    assert (code, "not proved" in out) == (0, False), out


def test_the_lines_for_a_consumer_print_gaps_and_copies(tmp_path: Path) -> None:
    """Those in docs/consumers.md, as they stand."""
    (block,) = Document(ROOT / "docs" / "consumers.md").blocks("bash")
    received = [*map(message, (9, 10, 14, 10, 12)), {"online": True}, message(3, epoch="ffffffff")]
    (tmp_path / "received.json").write_text("".join(json.dumps(one) + "\n" for one in received))
    told = [
        subprocess.run(["bash", "-c", line], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True).stdout
        for line in block.splitlines()
    ]
    assert told == ["0a1b2c3d-11 to 0a1b2c3d-11\n0a1b2c3d-13 to 0a1b2c3d-13\n", "0a1b2c3d-10\n"]


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--broker", "http://x"], 78, "--broker: a broker's url starts with one of mqtt://"),
        (["--broker", "mqtt://x", "--ca", "none.pem"], 78, "--ca: "),
        (["--broker", "mqtt://x", "--topic", "a/#/b"], 78, "--topic 'a/#/b' is no topic filter"),
        (["--broker", "mqtt://x", "--topic", ""], 78, "--topic '' is no topic filter"),
        (["--broker", "mqtt://x", "--topic", "a/b+"], 78, "--topic 'a/b+' is no topic filter"),
        (["--broker", "mqtt://x", "--destination", "y"], 78, "--destination names one of a config"),
        (["--broker", "mqtt://x", "--username", "u", "--password-file", "/none"], 78, "--password-file /none: No such"),
        (
            ["--broker", "mqtt://x", "--username", "u", "--password-file", sys.executable],
            78,
            f"--password-file {sys.executable}: it is not text in UTF-8",
        ),
        (
            ["--broker", "mqtt://x", "--username", "\udcff"],
            78,
            "the username cannot be sent: it is not UTF-8",
        ),
        (["--broker", "mqtt://..:1"], 78, 'there can be no host with the name ".."'),
    ],
)
def test_options_that_cannot_be_used_are_told(options: list[str], code: int, told: str) -> None:
    done = hub_gateway("audit", "--for", "1s", *options)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"hub-gateway audit: {told}"), done.stderr


def test_a_key_with_a_passphrase_is_told_and_not_asked_for(mosquitto: Mosquitto, tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-subj", "/CN=audit", "-passout", "pass:secret"]
    subprocess.run([*made, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    options = ["--broker", "mqtts://127.0.0.1", "--certificate", certificate, "--key", key]
    done = hub_gateway("audit", "--for", "1s", *options, start_new_session=True)
    assert (done.returncode, done.stdout) == (69, "")
    assert "the key has a passphrase" in done.stderr


def test_nobody_there_and_nothing_heard_are_no_proof(mosquitto: Mosquitto) -> None:
    done = hub_gateway("audit", "--for", "1s", "--broker", f"mqtt://127.0.0.1:{free_port()}")
    assert (done.returncode, done.stdout) == (69, "")
    assert "cannot listen to mqtt://127.0.0.1:" in done.stderr
    mosquitto.start()
    done = hub_gateway("audit", "--for", "1s", "--broker", mosquitto.url)
    assert (done.returncode, done.stdout, done.stderr) == (69, "no reading has arrived\n", "")
    mosquitto.stop()
    mosquitto.password("sort-01", "secret")
    mosquitto.start()
    done = hub_gateway("audit", "--for", "1s", "--broker", mosquitto.url)
    assert (done.returncode, "it refuses the subscriber: Not authorized" in done.stderr) == (69, True), done.stderr
