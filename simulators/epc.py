"""Electronic Product Codes as a tag carries them: GS1 EPC Tag Data Standard 2.3, chapter 14, the 96-bit schemes.

Both begin with header (8 bits), filter (3) and partition (3). The partition is 12 less the digits of the company prefix
and fixes how many bits prefix and reference have.
"""

from __future__ import annotations

from typing import NamedTuple

EPC_BYTES = 12

_SGTIN_96 = 0x30
_SSCC_96 = 0x31
_SERIAL_BITS = 38
_RESERVED_BITS = 24


class _Partition(NamedTuple):
    prefix_bits: int
    sscc_bits: int
    sgtin_bits: int


_PARTITIONS = (
    _Partition(40, 18, 4),
    _Partition(37, 21, 7),
    _Partition(34, 24, 10),
    _Partition(30, 28, 14),
    _Partition(27, 31, 17),
    _Partition(24, 34, 20),
    _Partition(20, 38, 24),
)
_LONGEST_PREFIX = 12


def sscc_96(prefix: str, reference: str, *, filter_value: int = 0) -> bytes:
    """A logistic unit. `reference` is the extension digit and the serial reference: 17 digits less those of `prefix`.

    Raises ValueError when the digits do not fit.
    """
    partition = _partition(prefix, reference, digits=17)
    sizes = _PARTITIONS[partition]
    head = _head(_SSCC_96, filter_value, partition, prefix)
    return (((head << sizes.sscc_bits) | int(reference)) << _RESERVED_BITS).to_bytes(EPC_BYTES)


def sgtin_96(prefix: str, item: str, serial: int, *, filter_value: int = 0) -> bytes:
    """A trade item. `item` is the indicator digit and the item reference: 13 digits less those of `prefix`.

    Raises ValueError when the digits or the serial number do not fit.
    """
    if not 0 <= serial < 1 << _SERIAL_BITS:
        raise ValueError(f"serial number {serial} does not fit {_SERIAL_BITS} bits")
    partition = _partition(prefix, item, digits=13)
    sizes = _PARTITIONS[partition]
    head = _head(_SGTIN_96, filter_value, partition, prefix)
    return (((head << sizes.sgtin_bits) | int(item)) << _SERIAL_BITS | serial).to_bytes(EPC_BYTES)


def _head(header: int, filter_value: int, partition: int, prefix: str) -> int:
    if not 0 <= filter_value <= 7:
        raise ValueError(f"filter value {filter_value} is not 0 to 7")
    return ((header << 3 | filter_value) << 3 | partition) << _PARTITIONS[partition].prefix_bits | int(prefix)


def _partition(prefix: str, reference: str, *, digits: int) -> int:
    partition = _LONGEST_PREFIX - len(prefix)
    if not 0 <= partition < len(_PARTITIONS) or not (prefix + reference).isdecimal():
        raise ValueError(f"{prefix!r} is not a company prefix of 6 to 12 digits with a reference in digits")
    if len(prefix) + len(reference) != digits:
        raise ValueError(f"{prefix!r} and {reference!r} are not {digits} digits together")
    return partition
