"""A sorter of a layout, with parcels on it, told over OPC UA."""

from __future__ import annotations

import asyncio
from typing import Any

from asyncua import Client, Node, ua

from simulators.layout import parse_layout
from simulators.running import simulate

LAYOUT = {
    "lines": [
        {
            "name": "line",
            "arrivals_per_hour": 3600,
            "machines": [
                {"kind": "conveyor", "name": "infeed", "length_m": 3.0, "speed_mm_s": 1000},
                {
                    "kind": "sorter",
                    "name": "sorter",
                    "chutes": ["BRU", "LGG", "rest"],
                    "endpoints": [{"kind": "opcua"}],
                },
            ],
        }
    ]
}


class Counted:
    """Done when a sorter has sorted something."""

    def __init__(self) -> None:
        self.sorted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def datachange_notification(self, node: Node, value: Any, data: Any) -> None:
        if value and not self.sorted.done():
            self.sorted.set_result(value)


async def test_parcels_that_are_sorted_are_counted() -> None:
    async with asyncio.timeout(60), simulate(parse_layout(LAYOUT), seed=1, speed_factor=50) as running:
        client = Client(running.endpoints["sorter"], watchdog_intervall=60)
        client.session_timeout = 60_000
        await client.connect()
        counted = Counted()
        subscription = await client.create_subscription(50, counted)
        index = await client.get_namespace_index("urn:hub:conveyor")
        await subscription.subscribe_data_change(client.get_node(ua.NodeId("Sorter.Sorted", index)))
        told = await counted.sorted
        await client.disconnect()
        assert 0 < told <= running.twin.sorters["sorter"].sorted_count
