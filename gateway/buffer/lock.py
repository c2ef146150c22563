"""One gateway per buffer: an advisory lock on a file beside the database. Readers (the CLI, `sqlite3`) do not need
it."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.buffer.model import BufferUnavailable


@contextmanager
def exclusive(database: Path) -> Iterator[None]:
    """Hold `<database>.lock`, which names this process. The kernel releases it however the process ends.

    Raises `BufferUnavailable` when another process holds it or the file cannot be made.
    """
    path = database.with_name(f"{database.name}.lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise BufferUnavailable(f"cannot make {path}: {error.strerror}", hint=_hint(database.parent, error)) from error
    try:
        _hold(descriptor, path, database)
        yield
    finally:
        os.close(descriptor)


def _hold(descriptor: int, path: Path, database: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        raise BufferUnavailable(
            f"another gateway is running with the buffer {database} (pid {holder})",
            hint="stop it, or give this one a buffer.path of its own",
        ) from None
    except OSError as error:
        raise BufferUnavailable(f"cannot hold {path}: {error.strerror}", hint=_hint(database.parent, error)) from error


def _hint(directory: Path, error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"free some space on the file system of {directory}, or change buffer.path"
    if isinstance(error, FileNotFoundError | NotADirectoryError) and not directory.is_dir():
        return f"make the directory {directory} and give it to the gateway's user, or change buffer.path"
    return f"let the gateway's user (uid {os.getuid()}) write to {directory}, or change buffer.path"
