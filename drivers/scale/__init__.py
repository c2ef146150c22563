"""Scales and weighing indicators: MT-SICS, SMA SCP-0499, Toledo continuous output, and lines that a pattern describes.

`settings` says what the config file may hold. `mtsics`, `sma`, `toledo` and `text` are the codecs: bytes in, an
`indication` out; pure. Each has an `…_instrument` beside it, which holds the conversation over a `channel`; `reading`
turns indications into readings and `session` hands them on. A weight is a Decimal from the first byte to the last; a
frame that could be wrong is never a good one. What users need to know is in `docs/scales.md`.
"""

from __future__ import annotations

from drivers.contract import Family
from drivers.scale.driver import ScaleFamily

FAMILY: Family = ScaleFamily()
