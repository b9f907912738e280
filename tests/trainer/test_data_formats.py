"""Every format: what it becomes, how it is recognised, what it refuses; and what no input may do to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment_api.v1alpha1 import DatasetFormat
from alignment_trainer.data.formats import FORMATS, detect
from alignment_trainer.data.rows import Conversation, Pair, Prompt, Role, Row, RowError, message
from alignment_trainer.data.validate import check


def turns(*texts: str, system: str | None = None) -> tuple[Any, ...]:
    """Messages of user and assistant in turn."""
    dialogue = tuple(message((Role.USER, Role.ASSISTANT)[i % 2], text) for i, text in enumerate(texts))
    return (message(Role.SYSTEM, system), *dialogue) if system else dialogue


ANSWER = (message(Role.ASSISTANT, "good"),)
WORSE = (message(Role.ASSISTANT, "bad"),)

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
    (DatasetFormat.PROMPTS, {"prompt": "a", "answer": "42"}, Prompt(turns("a"), {"answer": "42"})),
]


@pytest.mark.parametrize(("name", "row", "expected"), CASES)
def test_rows_are_recognised_and_converted(name: DatasetFormat, row: dict[str, Any], expected: Row) -> None:
    assert detect(row) is name
    assert FORMATS[name].convert(row) == (expected,)
    assert check(expected) == []


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
    ],
)
def test_rows_that_teach_nothing_are_named(row: Row, column: str, problem: str) -> None:
    assert any(error.column == column and problem in error.problem for error in check(row)), check(row)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "from", "value"]), inner)
    ),
    max_leaves=6,
)
COLUMNS = st.sampled_from(
    ["prompt", "completion", "chosen", "rejected", "messages", "conversations", "instruction", "input", "output", "x"]
)


@given(row=st.dictionaries(COLUMNS, JSON, max_size=5), name=st.sampled_from(list(FORMATS)))
def test_any_row_is_converted_or_refused(row: dict[str, Any], name: DatasetFormat) -> None:
    detect(row)
    try:
        converted = FORMATS[name].convert(row)
    except RowError:
        return  # any other exception fails the test
    assert converted
    for standard in converted:
        check(standard)


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
