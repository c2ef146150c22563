"""Commands: what people send over MQTT to be written to a device.

    hub/lgg/sort-01/infeed-conveyor/set/speed    {"value": 1.2}     →    {"ok": true, "value": 1.2}

A command is carried out at most once, between two reads of its link, and its sender is told what the device holds
afterwards, or why nothing came of it. It is refused unless `commands.enabled` is set, the point says `writable: true`,
the value is within the point's `min` and `max`, and the device has not had too many commands already. One that the
broker keeps (retained) is refused, because the broker would hand it out again at every connection; one that comes a
second time, with the same correlation data, gets the first one's answer again. Every command is in the log.
"""

from gateway.commands.commands import Commands, Writer
from gateway.commands.topics import Topics

__all__ = ["Commands", "Topics", "Writer"]
