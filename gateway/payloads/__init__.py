"""Payload formats: stored readings to (topic, bytes). Pure: no I/O, no clock."""
