"""A scale's indicator: MT-SICS, SMA SCP-0499 or Toledo continuous output, on a TCP port or a serial line.

mtsics, sma, toledo   what an indicator says to one client; pure, time is passed in
spoilt                what a fault makes of that
endpoint              sockets, lines, and the timer for what comes unasked
"""

from __future__ import annotations

from simulators.scale.endpoint import ScaleSerialEndpoint, ScaleTcpEndpoint

__all__ = ["ScaleSerialEndpoint", "ScaleTcpEndpoint"]
