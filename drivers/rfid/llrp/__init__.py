"""LLRP, the Low Level Reader Protocol of EPCglobal, version 1.0.1 and 1.1: the part that a client needs for inventory.

`framing` cuts the byte stream into messages, `parameters` walks their contents, `requests` builds what is sent, and
`capabilities`, `events`, `reports` and `status` read what comes; these are pure. Sections that docstrings name are
those of LLRP 1.1 (EPCglobal, ratified 2010-10-13).
"""
