"""An independent look at what reached a broker: what is missing, what came twice, what contradicts itself.

    broker ── subscriber (paho, a persistent session) ──► Ledger.note ──► Ledger.verdict ──► explain (the buffer's book)

It shares no code with the sending side but the words: what it knows of a reading is what the payload says. Positions
are counted over all devices of a gateway, so a gap names positions and not a device. `ledger` and `verdict` are pure:
bytes in, verdict out; they are the judge of the demo and of tests as well.
"""

from gateway.audit.ledger import Ledger
from gateway.audit.subscriber import listening
from gateway.audit.verdict import DeviceVerdict, EpochVerdict, Verdict

__all__ = ["DeviceVerdict", "EpochVerdict", "Ledger", "Verdict", "listening"]
