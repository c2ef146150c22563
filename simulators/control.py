"""The control port: HTTP on loopback to look at the twin as it really is, and to make endpoints misbehave.

| request        | body, for example                                                  | answer                    |
|----------------|--------------------------------------------------------------------|---------------------------|
| `GET /`        |                                                                    | endpoints and their faults |
| `POST /faults` | `{"endpoint": "serial-1", "unit": 2, "fault": "hang", "for_s": 5}` | that endpoint as in `/`   |
| `GET /twin`    |                                                                    | ground truth              |
| `POST /twin`   | `{"conveyor": "infeed", "jam": true, "clear_after_s": 10}`         | that conveyor as in `/twin` |

A fault (`simulators.faults`) is for an endpoint, one `unit` of it, or a `device` by name wherever it is. `fault: slow`
needs `delay_ms`, `fault: exception` needs `code`, `fault: wrong-clock` needs `offset_s`. A conveyor also takes `run`
and `speed_mm_s`. What cannot be done is answered with 400 and `{"error": …}`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, NoReturn, Self, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from simulators.conveyor import MAX_SPEED_MM_S, Conveyor
from simulators.endpoint import Endpoint, EndpointError
from simulators.faults import Fault, FaultError, FaultKind
from simulators.hub import Hub
from simulators.layout import Positive, describe, split_listen

_MAX_BODY_BYTES = 64 * 1024


class _Command(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


CommandT = TypeVar("CommandT", bound=_Command)


class FaultCommand(_Command):
    """The body of `POST /faults`."""

    fault: FaultKind
    endpoint: str | None = None
    unit: int | None = None
    device: str | None = None
    for_s: Positive | None = None
    delay_ms: Annotated[float, Field(gt=0, le=600_000)] | None = None
    code: Annotated[int, Field(ge=1, le=65535)] | None = None
    offset_s: Annotated[float, Field(ge=-1e10, le=1e10)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.endpoint is None and self.device is None:
            raise ValueError("name an endpoint or a device")
        if self.unit is not None and (self.device is not None or self.endpoint is None):
            raise ValueError("a unit goes with an endpoint; a device is named on its own")
        if (self.delay_ms is not None) != (self.fault is FaultKind.SLOW):
            raise ValueError('"delay_ms" goes with "fault": "slow", and only with that')
        if (self.code is not None) != (self.fault is FaultKind.EXCEPTION):
            raise ValueError('"code" goes with "fault": "exception", and only with that')
        if (self.offset_s is not None) != (self.fault is FaultKind.WRONG_CLOCK):
            raise ValueError('"offset_s" goes with "fault": "wrong-clock", and only with that')
        if self.for_s is not None and self.fault is FaultKind.NONE:
            raise ValueError('"for_s" does not go with "fault": "none"')
        return self


class TwinCommand(_Command):
    """The body of `POST /twin`."""

    conveyor: str
    jam: bool | None = None
    clear_after_s: Positive | None = None
    run: bool | None = None
    speed_mm_s: Annotated[int, Field(ge=0, le=MAX_SPEED_MM_S)] | None = None

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.jam is None and self.run is None and self.speed_mm_s is None:
            raise ValueError('nothing to do; give "jam", "run" or "speed_mm_s"')
        if self.clear_after_s is not None and not self.jam:
            raise ValueError('"clear_after_s" goes with "jam": true')
        return self


@asynccontextmanager
async def control_port(listen: str, endpoints: Mapping[str, Endpoint], *, twin: Hub | None) -> AsyncIterator[str]:
    """Serve while the context lasts; yields the base URL. Raises `EndpointError` when `listen` cannot be had."""
    host, port = split_listen(listen)
    runner = web.AppRunner(_application(endpoints, twin), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise EndpointError(
                f"the control port cannot listen on {listen}: {error}; port 0 picks a free one"
            ) from error
        address = runner.addresses[0]
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        yield f"http://{shown}:{address[1]}"
    finally:
        await runner.cleanup()


def _application(endpoints: Mapping[str, Endpoint], twin: Hub | None) -> web.Application:
    async def list_endpoints(_: web.Request) -> web.Response:
        shown = {name: _show_endpoint(endpoint) for name, endpoint in endpoints.items()}
        return web.json_response({"endpoints": shown})

    async def impose(request: web.Request) -> web.Response:
        command = await _read(request, FaultCommand)
        endpoint, unit = _target(command, endpoints)
        fault = Fault(
            command.fault,
            delay_s=(command.delay_ms or 0.0) / 1000,
            code=command.code or 0,
            offset_s=command.offset_s or 0.0,
        )
        try:
            await endpoint.impose(fault, unit=unit, for_s=command.for_s)
        except FaultError as error:
            _refuse(str(error))
        return web.json_response({endpoint.name: _show_endpoint(endpoint)})

    async def show_twin(_: web.Request) -> web.Response:
        return web.json_response(ground_truth(_present(twin)))

    async def command_twin(request: web.Request) -> web.Response:
        conveyors = _present(twin).conveyors
        command = await _read(request, TwinCommand)
        if command.conveyor not in conveyors:
            _refuse(f'there is no conveyor "{command.conveyor}"; there are {", ".join(conveyors)}')
        conveyor = conveyors[command.conveyor]
        _obey(conveyor, command)
        return web.json_response({conveyor.name: _show_conveyor(conveyor)})

    application = web.Application(client_max_size=_MAX_BODY_BYTES)
    application.router.add_get("/", list_endpoints)
    application.router.add_post("/faults", impose)
    application.router.add_get("/twin", show_twin)
    application.router.add_post("/twin", command_twin)
    return application


def ground_truth(twin: Hub) -> dict[str, Any]:
    """Everything as it is, not as a controller sees it; ready for JSON."""
    return {
        "time_s": round(twin.time_s, 3),
        "entered": twin.dock.entered,
        "discharged": twin.discharge.discharged,
        "conveyors": {name: _show_conveyor(conveyor) for name, conveyor in twin.conveyors.items()},
    }


def _show_conveyor(conveyor: Conveyor) -> dict[str, Any]:
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
        "parcels": [
            {
                "id": parcel.id,
                "front_m": round(parcel.front_m, 3),
                "length_m": round(parcel.length_m, 3),
                "weight_kg": round(parcel.weight_kg, 3),
            }
            for parcel in conveyor.parcels
        ],
    }


def _show_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "url": endpoint.url,
        "kind": endpoint.kind,
        "machines": list(endpoint.machines),
        "units": {str(unit): machine for unit, machine in endpoint.units.items()},
        "possible_faults": [kind for kind in FaultKind if kind in endpoint.possible_faults],
        "faults": {"all" if unit is None else str(unit): fault.kind for unit, fault in endpoint.faults().items()},
    }


def _obey(conveyor: Conveyor, command: TwinCommand) -> None:
    if command.run is not None:
        conveyor.run = command.run
    if command.speed_mm_s is not None:
        conveyor.setpoint_mm_s = command.speed_mm_s
    if command.jam:
        conveyor.jam(clear_after_s=command.clear_after_s)
    elif command.jam is not None:
        conveyor.clear()


def _target(command: FaultCommand, endpoints: Mapping[str, Endpoint]) -> tuple[Endpoint, int | None]:
    """The endpoint and unit that are meant. A connection fault on a device that has its endpoint to itself is the
    endpoint's."""
    if command.endpoint is not None and command.endpoint not in endpoints:
        _refuse(f'there is no endpoint "{command.endpoint}"; there are {", ".join(endpoints)}')
    among = endpoints.values() if command.endpoint is None else (endpoints[command.endpoint],)
    if command.endpoint is not None and command.device is None:
        return endpoints[command.endpoint], command.unit
    found: list[tuple[Endpoint, int | None]] = []
    for endpoint in among:
        units = [unit for unit, machine in endpoint.units.items() if machine == command.device]
        if units:
            found += [(endpoint, unit) for unit in units]
        elif command.device in endpoint.machines:
            found.append((endpoint, None))
    if not found:
        _refuse(f'there is no device "{command.device}" on {", ".join(endpoint.name for endpoint in among)}')
    if len(found) > 1:
        places = ", ".join(f"{endpoint.name}{'' if unit is None else f' unit {unit}'}" for endpoint, unit in found)
        _refuse(f'device "{command.device}" is at {places}; name the endpoint too')
    endpoint, unit = found[0]
    return endpoint, None if len(endpoint.machines) == 1 else unit


async def _read(request: web.Request, model: type[CommandT]) -> CommandT:
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        _refuse("; ".join(describe(error)))


def _present(twin: Hub | None) -> Hub:
    if twin is None:
        raise web.HTTPNotFound(text='{"error": "a fleet has no twin"}', content_type="application/json")
    return twin


def _refuse(message: str) -> NoReturn:
    raise web.HTTPBadRequest(text=json.dumps({"error": message}), content_type="application/json")
