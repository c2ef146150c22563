"""A simulated logistics hub that speaks to a gateway as real machines would, and misbehaves on command.

Four separate things, each usable without the next:

    hub, dock, conveyor, weighing, portal, sorter  physics: parcels on belts, pure `step(dt_s)`, seeded
    ledger                                         what truly happens there
    faces, conveyor_map                            what an instrument or a controller shows of it
    modbus, framing, llrp …                        wire dialects: request bytes in, response bytes out
    endpoint, listener, terminal                   faults, TCP sockets, serial lines
    layout, dialects, running                      which machines there are, and where they answer

Nothing here is shared with the gateway or its drivers: a register table or a codec that both sides use hides the same
mistake twice.
"""
