"""From the buffer to one destination: connect, send what is missing, acknowledge what has arrived, for ever.

When a connection is made, `Buffer.last_committed` is the boundary. Readings after it are the live lane: published as
soon as they are committed. Readings up to it that the destination has not acknowledged are the history lane: oldest
first, flagged historical, after a random delay (`replay.start_within`), at most `replay.values_per_second`, and
within a window of its own, which shrinks when answers get slower (`HistoryWindow`). With `replay.order: in-order` the
live lane starts when the history lane has reached the boundary. Now and then a sweep looks for readings that both have
passed by, because the database could not be read then; and at once when readings that were set aside are to be sent
again.

A reading leaves the buffer only by its acknowledgement, or by being set aside. What was in flight when a connection
ended is unacknowledged, so it is history for the next one and goes out again under the same id. With `batch` the order
is kept for each device. A broker may hang up on a message instead of refusing it; `suspects` finds out on which.

The status says that a connection has begun and how much history it has, once more when that has been sent, and whenever
the end of another connection may have left it wrong (`Status`, `Presence`).
"""

from gateway.forward.line import forward
from gateway.forward.presence import Presence
from gateway.forward.session import LEAVING_S

__all__ = ["LEAVING_S", "Presence", "forward"]
