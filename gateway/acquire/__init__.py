"""Acquisition: one supervisor per link connects, reads what is due or listens, and appends to the buffer.

The supervisor holds all policy, the driver none. The type of an error is the decision:

- `DeviceUnavailable`: leave the session, every point of the link goes bad once, back off, connect again. So it is with
  any error while connecting or listening.
- `BadResponse`: this reading is bad. A poll group that is not answered at all, or several times wrongly, opens its
  breaker: its points have gone bad once and it is probed ever more rarely. A device of which every group is in that
  state is down, and on a shared line costs the others one timeout per probe (see `breaker`). When every device of a
  link is down, the link itself is suspect and is connected anew.
- `NotAsked`: the tick is missed and counted as such, and nothing else.
- anything else is a bug: it faults that one device (that one link, when devices speak unasked), with a traceback in the
  log, and nothing else.

Devices that speak unasked are up while their link is. What they say is merged into their state, and the state is
reported whole at every heartbeat also when they say nothing; events are passed on as they come.

A session is used by one task at a time: what people ask to write is carried out between two reads.

Acquisition never waits for the network beyond its own link: `Buffer.append` returns at once.
"""

from __future__ import annotations

from gateway.acquire.device import Sink
from gateway.acquire.link import Clocks, Link

__all__ = ["Clocks", "Link", "Sink"]
