"""Log lines: one line each, structured, with the job they are about."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from .settings import LogFormat

JOB = "job"
"""Key of ``extra`` that names the job a line is about: ``namespace/name``."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if job := getattr(record, JOB, None):
            line[JOB] = job
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """For reading at a terminal; tracebacks follow on their own lines."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s%(about)s")

    def format(self, record: logging.LogRecord) -> str:
        job = getattr(record, JOB, None)
        record.about = f" [{job}]" if job else ""
        return super().format(record)


def configure_logging(level: str, style: LogFormat) -> None:
    """Send the log of the whole process to standard error; kopf says only what is wrong."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if style is LogFormat.JSON else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("kopf", "asyncio", "aiohttp"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
