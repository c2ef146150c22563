"""What a reading takes of memory, about: the queues of readings are bounded in bytes, for a text may be long."""

from __future__ import annotations

from drivers.model import Reading

_READING_BYTES = 280
_VALUE_BYTES = 35


def memory_bytes(reading: Reading) -> int:
    """Without its group, which it shares with others."""
    values = reading.values
    texts = sum([len(value) for value in values if type(value) is str])  # a list is quicker, and it is a hot path
    return _READING_BYTES + _VALUE_BYTES * len(values) + texts
