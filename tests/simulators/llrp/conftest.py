from __future__ import annotations

import pytest

from tests.simulators.llrp.desk import PALLET, Desk, StillPortal, tag


@pytest.fixture
def portal() -> StillPortal:
    """Two antennas, a pallet before the first."""
    return StillPortal([tag(PALLET)])


@pytest.fixture
def desk(portal: StillPortal) -> Desk:
    return Desk(portal)
