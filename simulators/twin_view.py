"""The twin as it truly is, not as a controller or an instrument sees it; ready for JSON."""

from __future__ import annotations

from typing import Any

from simulators.conveyor import Conveyor
from simulators.hub import Hub
from simulators.load_cell import LoadCell
from simulators.machine import Parcel
from simulators.portal import Portal
from simulators.sorter import Sorter


def ground_truth(twin: Hub) -> dict[str, Any]:
    """Everything."""
    return {
        "time_s": round(twin.time_s, 3),
        "entered": twin.entered,
        "gone": twin.gone,
        "conveyors": {name: show_conveyor(conveyor) for name, conveyor in twin.conveyors.items()},
        "scales": {name: show_scale(scale) for name, scale in twin.scales.items()},
        "portals": {name: show_portal(portal) for name, portal in twin.portals.items()},
        "sorters": {name: show_sorter(sorter) for name, sorter in twin.sorters.items()},
    }


def show_conveyor(conveyor: Conveyor) -> dict[str, Any]:
    return {
        "run": conveyor.run,
        "setpoint_mm_s": conveyor.setpoint_mm_s,
        "speed_m_s": round(conveyor.speed_m_s, 4),
        "load_kg": round(conveyor.load_kg, 3),
        "current_a": round(conveyor.current_a, 3),
        "temperature_c": round(conveyor.temperature_c, 2),
        "entry_blocked": conveyor.entry_blocked,
        "exit_blocked": conveyor.exit_blocked,
        "accumulating": conveyor.accumulating,
        "stuck": None if conveyor.stuck is None else conveyor.stuck.id,
        "jammed": conveyor.jammed,
        "tripped": conveyor.tripped,
        "arrivals": conveyor.counters.arrivals,
        "departures": conveyor.counters.departures,
        "jams": conveyor.counters.jams,
        "parcels": [_show_parcel(parcel) for parcel in conveyor.parcels],
    }


def show_scale(scale: LoadCell) -> dict[str, Any]:
    shown = scale.indication()
    return {
        "load_kg": round(scale.load_kg, 3),
        "extra_kg": scale.extra_kg,
        "gross_kg": str(shown.gross_kg),
        "tare_kg": str(shown.tare_kg),
        "stable": shown.is_stable,
        "load": shown.load,
    }


def show_portal(portal: Portal) -> dict[str, Any]:
    return {
        "antennas": portal.antennas,
        "passing": [{"epc": tag.epc.hex().upper(), "away_m": round(tag.away_m, 3)} for tag in portal.passing()],
        "standing": [
            {"epc": tag.epc.hex().upper(), "away_m": round(tag.away_m, 3)} for tag in portal.standing.values()
        ],
    }


def show_sorter(sorter: Sorter) -> dict[str, Any]:
    return {
        "state": sorter.state.name,
        "speed_setpoint_m_s": sorter.speed_setpoint_m_s,
        "speed_m_s": round(sorter.speed_m_s, 4),
        "blocked": sorter.blocked,
        "starved": sorter.starved,
        "sorted": sorter.sorted_count,
        "missorted": sorter.missorted_count,
        "last_destination": sorter.last_destination,
        "chutes": {
            chute.name: {"received": chute.received, "held": chute.held, "full": chute.is_full}
            for chute in sorter.held.values()
        },
        "parcels": [_show_parcel(parcel) for parcel in sorter.parcels],
    }


def _show_parcel(parcel: Parcel) -> dict[str, Any]:
    return {
        "id": parcel.id,
        "epc": parcel.epc.hex().upper(),
        "destination": parcel.destination,
        "read": parcel.is_read,
        "front_m": round(parcel.front_m, 3),
        "length_m": round(parcel.length_m, 3),
        "weight_kg": round(parcel.weight_kg, 3),
    }
