"""Log lines for people (`text`), for journald (`text` with a priority prefix) and for machines (`json`)."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import TextIO

import orjson

_SYSLOG_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LogFormat(StrEnum):
    """The value of `--log-format`."""

    TEXT = "text"
    JSON = "json"


def start_logging(log_format: LogFormat | None, *, level: str, stream: TextIO = sys.stderr) -> None:
    """Send records of at least `level` to `stream`; without a format as text, in journald's dialect under journald."""
    handler = logging.StreamHandler(stream)
    if log_format is LogFormat.JSON:
        handler.setFormatter(_Json())
    elif log_format is None and _is_journal(stream):
        handler.setFormatter(_Journald("%(name)s: %(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _is_journal(stream: TextIO) -> bool:
    """Whether systemd has connected this very stream to the journal. The variable alone says only that it did so for
    some parent of this process, such as a desktop's terminal (systemd.exec(5), $JOURNAL_STREAM)."""
    try:
        file = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{file.st_dev}:{file.st_ino}"


class _Journald(logging.Formatter):
    """journald reads `<n>` at the start of a line as the priority (sd-daemon(3)) and adds time and unit itself."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_SYSLOG_PRIORITY.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


class _Json(logging.Formatter):
    """One object a line: ts, level, logger, message, whatever the call passed as `extra`, and the traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage().encode(errors="backslashreplace").decode(),  # a file name may be any bytes
        }
        line.update((key, value) for key, value in vars(record).items() if key not in _STANDARD)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()
