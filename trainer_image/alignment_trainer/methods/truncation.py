"""Which end of an over-long row is kept, in TRL's words."""

from __future__ import annotations

from typing import Final

from alignment_api.v1alpha1.methods.common import Truncation

TRUNCATION_MODES: Final = {Truncation.KEEP_START: "keep_start", Truncation.KEEP_END: "keep_end"}
