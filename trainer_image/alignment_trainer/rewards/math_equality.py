"""Compares mathematical expressions; runs as the source of a sandbox, where it may be killed at any time."""

from __future__ import annotations

import logging
import re
import signal
from types import FrameType

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify
from math_verify.errors import TimeoutException

logging.disable(logging.WARNING)  # of expressions that are passed over, which are many and no news

_CPU_SECONDS = 2.0
"""For one expression. Of the processor, unlike math-verify's own limit: on a busy machine answers stay right."""

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
    signal.signal(signal.SIGPROF, _give_up)
    signal.setitimer(signal.ITIMER_PROF, _CPU_SECONDS, _CPU_SECONDS)
    try:
        return [_equal(answer, response)]
    except TimeoutException:
        return [False]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _equal(answer: str, response: str) -> bool | None:
    wanted = parse(_marked(answer), parsing_timeout=None)
    if not wanted:
        return None
    extraction = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    given = parse(_final(response), extraction, parsing_timeout=None)
    return bool(verify(wanted, given, timeout_seconds=None))


def _give_up(number: int, frame: FrameType | None) -> None:
    """What math-verify takes for its own limit: the expression is passed over."""
    raise TimeoutException


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
