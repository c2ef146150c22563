"""What is sent to a device to ask it, as an operator writes it."""

from __future__ import annotations

import re

_NAMED = {"r": b"\r", "n": b"\n", "t": b"\t", "e": b"\x1b", "0": b"\0", "\\": b"\\"}
_PART = re.compile(r"\\x([0-9A-Fa-f]{2})|\\(.)|\\|([^\\]+)", re.DOTALL)


def parse_request(text: str) -> bytes:
    r"""The bytes that `text` stands for: Latin-1, with \r \n \t \e (escape) \0 \xNN and \\.

    Raises ValueError in an operator's words. YAML resolves most of these itself between double quotes, which comes to
    the same.
    """
    found = bytearray()
    for code, name, plain in (match.groups() for match in _PART.finditer(text)):
        if plain:
            try:
                found += plain.encode("latin-1")
            except UnicodeEncodeError as error:
                wrong = plain[error.start]
                raise ValueError(f'"{wrong}" is not one byte; write bytes as \\xNN') from None
        elif code:
            found.append(int(code, 16))
        elif name in _NAMED:
            found += _NAMED[name]
        else:
            raise ValueError(f"\\{name or ''} is not known; there are \\r \\n \\t \\e \\0 \\xNN and \\\\")
    if not found:
        raise ValueError("there is nothing to send")
    return bytes(found)
