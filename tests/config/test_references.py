"""`${env:}`, `${file:}` and `${credential:}`: filled in, told when they lead nowhere, never shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.config import Settings

Document = Callable[[str], str]
Load = Callable[..., Settings]
Told = Callable[..., list[str]]

ONE_POINT = "points: [{name: speed, address: 0}]"


def broker(password: str) -> str:
    return f"- {{name: b, url: mqtt://h, username: u, password: '{password}'}}"


def password_of(settings: Settings) -> str:
    password = settings.destinations[0].password
    assert isinstance(password, SecretStr)
    return password.get_secret_value()


def test_an_environment_variable_is_filled_in(loaded: Load, destined: Document) -> None:
    settings = loaded(destined(broker("${env:PASSWORD}")), environment={"PASSWORD": "hunter2"})
    assert password_of(settings) == "hunter2"


def test_several_references_and_text_make_one_value(loaded: Load, destined: Document) -> None:
    settings = loaded(destined(broker("a-${env:A}-${env:B}-z")), environment={"A": "1", "B": ""})
    assert password_of(settings) == "a-1--z"


@pytest.mark.parametrize("content", ["hunter2", "hunter2\n", "hunter2\r\n"])
def test_a_file_is_filled_in_without_its_last_line_end(
    content: str, loaded: Load, destined: Document, folder: Path
) -> None:
    (folder / "password").write_bytes(content.encode())
    assert password_of(loaded(destined(broker("${file:password}")))) == "hunter2"
    assert password_of(loaded(destined(broker(f"${{file:{folder}/password}}")))) == "hunter2"


def test_only_one_line_end_is_taken_away(loaded: Load, destined: Document, folder: Path) -> None:
    (folder / "password").write_text("hunter2\n\n")
    assert password_of(loaded(destined(broker("${file:password}")))) == "hunter2\n"


def test_a_credential_is_filled_in(loaded: Load, destined: Document, folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "mqtt").write_text("hunter2\n")
    environment = {"CREDENTIALS_DIRECTORY": str(folder / "run")}
    assert password_of(loaded(destined(broker("${credential:mqtt}")), environment=environment)) == "hunter2"


def test_two_dollars_stand_for_the_characters_themselves(loaded: Load, destined: Document) -> None:
    assert password_of(loaded(destined(broker("$${env:A} $5 $$")))) == "${env:A} $5 $$"


def test_what_was_filled_in_is_not_searched_again(loaded: Load, destined: Document) -> None:
    settings = loaded(destined(broker("${env:A}")), environment={"A": "${env:B}"})
    assert password_of(settings) == "${env:B}"


def test_a_number_may_come_from_a_reference(loaded: Load, belt: Document) -> None:
    text = belt("lanes: ${env:LANES}\nperiod: ${env:PERIOD}\n" + ONE_POINT)
    device = loaded(text, environment={"LANES": "3", "PERIOD": "250ms"}).devices[0]
    assert device.model_dump()["lanes"] == 3
    assert device.period == 0.25


LOST = {
    "no variable": ("${env:NOPE}", "the environment variable NOPE is not set; set it"),
    "no file": ("${file:/no/such}", "password: ${file:/no/such}: /no/such: there is no such file"),
    "a folder": ("${file:.}", ": is not a file"),
    "no credentials": ("${credential:mqtt}", "CREDENTIALS_DIRECTORY is not set); add LoadCredential=mqtt:/path"),
    "a credential in a folder": ("${credential:../mqtt}", '"../mqtt" cannot be a credential'),
    "an unknown kind": ("${evn:NAME}", '${…} holds env:NAME, file:/path or credential:NAME; did you mean "env"?'),
    "a bare name": ("${NAME}", "for an environment variable write ${env:NAME}"),
    "no name": ("${env:}", "${…} holds env:NAME, file:/path or credential:NAME"),
    "no brace": ("${env:NAME", "${ has no closing }; write $${ for the characters themselves"),
}


@pytest.mark.parametrize(("reference", "message"), LOST.values(), ids=LOST)
def test_a_reference_that_leads_nowhere_is_the_only_problem(
    reference: str, message: str, told: Told, destined: Document
) -> None:
    (found,) = told(destined(broker(reference)))
    assert found.startswith("hub.yaml:3:")
    assert "destinations[0].password: " in found
    assert message in found


def test_an_unresolved_number_has_no_second_problem(told: Told, belt: Document) -> None:
    text = "defaults: {period: '${env:A}'}\n" + belt("lanes: ${env:B}\ndriver_: ${env:C}\n" + ONE_POINT)
    assert [line.partition(" ")[2].partition(":")[0] for line in told(text)] == [
        "defaults.period",
        "devices[0].lanes",
        "devices[0].driver_",
    ]


def test_an_unresolved_driver_or_points_file_has_no_second_problem(told: Told, belt: Document) -> None:
    text = belt("points_file: ${env:FILE}").replace("driver: belt", "driver: ${env:DRIVER}")
    assert [line.partition(" ")[2].partition(":")[0] for line in told(text)] == [
        "devices[0].driver",
        "devices[0].points_file",
    ]


def test_a_file_that_is_no_text_is_told(told: Told, destined: Document, folder: Path) -> None:
    (folder / "password").write_bytes(b"\xff\xfe")
    (found,) = told(destined(broker("${file:password}")))
    assert found.endswith("${file:password} is not UTF-8 text")


def test_a_variable_that_is_no_text_is_told(told: Told, destined: Document) -> None:
    (found,) = told(destined(broker("${env:A}")), environment={"A": "\udcff"})
    assert found.endswith("the environment variable A is not UTF-8 text")


def test_a_file_without_end_is_not_read(told: Told, destined: Document) -> None:
    (found,) = told(destined(broker("${file:/dev/zero}")))
    assert found.endswith("/dev/zero: is not a file")


def test_a_large_file_is_no_secret(told: Told, destined: Document, folder: Path) -> None:
    (folder / "password").write_bytes(b"x" * 70_000)
    (found,) = told(destined(broker("${file:password}")))
    assert found.endswith("${file:password} is larger than 64 KiB")


@pytest.mark.parametrize(
    "keys",
    [
        "period: ${env:S}",
        "lanes: ${env:S}",
        "report: ${env:S}",
        "points_file: ${env:S}",
        "points: [{name: '${env:S}', address: 0}, {name: '${env:S}', address: 0}]",
        "guard: {distance: '${env:S}'}",
        "priority: x${env:S}y",
    ],
)
@pytest.mark.parametrize("secret", ["hunter2 #'\"\\", "hunter2\n"])
def test_a_secret_is_never_shown(keys: str, secret: str, told: Told, belt: Document) -> None:
    text = belt(keys if "points:" in keys else f"{keys}\n{ONE_POINT}")
    assert "hunter2" not in "\n".join(told(text, environment={"S": secret}))


@pytest.mark.parametrize(
    "destination",
    [
        "- {name: a, url: '${env:S}'}",
        "- {name: a, url: 'mqtt://u:${env:S}@h'}",
        "- {name: a, url: 'mqtt://u:hunter2@h:port'}",
        "- {name: a, url: 'x://u:hunter2@h'}",
        "- {name: a, url: mqtt://h, topic: '{device}/{${env:S}'}",
        "- {name: a, url: mqtt://h, password: '${env:S}'}",
        "- {name: a, url: mqtt://h, password: hunter2}",
        "- {name: a, url: mqtt://h, username: u, password: [hunter2]}",
        "- {name: a, url: mqtt://h, username: u, passwrd: hunter2}",
        "- {name: '${env:S} x', url: mqtt://h}",
    ],
)
def test_a_secret_of_a_destination_is_never_shown(destination: str, told: Told, destined: Document) -> None:
    assert "hunter2" not in "\n".join(told(destined(destination), environment={"S": "hunter2"}))


def test_a_short_secret_does_not_garble_other_words(told: Told, belt: Document) -> None:
    found = told(belt("serial_number: ${env:S}\nlanes: x\n" + ONE_POINT), environment={"S": "a"})
    assert found == ['hub.yaml:9:12: devices[0].lanes: "x" is not a whole number']


def test_settings_do_not_show_the_password(loaded: Load, destined: Document) -> None:
    assert "hunter2" not in repr(loaded(destined(broker("hunter2"))))
