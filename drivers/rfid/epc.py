"""What an EPC means: from the bits of a tag to its pure-identity URI.

Sources: GS1 EPC Tag Data Standard 2.3, table 14-1 (headers and sizes), chapter 12 (raw URIs) and 14 (binary encoding).

epcpy does the decoding. It is believed only when its own encoding of what it found gives back the tag's bits, every one
of them: by itself it overlooks reserved bits that are not zero (SSCC, GSRN), bits of a reference that has no digits
(GRAI and SGLN with a company prefix of 12 digits) and a NUL inside a serial number. Its tag URIs are not used.
"""

from __future__ import annotations

import sys
import warnings
from functools import cache, lru_cache
from types import ModuleType
from typing import Any

_SIZES_BITS = {
    **dict.fromkeys((0x2C, 0x2D, 0x2E, 0x2F, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x3C, 0x3F), 96),
    0x36: 198,
    0x37: 170,
    0x38: 202,
    0x39: 195,
    0x3E: 174,
    0x40: 110,
    0x41: 212,
}
"""The headers of table 14-1 with a fixed size. What is not here, or has another size, is no EPC that this reads."""

RAW = "urn:epc:raw:"
"""How the URI begins where the bits are no valid EPC."""
_REMEMBERED = 16_384
_MISTAKES = (ValueError, KeyError, IndexError)
"""What epcpy raises for bits that mean nothing, beside an exception of its own."""


@lru_cache(maxsize=_REMEMBERED)
def pure_identity(epc: str, *, size_bits: int | None = None, afi: int | None = None) -> str:
    """`urn:epc:id:sscc:0614141.1234567890`, or `urn:epc:raw:96.x…` where the bits are no valid EPC. Never fails.

    `epc` is upper-case hexadecimal, its last digits zero beyond `size_bits` (all of it when absent). `afi` is the
    application family identifier of a tag that is no GS1 one (toggle bit of its protocol control word set): then the
    bits are not looked at.
    """
    size_bits = 4 * len(epc) if size_bits is None else size_bits
    if afi is not None:
        return f"{RAW}{size_bits}.x{afi:02X}.x{epc}"
    return _decoded(epc, size_bits) or f"{RAW}{size_bits}.x{epc}"


def _decoded(epc: str, size_bits: int) -> str | None:
    expected = _SIZES_BITS.get(int(epc[:2], 16)) if len(epc) >= 2 else None
    if expected is None or size_bits != -(-expected // 16) * 16:  # a tag's memory consists of 16-bit words
        return None
    bits = f"{int(epc, 16):0{4 * len(epc)}b}"
    library = load_library()
    try:
        scheme = library.binary_to_tag_encodable(bits)
        again = _encoded(scheme, bits)
    except (library.ConvertException, *_MISTAKES):
        return None
    if len(again) != expected or again.ljust(len(bits), "0") != bits:
        return None
    uri: str = scheme.epc_uri
    return uri


def _encoded(scheme: Any, bits: str) -> str:
    """The bits that `scheme` would have on a tag with this header and filter value."""
    kind = type(scheme)
    header = kind.BinaryHeader(bits[:8])
    options = {"binary_coding_scheme": kind.BinaryCodingScheme[header.name]}
    filters = getattr(sys.modules[kind.__module__], f"{kind.__name__}FilterValue", None)
    if filters is not None:
        width = 4 if kind.__name__ == "USDOD" else 3
        options["filter_value"] = filters(str(int(bits[8 : 8 + width], 2)))
    encoded: str = scheme.binary(**options)
    return encoded


@cache
def load_library() -> ModuleType:
    """epcpy, imported by whoever comes first: checking a configuration should not cost it, nor should the first tag."""
    with warnings.catch_warnings():
        # Its regular expressions have escapes that Python warns of wherever it is compiled anew.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", SyntaxWarning)
        from epcpy.utils import parsers  # noqa: PLC0415
    return parsers
