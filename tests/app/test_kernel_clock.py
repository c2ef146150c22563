"""Whether somebody keeps the clock right, as the kernel says it, and where a sandbox forbids to ask."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.clock import Clock, is_synchronised
from tests.app.conftest import ROOT, environment

ASK = """
#include <stdio.h>
#include <sys/timex.h>
int main(void) { struct timex now = {0}; printf("%d", adjtimex(&now) != TIME_ERROR); }
"""
FORBID = """
#include <errno.h>
struct timex;
int adjtimex(struct timex *now) { (void) now; errno = EPERM; return -1; }
"""
CHECK = """
import sys
from pathlib import Path
from gateway import clock
clock._TIMESYNCD = Path(sys.argv[1])
print(clock.is_synchronised())
"""


def compiled(source: str, target: Path, *options: str) -> Path:
    subprocess.run(["gcc", *options, "-x", "c", "-", "-o", target], input=source, text=True, check=True)
    return target


def test_the_kernel_is_understood(tmp_path: Path) -> None:
    told = subprocess.run([compiled(ASK, tmp_path / "ask")], capture_output=True, text=True, check=True).stdout
    assert is_synchronised() == bool(int(told))


@pytest.mark.parametrize("marked", [True, False])
def test_where_the_kernel_may_not_be_asked_systemd_timesyncd_is_believed(tmp_path: Path, marked: bool) -> None:
    library, mark = compiled(FORBID, tmp_path / "forbid.so", "-shared", "-fPIC"), tmp_path / "synchronized"
    if marked:
        mark.touch()
    answer = subprocess.run(
        [sys.executable, "-c", CHECK, mark],
        cwd=ROOT, env=environment(LD_PRELOAD=str(library)), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stdout.strip() == str(marked)


def test_both_clocks_are_read_again_when_the_process_was_stopped_between_them() -> None:
    boot_ns = iter([0, 10**9, 2 * 10**9, 2 * 10**9 + 1000])
    wall_ns = iter([10**18 + 10**9, 10**18 + 2 * 10**9])
    clock = Clock(wall_ns=lambda: next(wall_ns), boot_ns=lambda: next(boot_ns))
    assert clock.offset_ns() == 10**18
