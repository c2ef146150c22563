"""Notifications that do not come: of one device, of none, or one of several."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.server.internal_session import InternalSession

from drivers.contract import DeviceUnavailable, Driver
from drivers.model import Reason
from drivers.opcua import FAMILY
from tests.drivers.opcua.listen import PATIENCE_S, Ear, listening, make_driver
from tests.drivers.opcua.plant import URI, Plant, plant
from tests.plugins.tcp_proxy import tcp_proxy

SPEED = [{"name": "speed", "address": f"nsu={URI};s=Speed"}]


@pytest.fixture
async def server() -> AsyncIterator[Plant]:
    async with plant() as running:
        await running.add("Speed", 1.5)
        await running.add("Load", 10.0)
        yield running


def two_devices(port: int, folder: Path, *, silence: float) -> Driver:
    """`sorter` with the speed and `scale` with the load."""
    shared = {
        "driver": "opcua",
        "url": f"opc.tcp://127.0.0.1:{port}",
        "silence": silence,
        "publishing_interval": 0.02,
        "sampling_interval": 0.02,
    }
    load = [{"name": "load", "address": f"nsu={URI};s=Load"}]
    devices = [
        FAMILY.settings.model_validate({"name": name, "points": points, **shared})
        for name, points in (("sorter", SPEED), ("scale", load))
    ]
    return FAMILY.driver(devices, state_folder=folder)


def subscriptions(server: Plant) -> dict[int, Any]:
    found: dict[int, Any] = server.server.iserver.subscription_service.subscriptions
    return found


async def write_until_it_fails(server: Plant, ear: Ear) -> None:
    async with asyncio.timeout(PATIENCE_S):
        value = 100.0
        while True:
            value += 1.0
            await server.write("Speed", value)
            await ear.until(lambda ear: ear.values["speed"] == value)  # noqa: B023  called at once


async def test_the_silence_of_one_device_is_noticed_while_another_one_speaks(server: Plant, tmp_path: Path) -> None:
    async with listening(two_devices(server.port, tmp_path, silence=0.5)) as ear:
        await ear.until(lambda ear: len(ear.values) == 2)

        async def forget() -> None:
            await subscriptions(server).pop(max(subscriptions(server))).stop()

        await server.there(forget())
        with pytest.raises(DeviceUnavailable, match="nothing came from the subscription of scale") as caught:
            await write_until_it_fails(server, ear)
        assert caught.value.reason is Reason.TIMEOUT


async def test_a_server_that_takes_no_publish_requests_is_silent(
    server: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(make_driver(server.url, tmp_path, SPEED, silence=0.5)) as ear:
        await ear.until(lambda ear: "speed" in ear.values)

        def refuse(*_: object) -> None:
            raise ua.uaerrors.BadTooManyPublishRequests

        monkeypatch.setattr(InternalSession, "publish", refuse)
        with pytest.raises(DeviceUnavailable, match="nothing came from the subscription of sorter"):
            await ear.until(lambda ear: False)


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_notification_that_did_not_arrive_is_asked_for_again(
    server: Plant, tmp_path: Path, caplog: pytest.LogCaptureFixture, *, is_kept: bool
) -> None:
    async with listening(make_driver(server.url, tmp_path, SPEED)) as ear:
        await ear.until(lambda ear: "speed" in ear.values)
        (subscription,) = subscriptions(server).values()
        answer = subscription.pub_result_callback
        swallowed = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def swallow(result: ua.PublishResult, _: object) -> None:
            if not result.NotificationMessage.NotificationData:
                return
            subscription.pub_result_callback = answer
            if not is_kept:
                subscription._not_acknowledged_results.clear()
            loop.call_soon_threadsafe(swallowed.set)

        subscription.pub_result_callback = swallow
        await server.write("Speed", 2.0)
        await swallowed.wait()
        await server.write("Speed", 3.0)
        await ear.until(lambda ear: ear.values["speed"] == 3.0)
    assert [each.values for each in ear.readings] == [(1.5,), (2.0,), (3.0,)] if is_kept else [(1.5,), (3.0,)]
    errors = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert [("changes are lost" in each) for each in errors] == ([] if is_kept else [True])


async def test_what_came_before_the_connection_ended_is_handed_over(server: Plant, tmp_path: Path) -> None:
    async with tcp_proxy(server.port) as wire, listening(two_devices(wire.port, tmp_path, silence=10.0)) as ear:
        await ear.until(lambda ear: len(ear.values) == 2)
        value = 100.0
        while True:  # what comes first may be the time of the server
            value += 1.0
            requests = [task for task in asyncio.all_tasks() if task.get_name().endswith("publish")]
            await server.write("Speed", value)
            done, _ = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
            if len(requests) > 1 and any(_is_of_a_point(task.result()) for task in done):
                break
            await ear.until(lambda ear: ear.values["speed"] == value)  # noqa: B023  called at once
        wire.close()
        await asyncio.wait(requests)
        await ear.until(lambda ear: ear.values["speed"] == value)
        with pytest.raises(DeviceUnavailable):
            await ear.until(lambda ear: False)


def _is_of_a_point(result: ua.PublishResult) -> bool:
    message = result.NotificationMessage
    return any(change.ClientHandle == 0 for data in message.NotificationData for change in data.MonitoredItems)


async def test_what_a_notification_says_before_the_end_of_the_subscription_is_handed_over(
    server: Plant, tmp_path: Path
) -> None:
    async with listening(make_driver(server.url, tmp_path, SPEED)) as ear:
        await ear.until(lambda ear: "speed" in ear.values)
        (subscription,) = subscriptions(server).values()

        async def end() -> None:
            await server.nodes["Speed"].write_value(2.0)
            subscription._triggered_statuschanges.append(ua.StatusCode(ua.StatusCodes.BadTimeout))

        await server.there(end())
        with pytest.raises(DeviceUnavailable, match="the server ended the subscription"):
            await ear.until(lambda ear: False)
        assert ear.values["speed"] == 2.0


@pytest.fixture
def brisk(server: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session is kept alive every 0.3 s."""
    from drivers.opcua import client

    server.server.iserver.min_session_timeout_ms = 0
    monkeypatch.setattr(client, "_SESSION_S", 0.9)


@pytest.mark.usefixtures("brisk")
async def test_a_pause_that_is_shorter_than_silence_ends_no_session(server: Plant, tmp_path: Path) -> None:
    async with listening(make_driver(server.url, tmp_path, SPEED, timeout=0.2)) as ear:
        await ear.until(lambda ear: "speed" in ear.values)

        async def pause() -> None:
            time.sleep(0.6)  # noqa: ASYNC251  the server does nothing meanwhile, at least one keep-alive long
            await server.nodes["Speed"].write_value(2.0)

        await server.there(pause())
        await ear.until(lambda ear: ear.values["speed"] == 2.0)


@pytest.mark.usefixtures("brisk")
async def test_a_session_that_cannot_be_kept_alive_ends_and_names_the_timeout(server: Plant, tmp_path: Path) -> None:
    async with tcp_proxy(server.port) as wire:
        driver = make_driver(f"opc.tcp://127.0.0.1:{wire.port}", tmp_path, SPEED, timeout=0.2)
        async with listening(driver) as ear:
            await ear.until(lambda ear: "speed" in ear.values)
            wire.swallow()
            with pytest.raises(DeviceUnavailable, match=r"no answer within 0\.2 s, 3 times in a row"):
                await ear.until(lambda ear: False)
