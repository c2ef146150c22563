"""OPC UA over TCP: subscriptions and polled reads, built on asyncua.

`settings` says what the config file may hold and `address` how a node is named; these are pure and load no asyncua.
`link` opens the secure channel and the session, `resolve` finds the nodes, `session` polls them, `subscription` listens
to them, `value` says what came. `certificates` holds who we are and whom we trust; `browse` and `trust` are commands.
"""

from __future__ import annotations

from drivers.contract import Family
from drivers.opcua.driver import OpcuaFamily

FAMILY: Family = OpcuaFamily()
