"""Gzipped texts that come from Pods and may hold anything, also terabytes of zeros."""

from __future__ import annotations

import zlib
from typing import Final

from ..exceptions import ReportError

MAX_PLAIN_BYTES: Final = 32 * 1024 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS


def plain(content: bytes) -> bytes:
    """What is compressed in ``content``.

    Raises:
        ReportError: it is not one whole gzip stream, or expands to more than MAX_PLAIN_BYTES.
    """
    stream = zlib.decompressobj(_GZIP)
    try:
        text = stream.decompress(content, MAX_PLAIN_BYTES)
    except zlib.error as error:
        raise ReportError(f"it is not gzipped: {error}") from error
    if not stream.eof:
        raise ReportError(f"it is cut off, or longer than {MAX_PLAIN_BYTES} bytes")
    if stream.unused_data:
        raise ReportError("something follows its end")
    return text
