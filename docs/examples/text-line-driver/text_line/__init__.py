"""Devices that answer lines of text over TCP: an example of a hub-gateway driver in a package of its own.

A link carries one device. It is asked for one value at a time (`load?` → `load=12.50`), or listened to
(`listen: true`). An answer that is late would be taken for that to the next question, and nothing on the wire tells
them apart; so a device that does not answer in time is connected anew.
"""

from __future__ import annotations

from text_line.driver import LineFamily

FAMILY = LineFamily()

__all__ = ["FAMILY"]
