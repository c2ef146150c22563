"""The control port: HTTP on loopback to look at the twin as it really is, and to make endpoints misbehave.

| request        | body, for example                                                  | answer                     |
|----------------|--------------------------------------------------------------------|----------------------------|
| `GET /`        |                                                                    | endpoints and their faults |
| `POST /faults` | `{"endpoint": "serial-1", "unit": 2, "fault": "hang", "for_s": 5}` | that endpoint as in `/`    |
| `GET /twin`    |                                                                    | ground truth               |
| `POST /twin`   | `{"conveyor": "infeed", "jam": true, "clear_after_s": 10}`         | that machine as in `/twin` |

A fault (`simulators.faults`) is for an endpoint, one `unit` of it, or a `device` by name wherever it is. `fault: slow`
needs `delay_ms`, `exception` and `antenna-lost` need `code`, `wrong-clock` needs `offset_s`. What machines take is in
`simulators.twin_commands`. What cannot be done is answered with 400 and `{"error": …}`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, NoReturn, Self

from aiohttp import web
from pydantic import Field, ValidationError, model_validator

from simulators.endpoint import Endpoint, EndpointError
from simulators.faults import Fault, FaultError, FaultKind
from simulators.hub import Hub
from simulators.settings import Positive, Strict, describe, split_listen
from simulators.twin_commands import CommandError, read_command
from simulators.twin_view import ground_truth

_MAX_BODY_BYTES = 64 * 1024
PARAMETERS = {
    FaultKind.SLOW: "delay_ms",
    FaultKind.EXCEPTION: "code",
    FaultKind.ANTENNA_LOST: "code",
    FaultKind.WRONG_CLOCK: "offset_s",
}
"""What must be said with a fault."""


class FaultCommand(Strict):
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
        for parameter in ("delay_ms", "code", "offset_s"):
            kinds = [kind for kind, needed in PARAMETERS.items() if needed == parameter]
            if (getattr(self, parameter) is not None) != (self.fault in kinds):
                wanting = " or ".join(f'"{kind}"' for kind in kinds)
                raise ValueError(f'"{parameter}" goes with "fault": {wanting}, and only with that')
        if self.for_s is not None and self.fault is FaultKind.NONE:
            raise ValueError('"for_s" does not go with "fault": "none"')
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
        command = await _read(request)
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
        present = _present(twin)
        try:
            return web.json_response(read_command(await request.read()).obey(present))
        except CommandError as error:
            _refuse(str(error))

    application = web.Application(client_max_size=_MAX_BODY_BYTES)
    application.router.add_get("/", list_endpoints)
    application.router.add_post("/faults", impose)
    application.router.add_get("/twin", show_twin)
    application.router.add_post("/twin", command_twin)
    return application


def _show_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "url": endpoint.url,
        "kind": endpoint.kind,
        "machines": list(endpoint.machines),
        "units": {str(unit): machine for unit, machine in endpoint.units.items()},
        "possible_faults": [kind for kind in FaultKind if kind in endpoint.possible_faults],
        "faults": {"all" if unit is None else str(unit): fault.kind for unit, fault in endpoint.faults().items()},
    }


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


async def _read(request: web.Request) -> FaultCommand:
    try:
        return FaultCommand.model_validate_json(await request.read())
    except ValidationError as error:
        _refuse("; ".join(describe(error)))


def _present(twin: Hub | None) -> Hub:
    if twin is None:
        raise web.HTTPNotFound(text='{"error": "a fleet has no twin"}', content_type="application/json")
    return twin


def _refuse(message: str) -> NoReturn:
    raise web.HTTPBadRequest(text=json.dumps({"error": message}), content_type="application/json")
