"""Starts the operator: ``python -m alignment_operator``."""

from __future__ import annotations

import asyncio
import os
import sys

from .exceptions import OperatorError, SettingsError
from .logs import configure_logging
from .main import run_until_stopped
from .settings import settings_from


def main() -> int:
    """Run until told to stop; returns the exit code: 0 after SIGTERM, 78 (EX_CONFIG) for wrong settings, else 1."""
    try:
        settings = settings_from(os.environ)
        configure_logging(settings.log_level, settings.log_format)
        asyncio.run(run_until_stopped(settings))
    except OperatorError as error:
        print(f"alignment-operator: {error}", file=sys.stderr)
        return 78 if isinstance(error, SettingsError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
