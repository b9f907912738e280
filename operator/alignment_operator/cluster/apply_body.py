"""The body of a server-side apply. Pure.

The API server reads it as YAML, and not all JSON is YAML: characters beyond the basic plane, such as emoji in what a
trainer printed, are two escapes in JSON, which YAML refuses, and DEL stands as it is. A status that is refused for that
would be refused for ever.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

_ESCAPE: Final = re.compile(
    r"""
    \\\\                                              # a backslash in the text; what follows it is no escape
    | \\u(?P<high>d[89ab][0-9a-f]{2}) \\u(?P<low>d[c-f][0-9a-f]{2})
    | \\ud[89a-f][0-9a-f]{2}                          # half a character: text that was cut off
    | \x7f
    """,
    re.VERBOSE,
)
_REPLACEMENT: Final = r"\ufffd"


def apply_body(manifest: dict[str, Any]) -> str:
    """``manifest`` as text that is YAML."""
    return _ESCAPE.sub(_as_yaml, json.dumps(manifest))


def _as_yaml(found: re.Match[str]) -> str:
    text = found.group()
    if text == r"\\":
        return text
    if text == "\x7f":
        return r"\u007f"
    if found["high"] is None:
        return _REPLACEMENT
    pair = int(found["high"], 16), int(found["low"], 16)
    return f"\\U{0x10000 + ((pair[0] - 0xD800) << 10) + (pair[1] - 0xDC00):08x}"
