"""JSON Lines, and lists of JSON objects."""

from __future__ import annotations

import io
import json
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Any, Final

from .row import LONGEST, FileRow, json_row

_CHUNK: Final = 1 << 18
_DECODER: Final = json.JSONDecoder()


def json_lines(file: io.BufferedReader[Any]) -> Iterator[FileRow]:
    """One JSON object a line; blank lines are none."""
    if file.peek(1).startswith(BOM_UTF8):
        file.read(len(BOM_UTF8))
    yield from _lines(file, 1)


def json_list_or_lines(file: io.BufferedReader[Any]) -> Iterator[FileRow]:
    """A list of objects; hubs and tools also write JSON Lines under this suffix.

    Raises:
        ValueError: a list breaks off or is no JSON from some row on; the rows before it have been yielded.
    """
    if file.peek(1).startswith(BOM_UTF8):
        file.read(len(BOM_UTF8))
    number = 1
    while (char := file.peek(1)[:1]) and char.isspace():
        number += file.read(1) == b"\n"
    if char == b"[":
        yield from _list(_Scanner(io.TextIOWrapper(file, encoding="utf-8")))
    else:
        yield from _lines(file, number)


def _lines(file: io.BufferedReader[Any], number: int) -> Iterator[FileRow]:
    while line := file.readline(LONGEST):
        where = f"line {number}"
        number += 1
        if len(line) == LONGEST and not line.endswith(b"\n"):
            while (rest := file.readline(LONGEST)) and not rest.endswith(b"\n"):
                pass
            yield FileRow(where, None, f"is longer than {LONGEST >> 20} MiB")
        elif not line.isspace():
            yield _line(where, line)


def _line(where: str, line: bytes) -> FileRow:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return FileRow(where, None, f"is not UTF-8: {error.reason} at byte {error.start + 1}")
    except (ValueError, RecursionError) as error:
        return FileRow(where, None, f"is not JSON: {error}")
    return _row(where, value, b"\\u" in line)


def _row(where: str, value: Any, escaped: bool) -> FileRow:
    """The row; only an escape can be half of a character, so most rows need not be looked into."""
    return json_row(where, value) if escaped or not isinstance(value, dict) else FileRow(where, value)


def _list(scanner: _Scanner) -> Iterator[FileRow]:
    scanner.take()
    number = 0
    while not (number == 0 and scanner.peek() == "]"):
        number += 1
        try:
            value, escaped = scanner.value()
        except RecursionError:
            raise ValueError(f"row {number} nests too deep") from None
        except ValueError as error:
            raise ValueError(f"row {number} is not JSON: {getattr(error, 'msg', error)}") from error
        yield _row(f"row {number}", value, escaped)
        if scanner.peek() != ",":
            break
        scanner.take()
    if scanner.take() != "]":
        raise ValueError(f"the list breaks off after row {number}")
    if scanner.peek():
        raise ValueError("there is more text after the list")


class _Scanner:
    """The values of a JSON list one after the other; the standard library parses only whole texts.

    Args:
        text: the JSON text.
    """

    def __init__(self, text: io.TextIOBase) -> None:
        self._text = text
        self._buffer = ""
        self._position = 0

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            while self._position < len(self._buffer):
                if not self._buffer[self._position].isspace():
                    return self._buffer[self._position]
                self._position += 1
            if not self._fill():
                return ""

    def take(self) -> str:
        """The next character that is no space, which is then over."""
        char = self.peek()
        self._position += 1
        return char

    def value(self) -> tuple[Any, bool]:
        """The next value, and whether its text has escapes.

        Raises:
            ValueError: what follows is none, or one longer than ``LONGEST``.
            RecursionError: it nests too deep.
        """
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._buffer, self._position)
            except ValueError:
                # Perhaps the rest of the value has not been read yet.
                if len(self._buffer) - self._position > LONGEST or not self._fill():
                    raise
                continue
            if end < len(self._buffer) or not self._fill():  # a number at the end may have more digits
                escaped = self._buffer.find("\\u", self._position, end) >= 0
                self._position = end
                return value, escaped

    def _fill(self) -> bool:
        rest = self._buffer[self._position :]
        more = self._text.read(max(_CHUNK, len(rest)))
        self._buffer, self._position = rest + more, 0
        return bool(more)
