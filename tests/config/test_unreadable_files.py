"""A file that the system does not even look up is a mistake in the config like any other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Document = Callable[[str], str]
Told = Callable[..., list[str]]

LONG = "a" * 300
"""More than a file name may have, for every user: a folder that may not be entered would not stop root."""


@pytest.mark.parametrize(
    "keys",
    ["username: u, password: '${file:%s}'", "username: u, password: '${credential:%s}'", "tls: {ca: '%s'}"],
)
def test_a_file_of_a_destination(keys: str, told: Told, destined: Document) -> None:
    destination = f"- {{name: b, url: mqtts://h, {keys % LONG}}}"
    (found,) = told(destined(destination), environment={"CREDENTIALS_DIRECTORY": "/run"})
    assert found.startswith("hub.yaml:3:")
    assert found.endswith(f"/{LONG}: cannot be read: File name too long")


@pytest.mark.parametrize("key", ["points_file", "profile"])
def test_a_file_of_a_device(key: str, told: Told, belt: Document) -> None:
    (found,) = told(belt(f"{key}: {LONG}.yaml\npoints: [{{name: speed, address: 0}}]"))
    assert found.startswith(f"hub.yaml:8:{len(key) + 7}: devices[0].{key}: {LONG}.yaml: ")
    assert found.endswith("cannot be read: File name too long")
