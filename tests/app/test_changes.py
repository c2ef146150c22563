from __future__ import annotations

from pathlib import Path

from gateway.config import DestinationSettings, TlsSettings, changed_keys
from gateway.forwarding import LineSettings


def _destination(**changed: object) -> DestinationSettings:
    return DestinationSettings.model_validate({"name": "d", "url": "mqtts://broker.example"} | changed)


def test_changed_keys_are_named_and_what_they_hold_is_not() -> None:
    before = _destination(username="u", password="secret-1", replay={"values_per_second": 5})
    after = _destination(username="u", password="secret-2", batch=3)
    assert changed_keys(before, after) == ["password", "replay.values_per_second", "batch"]
    assert changed_keys(before, before) == []


def test_a_section_that_comes_or_goes_is_named_as_a_whole(tmp_path: Path) -> None:
    assert changed_keys(_destination(), _destination(tls={"ca": "ca.pem"})) == ["tls"]
    assert changed_keys(_destination(tls={"ca": "ca.pem"}), _destination(tls={"ca": "other.pem"})) == ["tls.ca"]


def test_a_certificate_that_was_renewed_in_its_file_is_a_change(tmp_path: Path) -> None:
    ca, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    ca.write_text("old")
    key.write_text("old")
    settings = _destination(tls=TlsSettings(ca=ca, certificate=key, key=key))
    before = LineSettings.of(settings)
    assert LineSettings.of(settings) == before
    ca.write_text("new")
    after = LineSettings.of(settings)
    assert after != before
    assert before.changes(after) == "what is in tls.ca"
    key.unlink()
    changes = before.changes(LineSettings.of(settings))
    assert changes == "what is in tls.ca, what is in tls.certificate, what is in tls.key"
