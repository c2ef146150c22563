"""A point on an OPC UA server."""

from __future__ import annotations

from dataclasses import dataclass

from drivers.model import Point
from drivers.opcua.address import Address, Part, part_text


@dataclass(frozen=True, slots=True, kw_only=True)
class OpcuaPoint(Point):
    """A node's value, or a part of it."""

    address: Address
    part: Part = ()
    sampling_s: float = 1.0
    """How often the server looks at the node, where it is subscribed to."""

    @property
    def place(self) -> str:
        """Address and part as a person would name them."""
        return f"{self.address} {part_text(self.part)}" if self.part else str(self.address)
