"""Counterparts from the npm registry, installed when a test first needs them."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest


def installed(folder: Path) -> Path:
    """`folder` with the node_modules that its package-lock.json names. Scripts of packages are not run."""
    lock_file, stamp = folder / "package-lock.json", folder / "node_modules" / ".installed"
    if shutil.which("npm") is None:
        pytest.fail("npm is missing: apt-get install nodejs npm", pytrace=False)
    with lock_file.open() as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # two runs side by side would tread on each other
        if not stamp.exists() or stamp.stat().st_mtime < lock_file.stat().st_mtime:
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if ran.returncode:
                pytest.fail(f"npm ci in {folder} failed: {ran.stderr}", pytrace=False)
            stamp.touch()
    return folder
