"""What a subscription says, and what it does when the server says nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

from drivers.contract import DeviceUnavailable, WritableSession
from drivers.model import Reason
from tests.drivers.opcua.listen import asking, listening, make_driver, said
from tests.drivers.opcua.plant import URI, Plant, plant
from tests.plugins.tcp_proxy import tcp_proxy


def point(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name.lower(), "address": f"nsu={URI};s={name}", **more}


@pytest.fixture
async def server() -> AsyncIterator[Plant]:
    async with plant() as running:
        await running.add("Speed", 1.5)
        await running.add("Load", 10.0)
        await running.add("Name", "parcel")
        await running.add("Weights", [10, 20, 30])
        await running.add("Count", 1, ua.VariantType.UInt16)
        yield running


def moment(second: int) -> datetime:
    return datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)


def measured(value: float, second: int) -> ua.DataValue:
    return ua.DataValue(ua.Variant(value), SourceTimestamp=moment(second))  # type: ignore[arg-type]


async def test_what_changed_at_one_instant_is_one_reading(server: Plant, tmp_path: Path) -> None:
    driver = make_driver(server.url, tmp_path, [point("Speed"), point("Load"), point("Name")])
    async with listening(driver) as ear:
        await ear.until(lambda ear: len(ear.values) == 3)
        await server.report(Speed=measured(2.0, 7), Load=measured(20.0, 7))
        await ear.until(lambda ear: ear.values["speed"] == 2.0 and ear.values["load"] == 20.0)
        together = [each for each in ear.readings if each.values[:2] == (2.0, 20.0)]
        assert [said(each) for each in together] == [{"speed": 2.0, "load": 20.0, "name": "unchanged"}]
        assert together[0].observed_at_ns == int(moment(7).timestamp()) * 10**9
        assert not together[0].quality


async def test_changes_between_two_publications_are_kept_in_their_order(server: Plant, tmp_path: Path) -> None:
    driver = make_driver(server.url, tmp_path, [point("Speed")], publishing_interval=0.3, queue_size=10)
    async with listening(driver) as ear:
        await ear.until(lambda ear: "speed" in ear.values)
        for second in (3, 1, 2):
            await server.report(Speed=measured(float(second), second))
        await ear.until(lambda ear: len(ear.readings) >= 4)
        assert [each.values for each in ear.readings[1:]] == [(3.0,), (1.0,), (2.0,)]


async def test_gateway_time_is_that_of_arrival(server: Plant, tmp_path: Path) -> None:
    driver = make_driver(server.url, tmp_path, [point("Speed")], timestamp="gateway")
    async with listening(driver) as ear:
        await server.report(Speed=measured(3.0, 7))
        await ear.until(lambda ear: ear.values.get("speed") == 3.0)
        assert ear.readings[-1].observed_at_ns > int(moment(7).timestamp()) * 10**9


async def test_the_server_holds_back_what_is_within_the_deadband(server: Plant, tmp_path: Path) -> None:
    points = [point("Speed", deadband=0.5), point("Load", deadband=0.5)]
    driver = make_driver(server.url, tmp_path, points)
    async with listening(driver) as ear:
        await ear.until(lambda ear: len(ear.values) == 2)
        await server.write("Speed", 1.6)
        await server.write("Load", 20.0)
        await ear.until(lambda ear: ear.values["load"] == 20.0)
        assert ear.values["speed"] == 1.5


async def test_a_node_that_takes_no_deadband_is_watched_without(server: Plant, tmp_path: Path) -> None:
    driver = make_driver(server.url, tmp_path, [point("Name", deadband=1.0), point("Weights", part="[2]")])
    async with listening(driver) as ear:
        await ear.until(lambda ear: ear.values == {"name": "parcel", "weights": 30})


async def test_one_bad_node_costs_only_its_own_point(
    server: Plant, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    points = [point("Absent"), {"name": "lost", "address": "nsu=urn:nobody;i=1"}, point("Speed")]
    for subscribe in (True, False):
        driver = make_driver(server.url, tmp_path, points, subscribe=subscribe)
        expected = {"absent": "bad:BadNodeIdUnknown", "lost": "bad:BadNodeIdUnknown"}
        if subscribe:
            async with listening(driver) as ear:
                await ear.until(lambda ear: len(ear.quality) == 3)
                assert {**ear.quality, "speed": ear.values["speed"]} == {**expected, "speed": 1.5}
        else:
            async with asking(driver) as session:
                for _ in range(2):
                    assert said(await session.read(driver.groups[0])) == {**expected, "speed": 1.5}
    assert len([each for each in caplog.records if "points are bad" in each.message]) == 2


async def test_namespaces_are_looked_up_at_each_connect(tmp_path: Path) -> None:
    driver = None
    port = 0
    for namespaces in ((URI,), ("urn:first", "urn:second", URI)):
        async with plant(namespaces=namespaces, port=port) as server:
            port = server.port
            await server.add("Speed", float(len(namespaces)))
            driver = driver or make_driver(server.url, tmp_path, [point("Speed")])
            async with listening(driver) as ear:
                await ear.until(lambda ear: ear.values.get("speed") == len(namespaces))  # noqa: B023  called at once


async def test_a_restart_of_the_server_is_noticed(tmp_path: Path) -> None:
    async with plant() as server:
        await server.add("Speed", 1.5)
        driver = make_driver(server.url, tmp_path, [point("Speed")])
        async with driver.connect() as session:
            readings = session.readings()  # type: ignore[union-attr]
            await anext(readings)
            await server.there(server.server.bserver.stop())
            with pytest.raises(DeviceUnavailable):
                await anext(readings)


async def test_silence_while_the_connection_lives_is_noticed(server: Plant, tmp_path: Path) -> None:
    async with tcp_proxy(server.port) as wire:
        url = f"opc.tcp://127.0.0.1:{wire.port}"
        driver = make_driver(url, tmp_path, [point("Speed")], silence=0.5, timeout=0.5)
        async with listening(driver) as ear:
            await ear.until(lambda ear: "speed" in ear.values)
            wire.swallow()
            with pytest.raises(DeviceUnavailable, match="nothing came from the subscription of sorter") as caught:
                await ear.until(lambda ear: False)
            assert caught.value.reason is Reason.TIMEOUT


async def test_a_subscription_that_is_kept_alive_and_brings_nothing_is_noticed(
    server: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drivers.opcua import subscription

    monkeypatch.setattr(subscription, "_CLOCK_MAY_REST_S", 1.5)
    driver = make_driver(server.url, tmp_path, [point("Speed")], silence=0.5)
    async with listening(driver) as ear:
        await ear.until(lambda ear: "speed" in ear.values)
        (watched,) = ear.session._watched.values()  # type: ignore[attr-defined]
        value = 100.0
        while watched.beats < 3:
            value += 1.0
            await server.write("Speed", value)
            await ear.until(lambda ear: ear.values["speed"] == value)  # noqa: B023  called at once
            await asyncio.sleep(0.05)

        async def stop_the_clock() -> None:
            server.server.iserver._time_task_stop = True

        await server.there(stop_the_clock())
        with pytest.raises(DeviceUnavailable, match="not even the server's time"):
            await ear.until(lambda ear: False)


async def test_items_that_come_later_are_found(server: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from drivers.opcua import subscription

    monkeypatch.setattr(subscription, "_TRY_AGAIN_S", 0.0)
    driver = make_driver(server.url, tmp_path, [point("Late"), point("Speed")], silence=0.5)
    async with listening(driver) as ear:
        await ear.until(lambda ear: ear.quality.get("late") == "bad:BadNodeIdUnknown")
        await server.add("Late", 5)
        await server.write("Speed", 9.0)
        await ear.until(lambda ear: ear.values.get("late") == 5)


async def load_program(server: Plant, late: int) -> None:
    """A program brings a namespace with a node, and another node in the place of one that there was."""

    async def load() -> None:
        at = await server.server.register_namespace("urn:program")
        machine = server.nodes["Machine"]
        await machine.add_variable(ua.NodeId("Late", at), ua.QualifiedName("Late", at), late)
        await server.server.delete_nodes([server.nodes["Load"]])
        await machine.add_variable(ua.NodeId("Load", at), ua.QualifiedName("Load", server.index), 20.0)

    await server.there(load())


LATE = {"name": "late", "address": "nsu=urn:program;s=Late"}


async def test_subscribed_a_namespace_that_comes_later_is_found(
    server: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drivers.opcua import subscription

    monkeypatch.setattr(subscription, "_TRY_AGAIN_S", 0.0)
    async with listening(make_driver(server.url, tmp_path, [LATE, point("Speed")], silence=0.5)) as ear:
        await ear.until(lambda ear: ear.quality.get("late") == "bad:BadNodeIdUnknown")
        await load_program(server, late=5)
        await ear.until(lambda ear: ear.values.get("late") == 5)


async def test_polled_a_namespace_that_comes_later_and_a_node_that_is_made_anew_are_found(
    server: Plant, tmp_path: Path
) -> None:
    by_path = {"name": "load", "address": f"/Objects/nsu={URI};Machine/Load"}
    driver = make_driver(server.url, tmp_path, [LATE, by_path], subscribe=False)
    (group,) = driver.groups
    async with asking(driver) as session:
        assert said(await session.read(group)) == {"late": "bad:BadNodeIdUnknown", "load": 10.0}
        await load_program(server, late=5)
        await session.read(group)
        assert said(await session.read(group)) == {"late": 5, "load": 20.0}


@pytest.mark.parametrize("subscribe", [True, False])
async def test_a_written_value_has_the_type_of_its_node(server: Plant, tmp_path: Path, *, subscribe: bool) -> None:
    points = [point("Count", writable=True), point("Name", writable=True), point("Weights", writable=True)]
    driver = make_driver(server.url, tmp_path, points, subscribe=subscribe)
    group = driver.groups[0]
    count, name, weights = group.points
    async with driver.connect() as session:
        assert isinstance(session, WritableSession)
        assert await session.write(group, count, 7.0) == 7
        assert await session.write(group, name, "pallet") == "pallet"
        for target, value, why in [
            (count, 70000, "0 to 65535"),
            (count, 1.5, "UInt16 and does not take 1.5"),
            (count, True, "does not take True"),
            (count, float("nan"), "does not take nan"),
            (name, 5, "String and does not take 5"),
            (weights, 5, "only single values"),
        ]:
            with pytest.raises(ValueError, match=why):
                await session.write(group, target, value)
    written = await server.there(server.nodes["Count"].read_data_value())
    assert (written.Value.Value, written.Value.VariantType) == (7, ua.VariantType.UInt16)


async def test_fields_of_a_structure_of_the_server_are_values(server: Plant, tmp_path: Path) -> None:
    from asyncua.common.structures104 import new_struct, new_struct_field

    async def build() -> Any:
        fields = [
            new_struct_field("Position", ua.VariantType.Double),
            new_struct_field("Steps", ua.VariantType.Int32, array=True),
        ]
        await new_struct(server.server, server.index, "HubAxis", fields)
        types = await server.server.load_data_type_definitions()
        return types["HubAxis"](Position=4.5, Steps=[7, 8])

    axis = await server.there(build())
    await server.add("Axis", axis, ua.VariantType.ExtensionObject, datatype=axis.data_type)
    points = [
        {**point("Axis", part="Position"), "name": "position"},
        {**point("Axis", part="Steps[1]"), "name": "step"},
        point("Axis"),
    ]
    driver = make_driver(server.url, tmp_path, points, subscribe=False)
    async with asking(driver) as session:
        reading = await session.read(driver.groups[0])
    assert said(reading) == {"position": 4.5, "step": 8, "axis": "bad:not-a-scalar"}
