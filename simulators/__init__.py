"""A simulated logistics hub that speaks to a gateway as real machines would, and misbehaves on command.

Four separate things, each usable without the next:

    hub, conveyor                      physics: parcels on belts, pure `step(dt_s)`, seeded
    conveyor_map                       what a conveyor's controller shows as registers and coils
    modbus, framing                    the wire dialect: request bytes in, response bytes out; no I/O
    endpoint, listener, terminal       faults, TCP sockets, serial lines

Nothing here is shared with the gateway or its drivers: a register table or a codec that both sides use hides the same
mistake twice.
"""
