"""The shortest decimal that means a float32.

A device that measures 0.1 sends the float32 nearest to it, 0.100000001490116…; the number that it means, and that a
person wants to read, is the shortest decimal that the same float32 is nearest to. Pure; costs 0.3 to 0.6 µs.
"""

from __future__ import annotations

from math import frexp, log10
from struct import Struct

_FIRST_DIGITS, _MOST_DIGITS = 6, 9
"""Six significant digits always survive a float32; nine always tell two apart (IEEE 754)."""
_FLOAT32 = Struct(">f")
_LARGEST = (2 - 2**-23) * 2.0**127
_EXACT_POWERS = 22
"""10**22 is the largest power of ten that a double holds exactly."""


def shortest(value: float) -> float:
    """The double that prints as the shortest decimal for `value`, which must be a finite float32.

    Always the same float32 again; next to a power of two it may keep one digit more than it would need.
    """
    if value == 0.0:
        return value
    _, exponent = frexp(value)
    tolerance, powers = _BY_EXPONENT[exponent]
    for power in powers:
        # Division of two exact numbers is correctly rounded, so this is the double of the decimal itself.
        candidate = round(value * power) / power
        if -tolerance < candidate - value < tolerance:
            return candidate
    return _shortest_by_text(value)


def _shortest_by_text(value: float) -> float:
    """The slow way, for the very large and the very small."""
    wanted = _FLOAT32.pack(value)
    for digits in range(_FIRST_DIGITS, _MOST_DIGITS):
        candidate = float(f"{value:.{digits}g}")
        if abs(candidate) <= _LARGEST and _FLOAT32.pack(candidate) == wanted:
            return candidate
    return float(f"{value:.{_MOST_DIGITS}g}")


def _entry(exponent: int) -> tuple[float, tuple[float, ...]]:
    """For values in [2**(exponent-1), 2**exponent): half a float32 step, and 10**k for 6, 7 … significant digits."""
    half_step = 2.0 ** (max(exponent, -125) - 25)
    leading = int(log10(2.0) * (exponent - 1) // 1)
    decimals = range(_FIRST_DIGITS - 1 - leading, _MOST_DIGITS + 1 - leading)
    return half_step, tuple(10.0**k for k in decimals if decimals[0] >= 0 and decimals[-1] <= _EXACT_POWERS)


_BY_EXPONENT = {exponent: _entry(exponent) for exponent in range(-148, 129)}
