"""What can be read: conveyors, scales and readers, one family of devices per sub-package.

`drivers.model` has the words (point, group, reading, quality), `drivers.contract` what a driver is, and
`drivers.registry` finds one by name. Nothing here knows of buffers, brokers or the rest of a config file.
"""
