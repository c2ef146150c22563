"""`hub-gateway points`: the read plan, request by request, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from drivers.settings import DeviceSettings
from gateway.links import links


def print_plan(devices: Sequence[DeviceSettings]) -> None:
    """One line per request, and below it one line per point that the request fetches."""
    for link in links(devices):
        print(link.link)
        for request in link.open_driver(state_folder=Path()).plan():
            when = f"every {request.period_s:g} s" if request.period_s else "as it comes"
            print(f"  {request.device} {when}: {request.request}")
            width = max(len(point.name) for point in request.points)
            for point, address in zip(request.points, request.addresses, strict=True):
                notes = " ".join(filter(None, [point.unit, "writable" if point.writable else ""]))
                print(f"    {point.name:<{width}}  {address}  {notes}".rstrip())
