"""The config file as frozen, typed settings; each family of devices adds its own model for the entries of `devices:`.

Durations are seconds and sizes are bytes here, whatever unit the file used. The text under a field is what editors show
for it (`hub-gateway schema`).
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema
from pydantic import field_validator as check

from drivers.settings import DeviceSettings, Duration, Name, Report, Size
from gateway.config.destination import DestinationSettings
from gateway.config.fields import DocumentedModel, FilePath, SizeOrZero, Whole


class GatewaySettings(DocumentedModel):
    """Who this gateway is."""

    site: Name
    """The hub that the gateway stands in, for example `lgg`."""
    id: Name
    """This gateway, unique in its site, for example `sort-01`."""

    @property
    def client_id(self) -> str:
        """The MQTT client identifier for a destination that names none."""
        return f"hub-gateway-{self.site}-{self.id}"


class WhenFull(StrEnum):
    """Which readings give way when the buffer is full."""

    DROP_OLDEST = "drop-oldest"
    DROP_NEWEST = "drop-newest"
    THIN = "thin"


class Durability(StrEnum):
    """What a committed reading survives."""

    POWER_LOSS = "power-loss"
    PROCESS_CRASH = "process-crash"


class BufferSettings(DocumentedModel):
    """Where readings wait until every destination has acknowledged them, and how many may wait."""

    path: FilePath = Path("/var/lib/hub-gateway/buffer.db")
    """The SQLite database; made when it is not there."""
    max_bytes: Annotated[Size, Field(ge=512 * 2**10, le=2**62)] = 2 * 2**30
    """The most that database and write-ahead log may take together."""
    max_age: Annotated[Duration, Field(le=36525 * 86400.0)] = 14 * 86400.0
    """Readings older than this are dropped."""
    min_free_disk: SizeOrZero = 256 * 2**20
    """How much of the disk the buffer leaves free; with 0 only what the log needs."""
    when_full: WhenFull = WhenFull.DROP_OLDEST
    """`drop-oldest` makes room for new readings, `drop-newest` keeps the old ones, `thin` keeps every n-th of what was
    polled."""
    durability: Durability = Durability.POWER_LOSS
    """`power-loss` waits for the disk at each commit; `process-crash` does not, and a power cut takes the last few."""


class HttpSettings(DocumentedModel):
    """The status page, `/metrics`, `/healthz`, `/readyz` and `/api/v1/status`."""

    listen: Annotated[
        str, WithJsonSchema({"type": "string", "pattern": r"^(\[[0-9A-Fa-f:.%a-z]+\]|[^\s/@\[\]:]+):\d{1,5}$"})
    ] = "127.0.0.1:9464"
    """`host:port`; `[::1]:9464` for IPv6, `0.0.0.0:9464` for every interface; port 0 takes a free one."""

    @check("listen")
    @classmethod
    def _host_and_port(cls, listen: str) -> str:
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+(%\w+)?\]|[^\s/@\[\]:?#]+):([0-9]{1,5})", listen, re.ASCII)
        if match is None:
            raise ValueError("must be host:port, for example 127.0.0.1:9464, [::1]:9464 or 0.0.0.0:9464")
        if int(match[3]) > 65535:
            raise ValueError(f"{match[3]} is not a port; the highest is 65535")
        return listen


class CommandsSettings(DocumentedModel):
    """Writing to devices by MQTT messages. Only points that say `writable: true` can be written."""

    enabled: bool = False
    """Whether commands are taken at all."""
    timeout: Annotated[Duration, Field(le=3600.0)] = 30.0
    """How long a command may take, waiting for its turn included, before its sender is told that it failed."""
    per_minute: Whole = 60
    """The most commands that one device is given in a minute; more are refused."""


class DefaultSettings(DocumentedModel):
    """What every device has unless it says otherwise."""

    period: Duration | None = None
    """How often a device is read."""
    timeout: Duration | None = None
    """How long an answer of a device is waited for."""
    report: Report | None = None
    """`on-change` publishes what has moved by more than its deadband; `every-read` publishes all that was read."""
    heartbeat: Duration | None = None
    """With `on-change`: how often a point is published although it has not moved."""


class Settings(DocumentedModel):
    """A whole config file. `gateway.config.load` also makes sure that names are unique."""

    gateway: GatewaySettings
    buffer: BufferSettings = BufferSettings()
    destinations: Annotated[tuple[DestinationSettings, ...], Field(min_length=1)]
    http: HttpSettings = HttpSettings()
    commands: CommandsSettings = CommandsSettings()
    devices: Annotated[tuple[DeviceSettings, ...], Field(min_length=1)]

    @property
    def state_folder(self) -> Path:
        """Where drivers keep what must outlive the process: the folder of the buffer."""
        return self.buffer.path.parent


class Document(Settings):
    """A config file as it is written: with `defaults:`, and with devices that their families have yet to validate."""

    defaults: DefaultSettings = DefaultSettings()
    """What every device has unless it says otherwise."""
    devices: Annotated[tuple[Any, ...], Field(min_length=1)]
