"""What is wrong with rows: values of another type, rows that teach nothing, pairs that hardly differ."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment_api.v1alpha1 import DatasetFormat
from alignment_trainer.data.formats import FORMATS
from alignment_trainer.data.rows import Conversation, Labelled, Pair, Prompt, Role, Row, RowError, message
from alignment_trainer.data.similarity import near_identical, normalized
from alignment_trainer.data.validate import check

from .test_data_formats import ANSWER, PAIR, WORSE, turns


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize(
    ("name", "row", "column", "problem"),
    [
        (DatasetFormat.ALPACA, {"instruction": "do"}, "output", "missing"),
        (DatasetFormat.ALPACA, {"instruction": 7, "output": "x"}, "instruction", "must be text, not a number"),
        (DatasetFormat.MESSAGES, {"messages": "hello"}, "messages", "must be a list of messages, not text"),
        (DatasetFormat.MESSAGES, {"messages": [{"role": "bot", "content": "x"}]}, "messages[0]", "role is 'bot'"),
        (DatasetFormat.MESSAGES, {"messages": [{"role": "user"}]}, "messages[0]", "content must be text, not null"),
        (DatasetFormat.MESSAGES, {"messages": [["user", "x"]]}, "messages[0]", "must be a message"),
        (DatasetFormat.SHARE_GPT, {"conversations": [{"from": "dog", "value": "x"}]}, "conversations[0]", "from is"),
        (DatasetFormat.PREFERENCE, {"prompt": "a", "chosen": "b"}, "rejected", "missing"),
        (DatasetFormat.PREFERENCE, {"prompt": "a", "chosen": "b", "rejected": None}, "rejected", "missing"),
        (
            DatasetFormat.PREFERENCE,
            {"chosen": list(turns("a", "good")), "rejected": list(turns("z", "bad"))},
            "rejected",
            "another prompt",
        ),
        (
            DatasetFormat.PREFERENCE,
            {"prompt": "q", "chosen": list(turns("a", "good")), "rejected": list(turns("a", "bad"))},
            "prompt",
            "differs",
        ),
        (DatasetFormat.HH_RLHF, {"chosen": "hello", "rejected": "hi"}, "chosen", "no transcript"),
        (
            DatasetFormat.HH_RLHF,
            {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: z\n\nAssistant: c"},
            "rejected",
            "another prompt",
        ),
        (
            DatasetFormat.HH_RLHF,
            {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a"},
            "rejected",
            "must end with an Assistant turn",
        ),
        (DatasetFormat.PROMPTS, {"prompt": 3.5}, "prompt", "must be a list of messages, not a number"),
        (DatasetFormat.PROMPTS, {"prompt": "a", "image": b"png"}, "image", "holds bytes, which is no JSON value"),
        (DatasetFormat.PROMPTS, {"prompt": "a", "answer": 1 << 64}, "answer", "more than 64 bits"),
        (DatasetFormat.PROMPTS, {"prompt": "a", "tree": nested(40)}, "tree", "nests deeper than 32 levels"),
        (DatasetFormat.MESSAGES, {"messages": [{"role": nested(40), "content": "x"}]}, "messages[0]", "is a list"),
        (DatasetFormat.PREFERENCE, {**PAIR, "margin": "large"}, "margin", "is 'large'; it must be a number"),
        (DatasetFormat.PREFERENCE, {**PAIR, "margin": True}, "margin", "must be a number, not a boolean"),
        (DatasetFormat.PREFERENCE, {**PAIR, "margin": 10**400}, "margin", "it must be a number"),
        (
            DatasetFormat.PREFERENCE,
            {**PAIR, "score_chosen": 3, "score_rejected": [2]},
            "score_rejected",
            "must be a number, not a list",
        ),
        (DatasetFormat.GOOD_BAD, {"good": "x", "bad": "y"}, "prompt", "missing"),
        (DatasetFormat.GOOD_BAD, {"prompt": "a", "good": [], "bad": ["y"]}, "good", "is an empty list"),
        (DatasetFormat.GOOD_BAD, {"prompt": "a", "good": ["x"], "bad": 7}, "bad", "text or a list of texts, not a n"),
        (DatasetFormat.GOOD_BAD, {"prompt": "a", "good": ["x", None], "bad": "y"}, "good[1]", "must be text, not null"),
        (
            DatasetFormat.GOOD_BAD,
            {"prompt": "a", "good": ["x"] * 33, "bad": ["y"] * 32},
            "good",
            "33 good and 32 bad responses make more than 1024 pairs",
        ),
        *(
            (DatasetFormat.UNPAIRED_PREFERENCE, {"prompt": "a", "completion": "b", "label": label}, "label", problem)
            for label, problem in (
                (None, "missing"),
                ("good", "is 'good'; it must be true (good) or false (bad), or 1 or 0"),
                (2, "is 2; it must be"),
                (-1, "is -1; it must be"),
                (float("nan"), "is nan; it must be"),
                ([True], "is a list; it must be"),
            )
        ),
    ],
)
def test_wrong_types_and_columns_are_named(name: DatasetFormat, row: dict[str, Any], column: str, problem: str) -> None:
    with pytest.raises(RowError) as caught:
        FORMATS[name].convert(row)
    assert caught.value.column == column
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    ("row", "column", "problem"),
    [
        (Pair(turns("a"), (message(Role.ASSISTANT, " \n"),), WORSE), "chosen", "is empty"),
        (Pair(turns("a"), ANSWER, (message(Role.ASSISTANT, ""),)), "rejected", "is empty"),
        (Pair(turns("a"), ANSWER, ANSWER), "rejected", "identical to chosen"),
        (Pair((), ANSWER, WORSE), "prompt", "is empty"),
        (Pair(turns("  "), ANSWER, WORSE), "prompt", "message 1 (user) is empty"),
        (Pair(turns("a", "b"), ANSWER, WORSE), "prompt", "ends with the assistant"),
        (Pair(turns("a"), turns("x"), WORSE), "chosen", "must be one assistant message"),
        (Conversation(turns("a")), "messages", "no assistant message"),
        (Conversation(()), "messages", "no assistant message"),
        (Conversation(turns("a", "b", "c")), "messages", "ends with the user"),
        (Conversation(turns("a", "")), "messages", "message 2 (assistant) is empty"),
        (Conversation(turns("a") + turns("b", "c")), "messages", "message 2 is the user's"),
        (Conversation(ANSWER), "messages", "message 1 is the assistant's"),
        (Conversation((*turns("a"), message(Role.SYSTEM, "s"), *ANSWER)), "messages", "message 2 is the system's"),
        (Prompt(()), "prompt", "is empty"),
        (Prompt((message(Role.SYSTEM, "s"),)), "prompt", "ends with the system"),
        (Labelled((), ANSWER, True), "prompt", "is empty"),
        (Labelled(turns("a"), (message(Role.ASSISTANT, " "),), False), "completion", "is empty"),
        (Labelled(turns("a"), (), False), "completion", "must be one assistant message"),
        (Labelled(turns("a"), turns("b"), True), "completion", "must be one assistant message"),
        (Pair(turns("a"), ANSWER, WORSE, float("nan")), "margin", "is nan: it must be a finite number"),
        (Pair(turns("a"), ANSWER, WORSE, float("inf")), "margin", "is inf: it must be a finite number"),
        (Pair(turns("a"), ANSWER, WORSE, -0.5), "margin", "is -0.5: below 0"),
    ],
)
def test_rows_that_teach_nothing_are_named(row: Row, column: str, problem: str) -> None:
    assert any(error.column == column and problem in error.problem for error in check(row)), check(row)


@pytest.mark.parametrize(
    ("chosen", "rejected", "same"),
    [
        ("Hello,  World!", "hello world", True),
        ("It's 5.", "its 5", True),
        ("a\u200bb\n", "AB", True),
        ("\uff21\uff22\uff23 Stra\u00dfe", "abc STRASSE", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("\u0414\u0430.", "\u0434\u0430", True),
        ("x" * 100 + "!", "X" * 100, True),
        ("x" * 100 + "y", "x" * 100 + "z", False),
        ("x" * 63 + "-1", "x" * 63 + "1", False),
        ("-1", "1", False),
        ("It is 1.5", "It is 15", False),
        ("3:30", "330", False),
        ("yes", "no", False),
        ("\U0001f44d", "\U0001f44e", False),
        ("caf\u00e9", "cafe", False),
        ("...", "!", True),
    ],
)
def test_near_identical_pairs(chosen: str, rejected: str, same: bool) -> None:
    pair = Pair(turns("a"), (message(Role.ASSISTANT, chosen),), (message(Role.ASSISTANT, rejected),))
    assert near_identical(pair) is same
    assert near_identical(Pair(pair.prompt, pair.rejected, pair.chosen)) is same


TEXTS = st.text(st.sampled_from("aAb1 .,-!\u00df\u0301\u00e9\uff21\n"), max_size=80)


@given(first=TEXTS, second=TEXTS)
def test_the_quick_look_at_pairs_agrees_with_the_full_one(first: str, second: str) -> None:
    for head in ("", "word " * 12, "word" * 15):
        texts = head + first, head + second
        chosen, rejected = ((message(Role.ASSISTANT, text),) for text in texts)
        pair = Pair((), chosen, rejected)
        assert near_identical(pair) is (normalized(texts[0]) == normalized(texts[1]))
