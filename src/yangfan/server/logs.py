"""Where the server's log goes: JSON lines in the home folder, bounded in size, with secrets masked."""

from __future__ import annotations

import logging
import re
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

MAX_LOG_BYTES = 16 * 1024 * 1024
KEPT_FILES = 4

_SECRET = re.compile(
    r"bce-v3/ALTAK-[0-9A-Za-z]+/[0-9a-f]+|bce-auth-v1/\S+|\b2[45]\.[0-9a-f]{32,}\.[0-9.\-]+"
    r"|(?<=access_token=)[^&\s\"']+|(?<=client_secret=)[^&\s\"']+"
)


def configure(path: Path, level: str) -> None:
    """Send every log record of this process to `path`. A log that cannot be written never stops the server."""
    handler = RotatingFileHandler(
        path, maxBytes=MAX_LOG_BYTES, backupCount=KEPT_FILES, encoding="utf-8"
    )
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask_secrets,
    ]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.raiseExceptions = False
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def mask_secrets(
    _logger: object, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace whatever looks like one of our secrets in any text of a record."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = _SECRET.sub("***", value)
    return event
