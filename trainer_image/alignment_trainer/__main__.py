"""``python -m alignment_trainer``."""

import os
import signal
import sys

# PID 1 does not hear a SIGTERM that it has no handler for, and the imports below take seconds: a Pod that was told to
# stop meanwhile would hold its node until the end of the grace period.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(os.EX_TEMPFAIL))

from .cli import main  # noqa: E402

sys.exit(main())
