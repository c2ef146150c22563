"""The PackML state machine: every command in every state, against the transitions of ISA-TR88.00.02."""

from __future__ import annotations

import pytest

from simulators.faces import PackCommand, PackState
from simulators.packml import PackMachine

ACTING = {
    PackState.CLEARING: PackState.STOPPED,
    PackState.RESETTING: PackState.IDLE,
    PackState.STARTING: PackState.EXECUTE,
    PackState.HOLDING: PackState.HELD,
    PackState.UNHOLDING: PackState.EXECUTE,
    PackState.SUSPENDING: PackState.SUSPENDED,
    PackState.UNSUSPENDING: PackState.EXECUTE,
    PackState.STOPPING: PackState.STOPPED,
    PackState.ABORTING: PackState.ABORTED,
    PackState.COMPLETING: PackState.COMPLETE,
}
SINGLE_SOURCE = {
    (PackState.STOPPED, PackCommand.RESET): PackState.RESETTING,
    (PackState.COMPLETE, PackCommand.RESET): PackState.RESETTING,
    (PackState.IDLE, PackCommand.START): PackState.STARTING,
    (PackState.EXECUTE, PackCommand.HOLD): PackState.HOLDING,
    (PackState.HELD, PackCommand.UNHOLD): PackState.UNHOLDING,
    (PackState.EXECUTE, PackCommand.SUSPEND): PackState.SUSPENDING,
    (PackState.SUSPENDED, PackCommand.UNSUSPEND): PackState.UNSUSPENDING,
    (PackState.ABORTED, PackCommand.CLEAR): PackState.CLEARING,
}
DOWN = {PackState.CLEARING, PackState.STOPPED, PackState.STOPPING, PackState.ABORTING, PackState.ABORTED}


def expected(state: PackState, command: PackCommand) -> PackState | None:
    if command is PackCommand.ABORT:
        return None if state in {PackState.ABORTING, PackState.ABORTED} else PackState.ABORTING
    if command is PackCommand.STOP:
        return None if state in DOWN else PackState.STOPPING
    return SINGLE_SOURCE.get((state, command))


@pytest.mark.parametrize("state", PackState)
@pytest.mark.parametrize("command", PackCommand)
def test_a_command_leads_where_the_standard_says_or_is_refused(state: PackState, command: PackCommand) -> None:
    machine = PackMachine(state)
    target = expected(state, command)
    assert machine.command(command) is (target is not None)
    assert machine.state is (target or state)


@pytest.mark.parametrize("state", PackState)
def test_acting_states_pass_by_themselves_and_waiting_ones_do_not(state: PackState) -> None:
    machine = PackMachine(state)
    assert machine.step(10.0) is (state in ACTING)
    assert machine.state is ACTING.get(state, state)
