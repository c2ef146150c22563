"""Cancellations that get lost below us.

asyncua waits for answers with `asyncio.wait_for`. Up to Python 3.11 that returns the answer and forgets the
cancellation when both come in the same turn of the loop (CPython issue 86296). A link that goes on although it was
cancelled would keep the whole gateway from stopping.
"""

from __future__ import annotations

import asyncio


def heed() -> None:
    """Raise `CancelledError` if the current task has been cancelled. To be called after an answer of asyncua."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
