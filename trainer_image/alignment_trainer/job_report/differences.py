"""Which words of a response are not in the one it is compared with. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final, NamedTuple

_WORD: Final = re.compile(r"\s*\S+|\s+$")
_MOST_WORDS: Final = 400
"""Words of each text that are compared one by one; time grows with their square."""


class Part(NamedTuple):
    """A stretch of a text.

    Attributes:
        text: the stretch, with its white space.
        own: whether the other text lacks it.
    """

    text: str
    own: bool


def marked(before: str, after: str) -> tuple[list[Part], list[Part]]:
    """Both texts in stretches; joined, the texts of the stretches are the texts again."""
    old, new = _WORD.findall(before), _WORD.findall(after)
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    matcher = SequenceMatcher(
        None,
        [word.strip() for word in old[head : len(old) - tail][:_MOST_WORDS]],
        [word.strip() for word in new[head : len(new) - tail][:_MOST_WORDS]],
        autojunk=False,
    )
    same_old, same_new = set(range(head)), set(range(head))
    same_old |= set(range(len(old) - tail, len(old)))
    same_new |= set(range(len(new) - tail, len(new)))
    for block in matcher.get_matching_blocks():
        same_old |= set(range(head + block.a, head + block.a + block.size))
        same_new |= set(range(head + block.b, head + block.b + block.size))
    return _parts(old, same_old), _parts(new, same_new)


def split(parts: Sequence[Part], length: int) -> tuple[list[Part], list[Part]]:
    """The first ``length`` characters of a text and the rest, parted between words where there are any."""
    first: list[Part] = []
    for index, part in enumerate(parts):
        if len(part.text) > length:
            at = part.text.rfind(" ", length // 2, length) + 1 or length
            rest = [part._replace(text=part.text[at:]), *parts[index + 1 :]]
            return [*first, part._replace(text=part.text[:at])], rest
        first.append(part)
        length -= len(part.text)
    return first, []


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words both begin with."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a.strip() != b.strip():
            break
        count += 1
    return count


def _parts(words: Sequence[str], same: set[int]) -> list[Part]:
    """The stretches of a text; white space before a marked one belongs to what is not marked."""
    parts: list[Part] = []
    for index, word in enumerate(words):
        own = index not in same
        if own and not (parts and parts[-1].own):
            bare = word.lstrip()
            _append(parts, word[: len(word) - len(bare)], own=False)
            word = bare
        _append(parts, word, own=own)
    return parts


def _append(parts: list[Part], text: str, *, own: bool) -> None:
    if parts and parts[-1].own == own:
        parts[-1] = Part(parts[-1].text + text, own)
    elif text:
        parts.append(Part(text, own))
