"""Devices that send lines of text, described by their operator with a regular expression.

    pattern = compile_pattern(r"(?P<weight>[\\d.]+) kg", groups={"weight", "unit"}, needs={"weight"})    ValueError
    request = parse_request(r"\\eP\\r\\n")                                                              ValueError
    lines = LineSplitter()
    for line in lines.feed(data):
        found = None if line is None else pattern.match(line)                                        TooSlow

Pure. Nothing here grows or takes long, whatever a device sends and whatever an operator wrote: lines are bounded in
length, and matching one is bounded in time.
"""

from __future__ import annotations

from drivers.pattern.expression import Pattern, TooSlow, compile_pattern
from drivers.pattern.lines import LineSplitter
from drivers.pattern.request import parse_request

__all__ = ["LineSplitter", "Pattern", "TooSlow", "compile_pattern", "parse_request"]
