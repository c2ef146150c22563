"""The driver that the guide shows is a driver: it satisfies the contract and reads a device."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from drivers.contract import DeviceUnavailable, Driver, Family
from tests.plugins.documents import REPOSITORY, Document


async def test_the_driver_of_the_guide_reads_a_device(tmp_path: Path) -> None:
    family = _family(Document(REPOSITORY / "docs" / "drivers.md").blocks("python")[0])
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = family.settings.model_validate(
        {
            "name": "weigh-1",
            "driver": "text-line",
            "url": f"line://127.0.0.1:{port}",
            "points": [{"name": "load", "unit": "kg"}, {"name": "colour"}],
        }
    )
    driver: Driver = family.driver([settings], state_folder=tmp_path)
    assert [request.request for request in driver.plan()] == ["load", "colour"]
    async with server:
        async with driver.connect() as session:
            reading = await session.read(driver.groups[0])
        assert reading.values == (12.5, None)
        assert {index: str(quality) for index, quality in reading.quality.items()} == {1: "bad:bad-response"}
    with pytest.raises(DeviceUnavailable, match="cannot connect"):
        async with driver.connect():
            pass


def _family(source: str) -> Family:
    module: dict[str, Any] = {"__name__": "text_line"}
    exec(compile(source, "docs/drivers.md", "exec", dont_inherit=True), module)
    family: Family = module["FAMILY"]
    return family


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while name := await reader.readline():
        writer.write(b"12.5\n" if name == b"load\n" else b"no idea\n")
    writer.close()
