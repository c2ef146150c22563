"""The server as a client meets it, well and at fault."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from asyncua import Client, Node, ua

from simulators.endpoint import EndpointError
from simulators.faces import PackCommand, PackState
from simulators.faults import Fault, FaultKind
from simulators.opcua import OpcuaEndpoint
from tests.simulators.opcua.conftest import DEADLINE_S, Connect, StillSorter, Wall

CONVEYOR = "urn:hub:conveyor"
PACKML = "http://opcfoundation.org/UA/PackML/"
SPEED = f"nsu={CONVEYOR};s=Sorter.Speed"
STATE = f"nsu={PACKML};s=Status.StateCurrent"
SET_POINT = f"nsu={CONVEYOR};s=Sorter.MachSpeed"
COMMAND = f"nsu={PACKML};s=Command.CntrlCmd"
HELLO = bytes.fromhex("48454C46 20000000 00000000 FFFF0000 FFFF0000 00000000 00000000 00000000")
"""OPC 10000-6, 7.1.2.3: version 0, buffers of 65535 bytes, no limit of messages and chunks, no URL."""

QUIET_S = 0.3


def address_of(endpoint: OpcuaEndpoint) -> tuple[str, int]:
    host, port = endpoint.url.removeprefix("opc.tcp://").split(":")
    return host, int(port)


async def node(client: Client, address: str) -> Node:
    uri, _, identifier = address.removeprefix("nsu=").partition(";s=")
    index = await client.get_namespace_index(uri)
    return client.get_node(ua.NodeId(identifier, index))


async def read(client: Client, address: str) -> Any:
    return await (await node(client, address)).read_value()


class Heard:
    """What a subscription tells, in order."""

    def __init__(self) -> None:
        self.values: asyncio.Queue[Any] = asyncio.Queue()

    def datachange_notification(self, node: Node, value: Any, data: Any) -> None:
        self.values.put_nowait(value)

    async def next(self) -> Any:
        async with asyncio.timeout(DEADLINE_S):
            return await self.values.get()


async def follow(client: Client, address: str) -> Heard:
    heard = Heard()
    subscription = await client.create_subscription(50, heard)
    await subscription.subscribe_data_change(await node(client, address))
    return heard


async def test_a_speed_is_found_by_its_namespace_and_name(client: Client) -> None:
    assert await read(client, SPEED) == 1.25


async def test_the_state_is_found_by_browsing(client: Client) -> None:
    conveyor = await client.get_namespace_index(CONVEYOR)
    packml = await client.get_namespace_index(PACKML)
    path = [f"{conveyor}:Sorter", f"{packml}:PackML", f"{packml}:Status", f"{packml}:StateCurrent"]
    found = await client.nodes.objects.get_child(path)
    assert await found.read_value() == 6


async def test_values_have_the_types_of_a_controller(client: Client) -> None:
    kinds = {}
    for address in (SPEED, STATE, f"nsu={PACKML};s=Status.CurMachSpeed", f"nsu={CONVEYOR};s=Sorter.ChuteCounts"):
        found = await node(client, address)
        kinds[address.rpartition("=")[2]] = await found.read_data_type_as_variant_type(), await found.read_value_rank()
    assert kinds == {
        "Sorter.Speed": (ua.VariantType.Double, ua.ValueRank.Scalar),
        "Status.StateCurrent": (ua.VariantType.Int32, ua.ValueRank.Scalar),
        "Status.CurMachSpeed": (ua.VariantType.Float, ua.ValueRank.Scalar),
        "Sorter.ChuteCounts": (ua.VariantType.UInt32, ua.ValueRank.OneDimension),
    }


async def test_chutes_are_counted_one_by_one_and_together(client: Client) -> None:
    assert await read(client, f"nsu={CONVEYOR};s=Sorter.ChuteCounts") == [3, 4, 1]
    assert await read(client, f"nsu={CONVEYOR};s=Sorter.Chute.LGG") == 4


async def test_a_list_without_entries_is_an_empty_array(
    endpoint: OpcuaEndpoint, client: Client, sorter: StillSorter
) -> None:
    sorter.full_chutes = []
    await endpoint.refresh()
    assert await read(client, f"nsu={CONVEYOR};s=Sorter.FullChutes") == []


async def test_a_change_is_told_to_a_subscription(client: Client, sorter: StillSorter) -> None:
    heard = await follow(client, STATE)
    assert await heard.next() == 6
    sorter.state = PackState.HELD
    assert await heard.next() == 11


async def test_a_value_has_the_time_of_its_last_change(
    endpoint: OpcuaEndpoint, client: Client, sorter: StillSorter, wall: Wall
) -> None:
    wall.now_ns += 5_000_000_000
    sorter.speed_m_s = 0.5
    await endpoint.refresh()
    changed = await (await node(client, SPEED)).read_data_value()
    unchanged = await (await node(client, STATE)).read_data_value()
    assert changed.SourceTimestamp == datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)
    assert unchanged.SourceTimestamp == datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_set_point_is_written_and_can_be_read_back_at_once(client: Client, sorter: StillSorter) -> None:
    await (await node(client, SET_POINT)).write_value(0.75, ua.VariantType.Double)
    assert sorter.speed_setpoint_m_s == 0.75
    assert await read(client, SET_POINT) == 0.75
    assert await read(client, f"nsu={PACKML};s=Status.MachSpeed") == 0.75


async def test_a_command_is_written(client: Client, sorter: StillSorter) -> None:
    await (await node(client, COMMAND)).write_value(4, ua.VariantType.Int32)
    assert sorter.commands == [PackCommand.HOLD]
    assert await read(client, COMMAND) == 4


@pytest.mark.parametrize(
    ("address", "written", "error"),
    [
        (SET_POINT, ua.Variant(9.0, ua.VariantType.Double), ua.uaerrors.BadOutOfRange),
        (SET_POINT, ua.Variant(1, ua.VariantType.Int32), ua.uaerrors.BadTypeMismatch),
        (COMMAND, ua.Variant(8, ua.VariantType.Int32), ua.uaerrors.BadInvalidState),
        (COMMAND, ua.Variant(99, ua.VariantType.Int32), ua.uaerrors.BadOutOfRange),
        (COMMAND, ua.Variant([4], ua.VariantType.Int32), ua.uaerrors.BadTypeMismatch),
        (SPEED, ua.Variant(1.0, ua.VariantType.Double), ua.uaerrors.BadUserAccessDenied),
    ],
)
async def test_what_cannot_be_written_is_refused_with_the_reason(
    client: Client, sorter: StillSorter, address: str, written: ua.Variant, error: type[Exception]
) -> None:
    before = await read(client, address)
    with pytest.raises(error):
        await (await node(client, address)).write_value(written)
    assert await read(client, address) == before
    assert sorter.commands == []


async def test_one_refused_write_does_not_stop_the_others(client: Client, sorter: StillSorter) -> None:
    nodes = [await node(client, address) for address in (COMMAND, SET_POINT)]
    values = [ua.Variant(8, ua.VariantType.Int32), ua.Variant(0.5, ua.VariantType.Double)]
    results = await client.uaclient.write_attributes(
        [each.nodeid for each in nodes], [ua.DataValue(value) for value in values], ua.AttributeIds.Value
    )
    assert [status.name for status in results] == ["BadInvalidState", "Good"]
    assert sorter.speed_setpoint_m_s == 0.5


async def test_servers_share_no_value_and_no_machine(
    endpoint: OpcuaEndpoint, client: Client, connect: Connect, group: asyncio.TaskGroup
) -> None:
    other = OpcuaEndpoint("plc-2", StillSorter("other", chutes={"X": 9}), host="127.0.0.1", port=0, random=Random(2))
    await other.open(group)
    second = await connect(other)
    assert await read(second, f"nsu={CONVEYOR};s=Sorter.Chute.X") == 9
    with pytest.raises(ua.uaerrors.BadNodeIdUnknown):
        await read(client, f"nsu={CONVEYOR};s=Sorter.Chute.X")
    assert [(await each.get_namespace_array())[1] for each in (client, second)] == [
        "urn:hub:twin:sorter",
        "urn:hub:twin:other",
    ]
    assert [len(await each.nodes.objects.get_children()) for each in (client, second)] == [4, 4]
    await second.disconnect()
    await other.close()


async def test_the_clock_of_the_server_goes(endpoint: OpcuaEndpoint, client: Client, wall: Wall) -> None:
    heard = Heard()
    subscription = await client.create_subscription(50, heard)
    await subscription.subscribe_data_change(client.get_node(ua.ObjectIds.Server_ServerStatus_CurrentTime))
    await heard.next()
    wall.now_ns += 7_000_000_000
    async with asyncio.timeout(DEADLINE_S):
        while await heard.values.get() != datetime(2026, 1, 1, 0, 0, 7, tzinfo=UTC):
            pass


async def test_a_port_that_is_taken_is_told(endpoint: OpcuaEndpoint, group: asyncio.TaskGroup) -> None:
    port = int(endpoint.url.rpartition(":")[2])
    second = OpcuaEndpoint("plc-2", StillSorter(), host="127.0.0.1", port=port, random=Random(2))
    with pytest.raises(EndpointError, match=rf'endpoint "plc-2" cannot listen on 127\.0\.0\.1:{port}'):
        await second.open(group)
    await second.close()


async def test_refusing_drops_clients_and_takes_no_new_ones_until_it_ends(
    endpoint: OpcuaEndpoint, client: Client, connect: Connect
) -> None:
    await endpoint.impose(Fault(FaultKind.REFUSE))
    with pytest.raises((ConnectionError, OSError, ua.UaError)):
        await read(client, SPEED)
    with pytest.raises(ConnectionRefusedError):
        await connect(endpoint)
    await endpoint.impose(Fault())
    assert await read(await connect(endpoint), SPEED) == 1.25


async def test_a_reset_comes_at_each_request(endpoint: OpcuaEndpoint) -> None:
    await endpoint.impose(Fault(FaultKind.RESET))
    reader, writer = await asyncio.open_connection(*address_of(endpoint))
    writer.write(b"HEL")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_a_hanging_server_accepts_and_never_answers(endpoint: OpcuaEndpoint) -> None:
    await endpoint.impose(Fault(FaultKind.HANG))
    reader, writer = await asyncio.open_connection(*address_of(endpoint))
    writer.write(HELLO)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), QUIET_S)
    writer.close()


async def test_after_a_hang_those_who_waited_are_reset_and_others_go_on(
    endpoint: OpcuaEndpoint, client: Client
) -> None:
    reader, writer = await asyncio.open_connection(*address_of(endpoint))
    await endpoint.impose(Fault(FaultKind.HANG))
    writer.write(HELLO)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), QUIET_S)
    await endpoint.impose(Fault())
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    assert await read(client, SPEED) == 1.25


async def test_a_silent_server_answers_and_its_subscriptions_say_later_what_they_have(
    endpoint: OpcuaEndpoint, client: Client, sorter: StillSorter
) -> None:
    heard = await follow(client, STATE)
    assert await heard.next() == 6
    await endpoint.impose(Fault(FaultKind.SILENT))
    sorter.state = PackState.HELD
    await endpoint.refresh()
    assert await read(client, STATE) == 11
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(heard.values.get(), QUIET_S)
    await endpoint.impose(Fault())
    assert await heard.next() == 11


async def test_a_slow_server_answers_late(endpoint: OpcuaEndpoint, client: Client) -> None:
    await endpoint.impose(Fault(FaultKind.SLOW, delay_s=0.2))
    loop = asyncio.get_running_loop()
    asked_s = loop.time()
    assert await read(client, f"nsu={CONVEYOR};s=Sorter.Sorted") == 7
    assert loop.time() - asked_s >= 0.2


@pytest.mark.parametrize("kind", [FaultKind.GARBLE, FaultKind.HALF_FRAME])
async def test_a_mangled_answer_is_no_acknowledge(endpoint: OpcuaEndpoint, kind: FaultKind) -> None:
    answers = []
    for fault in (Fault(), Fault(kind)):
        await endpoint.impose(fault)
        reader, writer = await asyncio.open_connection(*address_of(endpoint))
        writer.write(HELLO)
        async with asyncio.timeout(DEADLINE_S):
            answers.append(await reader.read(28))
        writer.close()
    whole, mangled = answers
    assert whole[:8] == bytes.fromhex("41434B46 1C000000")
    assert mangled == whole[:14] if kind is FaultKind.HALF_FRAME else mangled[:4] != whole[:4]


async def test_a_bad_status_has_a_name_and_no_value_and_goes_away(endpoint: OpcuaEndpoint, client: Client) -> None:
    await endpoint.impose(Fault(FaultKind.BAD_STATUS))
    bad = await (await node(client, SPEED)).read_data_value(raise_on_bad_status=False)
    assert (bad.StatusCode.name, bad.Value.Value) == ("BadDeviceFailure", None)
    await endpoint.impose(Fault())
    assert await read(client, SPEED) == 1.25


async def test_a_wrong_clock_shows_in_every_time(endpoint: OpcuaEndpoint, client: Client) -> None:
    await endpoint.impose(Fault(FaultKind.WRONG_CLOCK, offset_s=-86400.0))
    data = await (await node(client, STATE)).read_data_value()
    assert data.SourceTimestamp == datetime(2025, 12, 31, tzinfo=UTC)


async def test_a_fault_of_the_connection_leaves_values_and_their_times_alone(
    endpoint: OpcuaEndpoint, client: Client, wall: Wall
) -> None:
    wall.now_ns += 5_000_000_000
    await endpoint.impose(Fault(FaultKind.SILENT))
    data = await (await node(client, STATE)).read_data_value()
    assert data.SourceTimestamp == datetime(2026, 1, 1, tzinfo=UTC)


async def test_clients_that_come_and_go_leave_nothing_behind(endpoint: OpcuaEndpoint, connect: Connect) -> None:
    tasks = asyncio.all_tasks()
    for _ in range(3):
        client = await connect(endpoint)
        assert await read(client, SPEED) == 1.25
        await client.disconnect()
    async with asyncio.timeout(DEADLINE_S):
        while endpoint.clients or asyncio.all_tasks() - tasks:  # noqa: ASYNC110 - asyncua tells nobody when it is done
            await asyncio.sleep(0)


async def test_a_restart_forgets_sessions_and_the_last_command(
    endpoint: OpcuaEndpoint, client: Client, connect: Connect, wall: Wall
) -> None:
    await (await node(client, COMMAND)).write_value(4, ua.VariantType.Int32)
    await follow(client, STATE)
    wall.now_ns += 60_000_000_000
    await endpoint.impose(Fault(FaultKind.RESTART))
    again = await connect(endpoint)
    assert await read(again, COMMAND) == 0
    started = await again.get_node(ua.ObjectIds.Server_ServerStatus_StartTime).read_value()
    assert started == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert endpoint._opc is not None
    assert not endpoint._opc.core.subscription_service.subscriptions


async def test_closing_drops_clients_that_are_still_there(
    sorter: StillSorter, group: asyncio.TaskGroup, connect: Connect
) -> None:
    endpoint = OpcuaEndpoint("plc-1", sorter, host="127.0.0.1", port=0, random=Random(1))
    await endpoint.open(group)
    await follow(await connect(endpoint), STATE)
    await endpoint.close()
    assert not endpoint.clients


async def test_faults_and_refusals_are_not_logged(
    endpoint: OpcuaEndpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(ua.uaerrors.BadTypeMismatch):
        await (await node(client, SET_POINT)).write_value(1, ua.VariantType.Int32)
    reader, writer = await asyncio.open_connection(*address_of(endpoint))
    writer.write(b"GET / HTTP/1.1\r\nHost: plc\r\n\r\n")
    writer.write_eof()
    async with asyncio.timeout(DEADLINE_S):
        await reader.read()
    writer.close()
    assert [record.name for record in caplog.records if record.name.startswith("asyncua.server")] == []
