"""The config file: YAML to validated, frozen settings. Touches no network."""

from gateway.config.changes import changed_keys
from gateway.config.destination import DestinationSettings, ReplayOrder, ReplaySettings, Start, TlsSettings
from gateway.config.load import load
from gateway.config.problems import ConfigError, Problem
from gateway.config.schema import json_schema
from gateway.config.settings import (
    BufferSettings,
    CommandsSettings,
    Durability,
    GatewaySettings,
    HttpSettings,
    Settings,
    WhenFull,
)

__all__ = [
    "BufferSettings",
    "CommandsSettings",
    "ConfigError",
    "DestinationSettings",
    "Durability",
    "GatewaySettings",
    "HttpSettings",
    "Problem",
    "ReplayOrder",
    "ReplaySettings",
    "Settings",
    "Start",
    "TlsSettings",
    "WhenFull",
    "changed_keys",
    "json_schema",
    "load",
]
