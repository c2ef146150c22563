"""What the controller of a sorter shows, and what becomes of what is written."""

from __future__ import annotations

import math

import pytest
from asyncua.ua.status_codes import StatusCodes

from simulators.faces import PackCommand
from simulators.opcua.tags import Panel, tags
from tests.simulators.opcua.conftest import StillSorter


def shown(sorter: StillSorter) -> dict[str, object]:
    panel = Panel(sorter)
    return {tag.id: tag.value(panel) for tag in tags(list(sorter.chutes))}


def test_every_fact_of_the_machine_has_a_tag() -> None:
    assert shown(StillSorter()) == {
        "Sorter.Speed": 1.25,
        "Sorter.MachSpeed": 1.5,
        "Sorter.Running": True,
        "Sorter.State": "Execute",
        "Sorter.Blocked": False,
        "Sorter.Starved": True,
        "Sorter.Sorted": 7,
        "Sorter.Missorted": 1,
        "Sorter.LastDestination": "LGG",
        "Sorter.ChuteNames": ["BRU", "LGG", "rest"],
        "Sorter.ChuteCounts": [3, 4, 1],
        "Sorter.FullChutes": ["LGG"],
        "Sorter.Chute.BRU": 3,
        "Sorter.Chute.LGG": 4,
        "Sorter.Chute.rest": 1,
        "Status.UnitModeCurrent": 1,
        "Status.StateCurrent": 6,
        "Status.MachSpeed": 1.5,
        "Status.CurMachSpeed": 1.25,
        "Status.EquipmentBlocked": False,
        "Status.EquipmentStarved": True,
        "Admin.MachDesignSpeed": 2.0,
        "Admin.ProdProcessedCount": [8],
        "Admin.ProdProcessedCount[0].AccCount": 8,
        "Admin.ProdDefectiveCount": [1],
        "Admin.ProdDefectiveCount[0].AccCount": 1,
        "Command.MachSpeed": 1.5,
        "Command.CntrlCmd": 0,
    }


def test_only_set_points_and_the_command_are_writable() -> None:
    assert [tag.id for tag in tags(["A"]) if tag.write is not None] == [
        "Sorter.MachSpeed",
        "Command.MachSpeed",
        "Command.CntrlCmd",
    ]


def test_a_command_reaches_the_machine_and_is_shown_as_the_last() -> None:
    sorter = StillSorter()
    panel = Panel(sorter)
    assert panel.control(4) == StatusCodes.Good
    assert sorter.commands == [PackCommand.HOLD]
    assert panel.last_command == 4


def test_no_command_does_nothing() -> None:
    sorter = StillSorter()
    panel = Panel(sorter)
    panel.control(4)
    assert panel.control(0) == StatusCodes.Good
    assert sorter.commands == [PackCommand.HOLD]
    assert panel.last_command == 0


@pytest.mark.parametrize(("number", "status"), [(8, StatusCodes.BadInvalidState), (10, StatusCodes.BadOutOfRange)])
def test_a_command_that_is_refused_is_not_shown(number: int, status: int) -> None:
    panel = Panel(StillSorter())
    assert panel.control(number) == status
    assert panel.last_command == 0


@pytest.mark.parametrize("speed_m_s", [-0.1, 2.1, math.nan, math.inf])
def test_a_speed_that_the_machine_does_not_have_is_out_of_range(speed_m_s: float) -> None:
    sorter = StillSorter()
    assert Panel(sorter).set_speed(speed_m_s) == StatusCodes.BadOutOfRange
    assert sorter.speed_setpoint_m_s == 1.5
