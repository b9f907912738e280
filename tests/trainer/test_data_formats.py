"""Every format: what it becomes, how it is recognised."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment_api.v1alpha1 import DatasetFormat, Method
from alignment_api.v1alpha1.validation.data import FORMATS_OF_METHOD
from alignment_trainer.data.formats import FORMATS, detect
from alignment_trainer.data.rows import Conversation, Labelled, Pair, Prompt, Role, Row, labelled, message
from alignment_trainer.data.validate import check


def turns(*texts: str, system: str | None = None) -> tuple[Any, ...]:
    """Messages of user and assistant in turn."""
    dialogue = tuple(message((Role.USER, Role.ASSISTANT)[i % 2], text) for i, text in enumerate(texts))
    return (message(Role.SYSTEM, system), *dialogue) if system else dialogue


ANSWER = (message(Role.ASSISTANT, "good"),)
WORSE = (message(Role.ASSISTANT, "bad"),)

PAIR = {"prompt": "a", "chosen": "good", "rejected": "bad"}


CASES: list[tuple[DatasetFormat, dict[str, Any], Row]] = [
    (DatasetFormat.ALPACA, {"instruction": "do", "input": "", "output": "done"}, Conversation(turns("do", "done"))),
    (DatasetFormat.ALPACA, {"instruction": "do", "output": "done"}, Conversation(turns("do", "done"))),
    (
        DatasetFormat.ALPACA,
        {"instruction": "do", "input": "this", "output": "done", "system": "be brief"},
        Conversation(turns("do\n\nthis", "done", system="be brief")),
    ),
    (DatasetFormat.MESSAGES, {"messages": list(turns("a", "b", "c", "d"))}, Conversation(turns("a", "b", "c", "d"))),
    (
        DatasetFormat.SHARE_GPT,
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        Conversation(turns("a", "b")),
    ),
    (DatasetFormat.PROMPT_COMPLETION, {"prompt": "a", "completion": "b"}, Conversation(turns("a", "b"))),
    (
        DatasetFormat.PREFERENCE,
        {"prompt": "a", "chosen": "good", "rejected": "bad"},
        Pair(turns("a"), ANSWER, WORSE),
    ),
    (
        DatasetFormat.PREFERENCE,
        {"prompt": list(turns("a", "b", "c")), "chosen": list(ANSWER), "rejected": list(WORSE)},
        Pair(turns("a", "b", "c"), ANSWER, WORSE),
    ),
    (  # as in ultrafeedback_binarized: the conversations repeat the prompt
        DatasetFormat.PREFERENCE,
        {"prompt": "a", "chosen": list(turns("a", "good")), "rejected": list(turns("a", "bad"))},
        Pair(turns("a"), ANSWER, WORSE),
    ),
    (
        DatasetFormat.PREFERENCE,
        {"chosen": list(turns("a", "good")), "rejected": list(turns("a", "bad"))},
        Pair(turns("a"), ANSWER, WORSE),
    ),
    (
        DatasetFormat.HH_RLHF,
        {
            "chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: good",
            "rejected": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: bad",
        },
        Pair(turns("a", "b", "c"), ANSWER, WORSE),
    ),
    (
        DatasetFormat.PREFERENCE,
        {"prompt": "a", "chosen": "good", "rejected": "bad", "margin": 2},
        Pair(turns("a"), ANSWER, WORSE, 2.0),
    ),
    (  # the margin counts, not the scores
        DatasetFormat.PREFERENCE,
        {"prompt": "a", "chosen": "good", "rejected": "bad", "margin": "0.5", "score_chosen": 9, "score_rejected": 1},
        Pair(turns("a"), ANSWER, WORSE, 0.5),
    ),
    (  # as in ultrafeedback_binarized
        DatasetFormat.PREFERENCE,
        {"prompt": "a", "chosen": "good", "rejected": "bad", "score_chosen": 8.5, "score_rejected": 6},
        Pair(turns("a"), ANSWER, WORSE, 2.5),
    ),
    (
        DatasetFormat.PREFERENCE,
        {"prompt": "a", "chosen": "good", "rejected": "bad", "margin": "", "score_chosen": 8, "score_rejected": None},
        Pair(turns("a"), ANSWER, WORSE),
    ),
    (DatasetFormat.GOOD_BAD, {"instruction": "a", "good": "good", "bad": ["bad"]}, Pair(turns("a"), ANSWER, WORSE)),
    (
        DatasetFormat.GOOD_BAD,
        {"prompt": list(turns("a", "b", "c")), "good": ["good"], "bad": "bad"},
        Pair(turns("a", "b", "c"), ANSWER, WORSE),
    ),
    *(
        (
            DatasetFormat.UNPAIRED_PREFERENCE,
            {"prompt": "a", "completion": "good", "label": label},
            Labelled(turns("a"), ANSWER, good),
        )
        for good, labels in ((True, (True, 1, 1.0, "true", "1")), (False, (False, 0, "False", "0")))
        for label in labels
    ),
    (DatasetFormat.PROMPTS, {"prompt": "a", "answer": "42"}, Prompt(turns("a"), {"answer": "42"})),
    (
        DatasetFormat.PROMPTS,
        {"prompt": "a", "answers": (1, None), "data": {"on": date(2026, 1, 2), "price": Decimal("1.5")}},
        Prompt(turns("a"), {"answers": [1, None], "data": {"on": "2026-01-02", "price": 1.5}}),
    ),
]


@pytest.mark.parametrize(("name", "row", "expected"), CASES)
def test_rows_are_recognised_and_converted(name: DatasetFormat, row: dict[str, Any], expected: Row) -> None:
    assert detect(row) is name
    assert FORMATS[name].convert(row) == (expected,)
    assert check(expected) == []


def test_good_and_bad_lists_make_all_pairs() -> None:
    rows = FORMATS[DatasetFormat.GOOD_BAD].convert({"prompt": "a", "good": ["g1", "g2"], "bad": ["b1", "b2", "b3"]})
    assert [(row.chosen[0]["content"], row.rejected[0]["content"]) for row in rows if isinstance(row, Pair)] == [
        (good, bad) for good in ("g1", "g2") for bad in ("b1", "b2", "b3")
    ]
    assert len(rows) == 6
    assert len(FORMATS[DatasetFormat.GOOD_BAD].convert({"prompt": "a", "good": ["x"] * 32, "bad": ["y"] * 32})) == 1024


def test_pairs_become_labelled_responses() -> None:
    assert labelled(Pair(turns("a"), ANSWER, WORSE, 2.0)) == (
        Labelled(turns("a"), ANSWER, True),
        Labelled(turns("a"), WORSE, False),
    )


@pytest.mark.parametrize(
    ("method", "row", "expected"),
    [
        (Method.DPO, PAIR, DatasetFormat.PREFERENCE),
        (Method.GRPO, PAIR, DatasetFormat.PROMPTS),
        (Method.KTO, PAIR, DatasetFormat.PREFERENCE),
        (Method.KTO, {"prompt": "a", "completion": "b", "label": True}, DatasetFormat.UNPAIRED_PREFERENCE),
        (Method.KTO, {"prompt": "a", "completion": "b", "label": "up"}, DatasetFormat.UNPAIRED_PREFERENCE),
        (Method.SFT, {"prompt": "a", "completion": "b", "label": "sports"}, DatasetFormat.PROMPT_COMPLETION),
        (Method.SFT, {"prompt": "a", "completion": "b", "label": False}, None),  # not to be imitated
        (Method.GRPO, {"prompt": "a", "completion": "b", "label": False}, DatasetFormat.PROMPTS),
        (Method.SFT, {"instruction": "a", "output": "b", "good": "c", "bad": "d"}, DatasetFormat.ALPACA),
        (Method.DPO, {"instruction": "a", "output": "b", "good": "c", "bad": "d"}, DatasetFormat.GOOD_BAD),
        (Method.SFT, PAIR, None),
        (Method.DPO, {"prompt": "a"}, None),
        (Method.SFT, {}, None),
    ],
)
def test_a_row_is_what_the_method_can_use(method: Method, row: dict[str, Any], expected: DatasetFormat | None) -> None:
    assert detect(row, FORMATS_OF_METHOD[method]) is expected


WORDS = st.text(alphabet="abc xyz.\n", min_size=1, max_size=20).map(str.strip).filter(bool)


@given(dialogue=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4), other=WORDS)
def test_transcripts_lose_no_turn(dialogue: list[tuple[str, str]], other: str) -> None:
    def transcript(last: str) -> str:
        said = [*[text for pair in dialogue for text in pair][:-1], last]
        return "".join(f"\n\n{('Human', 'Assistant')[i % 2]}: {text}" for i, text in enumerate(said))

    (row,) = FORMATS[DatasetFormat.HH_RLHF].convert(
        {"chosen": transcript(dialogue[-1][1]), "rejected": transcript(other)}
    )
    assert isinstance(row, Pair)
    assert row.prompt + row.chosen == turns(*(text for pair in dialogue for text in pair))
    assert row.rejected == (message(Role.ASSISTANT, other),)


@given(dialogue=st.lists(WORDS, min_size=2, max_size=6).filter(lambda texts: len(texts) % 2 == 0))
def test_chat_formats_agree(dialogue: list[str]) -> None:
    expected = (Conversation(turns(*dialogue)),)
    shared = [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(dialogue)]
    assert FORMATS[DatasetFormat.MESSAGES].convert({"messages": list(turns(*dialogue))}) == expected
    assert FORMATS[DatasetFormat.SHARE_GPT].convert({"conversations": shared}) == expected
    completion = {"prompt": list(turns(*dialogue[:-1])), "completion": dialogue[-1]}
    assert FORMATS[DatasetFormat.PROMPT_COMPLETION].convert(completion) == expected
