"""The controller of a sorter as an OPC UA server.

tags        what it shows of the sorter and what can be written; pure
space       the address space: the standard one, which all servers of the process share, and the sorter's nodes
connection  asyncua's protocol on a listening endpoint's client, and what faults do to it
endpoint    all of it together, and the tags kept up to date
"""

from __future__ import annotations

from simulators.opcua.endpoint import OpcuaEndpoint

__all__ = ["OpcuaEndpoint"]
