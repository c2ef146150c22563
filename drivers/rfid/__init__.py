"""RFID readers: LLRP 1.0.1 and 1.1, and simple readers that write a line of text for each tag.

`settings` says what the config file may hold, `epc` what the bits of a tag mean, `deduplicate` which sightings are one
stay, `clock` whose time counts; these are pure, as are the codecs in `llrp`. `portal` makes readings of a device,
`llrp.session` and `lines` listen to readers. For operators: `docs/rfid.md`.
"""

from __future__ import annotations

from drivers.contract import Family
from drivers.rfid.driver import RfidFamily

FAMILY: Family = RfidFamily()
