"""An RFID reader that speaks LLRP 1.0.1 for a portal of the twin.

wire, grammar, codes         bytes: messages, parameters, what is refused and in which words
model, settings, selection   what the reader is, what a client sets on it, which tags take part
rospec, run, reports         when it reads and what it tells of it
reader                       one reader with one client; time is handed in, no I/O
endpoint                     the socket, and the reader misbehaving
"""

from simulators.llrp.endpoint import LlrpEndpoint

__all__ = ["LlrpEndpoint"]
