"""The PackML state machine of a machine unit in mode Production, after ISA-TR88.00.02 (2015).

Acting states (…ING, and EXECUTE) pass by themselves when their work is done; waiting states need a command. A unit that
sorts never completes a batch, so nothing leads to COMPLETING.
"""

from __future__ import annotations

from collections.abc import Mapping

from simulators.faces import PackCommand, PackState

_WORK_S: Mapping[PackState, float] = {
    PackState.CLEARING: 1.0,
    PackState.RESETTING: 1.0,
    PackState.STARTING: 2.0,
    PackState.STOPPING: 1.5,
    PackState.ABORTING: 0.3,
    PackState.HOLDING: 1.0,
    PackState.UNHOLDING: 1.0,
    PackState.SUSPENDING: 1.0,
    PackState.UNSUSPENDING: 1.0,
    PackState.COMPLETING: 1.0,
}
"""How long the work of an acting state takes."""

_AFTER: Mapping[PackState, PackState] = {
    PackState.CLEARING: PackState.STOPPED,
    PackState.RESETTING: PackState.IDLE,
    PackState.STARTING: PackState.EXECUTE,
    PackState.STOPPING: PackState.STOPPED,
    PackState.ABORTING: PackState.ABORTED,
    PackState.HOLDING: PackState.HELD,
    PackState.UNHOLDING: PackState.EXECUTE,
    PackState.SUSPENDING: PackState.SUSPENDED,
    PackState.UNSUSPENDING: PackState.EXECUTE,
    PackState.COMPLETING: PackState.COMPLETE,
}

_EVERY_STATE = frozenset(PackState)
_ABORTED = frozenset({PackState.ABORTING, PackState.ABORTED})
_NOT_STOPPABLE = _ABORTED | {PackState.CLEARING, PackState.STOPPING, PackState.STOPPED}

_COMMANDS: Mapping[PackCommand, tuple[frozenset[PackState], PackState]] = {
    PackCommand.RESET: (frozenset({PackState.STOPPED, PackState.COMPLETE}), PackState.RESETTING),
    PackCommand.START: (frozenset({PackState.IDLE}), PackState.STARTING),
    PackCommand.STOP: (_EVERY_STATE - _NOT_STOPPABLE, PackState.STOPPING),
    PackCommand.HOLD: (frozenset({PackState.EXECUTE}), PackState.HOLDING),
    PackCommand.UNHOLD: (frozenset({PackState.HELD}), PackState.UNHOLDING),
    PackCommand.SUSPEND: (frozenset({PackState.EXECUTE}), PackState.SUSPENDING),
    PackCommand.UNSUSPEND: (frozenset({PackState.SUSPENDED}), PackState.UNSUSPENDING),
    PackCommand.ABORT: (_EVERY_STATE - _ABORTED, PackState.ABORTING),
    PackCommand.CLEAR: (frozenset({PackState.ABORTED}), PackState.CLEARING),
}
"""Command → the states that it is obeyed in, and where it leads."""


class PackMachine:
    """Where a unit is in the state machine."""

    def __init__(self, state: PackState = PackState.EXECUTE) -> None:
        self.state = state
        self._work_s = 0.0

    def command(self, command: PackCommand) -> bool:
        """Obey, or return False: there is no such transition from here."""
        sources, target = _COMMANDS[command]
        if self.state not in sources:
            return False
        self.state = target
        self._work_s = _WORK_S[target]
        return True

    def step(self, dt_s: float) -> bool:
        """Let time pass; whether the state has changed."""
        if self.state not in _AFTER:
            return False
        self._work_s -= dt_s
        if self._work_s > 0:
            return False
        self.state = _AFTER[self.state]
        return True
