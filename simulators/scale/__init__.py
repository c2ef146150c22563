"""Weighing indicators as a client meets them: what the display shows, and the three protocols that tell it.

display      what the indicator shows, in its unit, with what is wrong with it
dialect      bytes in, messages out, and when time brings more; what the protocols have in common
mtsics sma toledo      one protocol each; pure
indicator    a display and the conversations about it, one per client
conversation a dialect with the event loop's clock
spoilt       how a message looks under a fault
"""
