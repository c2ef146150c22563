"""A third-party driver family (`belt`) on the path, and a folder to write config files into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from drivers import registry
from gateway.config import ConfigError, Settings, load

Load = Callable[..., Settings]
Told = Callable[..., list[str]]

HEAD = """\
gateway: {site: lgg, id: sort-01}
destinations:
  - {name: hub-broker, url: mqtt://broker.example}
"""


@pytest.fixture(scope="module", autouse=True)
def _belt_family_is_installed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent / "plugin"))
        registry.family.cache_clear()
        yield
        registry.family.cache_clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, so that messages say `hub.yaml` and not a long path."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def loaded(folder: Path) -> Load:
    """Settings from YAML text."""

    def load_text(text: str | bytes, *, environment: Mapping[str, str] | None = None) -> Settings:
        raw = text.encode() if isinstance(text, str) else text
        (folder / "hub.yaml").write_bytes(raw)
        return load(Path("hub.yaml"), environment=environment or {})

    return load_text


@pytest.fixture
def told(loaded: Load) -> Told:
    """What is wrong with YAML text, as lines that an operator reads."""

    def told_of(text: str | bytes, *, environment: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            loaded(text, environment=environment)
        return [str(problem) for problem in caught.value.problems]

    return told_of


@pytest.fixture
def belt() -> Callable[[str], str]:
    """A whole document around one device of the family `belt`; the device's own keys are given."""

    def document(keys: str) -> str:
        lines = "".join(f"    {line}\n" for line in keys.splitlines())
        return f"{HEAD}devices:\n  - name: belt-1\n    driver: belt\n    url: tcp://10.0.0.5\n{lines}"

    return document


@pytest.fixture
def destined() -> Callable[[str], str]:
    """A whole document around the destinations that are given."""

    def document(destinations: str) -> str:
        lines = "".join(f"  {line}\n" for line in destinations.splitlines())
        return (
            f"gateway: {{site: lgg, id: sort-01}}\ndestinations:\n{lines}devices:\n"
            "  - {name: belt-1, driver: belt, url: 'tcp://h', points: [{name: speed, address: 0}]}\n"
        )

    return document
