"""Compares mathematical expressions; runs as the source of a sandbox, where it may be killed at any time."""

from __future__ import annotations

import logging
import re

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

logging.disable(logging.WARNING)  # of expressions that take too long, which are many and no news

_SECONDS = 2
_FUNCTIONS = "sin|cos|tan|cot|sec|csc|log|exp|max|min|gcd"
_DELIMITED = re.compile(r"\$|\\\(|\\\[|\\boxed")
_WORD = re.compile(rf"(?<![\\A-Za-z])(?!(?:{_FUNCTIONS})\b)[A-Za-z]{{3,}}")
_BARE_FUNCTION = re.compile(rf"(?<![\\A-Za-z])({_FUNCTIONS})\b")
_TAG = re.compile(r"</?[A-Za-z][-\w]*>")
_ANSWER = re.compile(r".*<answer>(.*)</answer>", re.DOTALL)
_SOLUTION = re.compile(r".*####(.*)", re.DOTALL)
"""GSM8K ends its solutions so."""


def equal(answer: str, response: str) -> list[bool | None]:
    """Whether the final expression in ``response`` equals ``answer``.

    What an ``<answer>`` element holds counts alone, and a boxed expression before others.

    Returns:
        One entry: None if ``answer`` holds no mathematics.
    """
    wanted = parse(_marked(answer), parsing_timeout=_SECONDS)
    if not wanted:
        return [None]
    extraction = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    given = parse(_final(response), extraction, parsing_timeout=_SECONDS)
    return [verify(wanted, given, timeout_seconds=_SECONDS)]


def _marked(answer: str) -> str:
    """The answer as math-verify finds it: a bare expression between dollars, and prose, which has words, as it is."""
    solution = _SOLUTION.fullmatch(answer)
    text = (solution[1] if solution else answer).strip()
    if _DELIMITED.search(text) or _WORD.search(text):
        return text
    return "$" + _BARE_FUNCTION.sub(r"\\\1", text) + "$"


def _final(response: str) -> str:
    """The part of the response that has the answer; math-verify wants spaces where tags are."""
    element = _ANSWER.match(response)
    return _TAG.sub(" ", element[1] if element else response)
