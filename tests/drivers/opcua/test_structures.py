"""Structures that their definition does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.structures104 import new_enum, new_struct, new_struct_field

from tests.drivers.opcua.listen import asking, listening, make_driver, said
from tests.drivers.opcua.plant import URI, Plant, plant

AXIS = f"nsu={URI};s=Axis"
POINTS = [
    {"name": "position", "address": AXIS, "part": "Position"},
    {"name": "mode", "address": AXIS, "part": "Mode"},
    {"name": "speed", "address": f"nsu={URI};s=Speed"},
]
UNNAMED_MODE = 7


async def add_axis(server: Plant) -> Any:
    """A node `Axis` with a position and a mode, and its value."""

    async def build() -> Any:
        modes = await new_enum(server.server, server.index, "HubMode", ["Off", "On"])
        await server.server.load_data_type_definitions()
        fields = [
            new_struct_field("Position", ua.VariantType.Double),
            new_struct_field("Mode", modes.nodeid),
        ]
        await new_struct(server.server, server.index, "HubModedAxis", fields)
        types = await server.server.load_data_type_definitions()
        return (types.get("HubModedAxis") or ua.HubModedAxis)(Position=4.5, Mode=ua.HubMode.On)

    axis = await server.there(build())
    await server.add("Axis", axis, ua.VariantType.ExtensionObject, datatype=axis.data_type)
    await server.add("Speed", 1.5)
    return axis


def shown(server: Plant, axis: Any, *, mode: int) -> Any:
    """As the server sends it."""
    axis.Mode = mode
    return server.write("Axis", axis, ua.VariantType.ExtensionObject)


def broken(server: Plant, axis: Any) -> Any:
    """Shorter than its definition."""
    cut = ua.ExtensionObject(ua.typeid_by_extension_objects[type(axis)], b"\x01")
    return server.report(Axis=ua.DataValue(ua.Variant(cut, ua.VariantType.ExtensionObject)))


async def test_polled_a_structure_that_does_not_fit_costs_nobody_else(tmp_path: Path) -> None:
    async with plant() as server:
        axis = await add_axis(server)
        driver = make_driver(server.url, tmp_path, POINTS, subscribe=False)
        (group,) = driver.groups
        async with asking(driver) as session:
            await shown(server, axis, mode=UNNAMED_MODE)
            assert said(await session.read(group)) == {"position": 4.5, "mode": UNNAMED_MODE, "speed": 1.5}
            await broken(server, axis)
            bad = "bad:BadDecodingError"
            assert said(await session.read(group)) == {"position": bad, "mode": bad, "speed": 1.5}
            await shown(server, axis, mode=1)
            assert said(await session.read(group)) == {"position": 4.5, "mode": 1, "speed": 1.5}


@pytest.mark.parametrize("is_broken_from_the_start", [False, True])
async def test_subscribed_a_structure_that_does_not_fit_costs_nobody_else(
    tmp_path: Path, *, is_broken_from_the_start: bool
) -> None:
    async with plant() as server:
        axis = await add_axis(server)
        if is_broken_from_the_start:
            await broken(server, axis)
        async with listening(make_driver(server.url, tmp_path, POINTS)) as ear:
            await ear.until(lambda ear: len(ear.quality) == 3)
            assert ear.values["speed"] == 1.5
            await broken(server, axis)
            await server.write("Speed", 2.5)
            await ear.until(
                lambda ear: ear.quality["position"] == "bad:BadDecodingError" and ear.values["speed"] == 2.5
            )
            await shown(server, axis, mode=UNNAMED_MODE)
            await ear.until(lambda ear: (ear.values["position"], ear.values["mode"]) == (4.5, UNNAMED_MODE))
