"""The daemon: reads devices, commits every reading to the buffer, forwards it, and lets go of it when acknowledged."""
