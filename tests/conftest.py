"""The tests run this checkout, in the processes they start too, whatever else is installed."""

from __future__ import annotations

import os

from tests.cluster.layout import CHECKOUT

_FOLDERS = ("crds", "operator", "trainer_image", ".")
os.environ["PYTHONPATH"] = os.pathsep.join(str(CHECKOUT / folder) for folder in _FOLDERS)
