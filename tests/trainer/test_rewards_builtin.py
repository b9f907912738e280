"""Rewards that ship with the trainer, through the signature that TRL calls them by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment_api.v1alpha1.methods.rewards import LengthReward
from alignment_trainer import rewards
from alignment_trainer.exceptions import ConfigurationError, FunctionError
from alignment_trainer.rewards import math_answer
from alignment_trainer.rewards.form import has_tags
from alignment_trainer.rewards.length import penalty
from alignment_trainer.rewards.repetition import repeated_share

from . import tiny
from .reward_terms import call, online_stage, reward, score

PYTHAGORAS = {"schema": {"type": "object", "required": ["c"], "properties": {"c": {"type": "integer", "minimum": 1}}}}


@pytest.mark.parametrize(
    ("pattern", "text", "wanted"),
    [
        ("<a>.*</a>", "<a>one\ntwo</a>", 1),
        ("<a>.*</a>", "well, <a>x</a>", 0),
        ("<a>.*</a>", "<a>x</a> indeed", 0),
        (r"(?i)yes|no", "NO", 1),
        (r"\d+", "", 0),
    ],
)
def test_a_pattern_matches_the_whole_response(pattern: str, text: str, wanted: float) -> None:
    assert score({"format": {"pattern": pattern}}, [text]) == [wanted]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<think>so</think><answer>7</answer>", True),
        ("\n<think>\n</think>\n\n<answer>7</answer>\n", True),
        ("<answer>7</answer><think>so</think>", False),
        ("<think>so<answer>7</answer></think>", False),
        ("<think>so</think><answer>7</answer><answer>8</answer>", False),
        ("<think>so</think> hence <answer>7</answer>", False),
        ("<think>so</think><answer>7</answer> voila", False),
        ("</think>so<think><answer>7</answer>", False),
        ("<think>so</think><answer>7", False),
        ("", False),
    ],
)
def test_elements_come_once_in_order_and_alone(text: str, wanted: bool) -> None:
    assert has_tags(text, ["think", "answer"]) is wanted
    assert score({"format": {"xmlTags": ["think", "answer"]}}, [text]) == [wanted]


def test_endless_backtracking_counts_as_no_match() -> None:
    assert score({"format": {"pattern": "(a|a)*b"}}, ["a" * 60 + "cb", "aab"]) == [0, 1]
    extract = {"exactAnswer": {"extract": "((?:a|aa)+b)"}}
    assert score(extract, ["a" * 60 + "c", "aab"], answer=["aab", "aab"]) == [0, 1]


def test_endless_backtracking_on_every_row_ends_with_the_batch() -> None:
    with pytest.raises(FunctionError, match="longer than timeoutSeconds 1: simplify the pattern") as caught:
        score({"timeoutSeconds": 1, "format": {"pattern": "(a|a)*b"}}, ["a" * 60 + "cb"] * 4)
    assert caught.value.problems[0].field == "spec.stages[0].grpo.rewards[0].format"


@pytest.mark.parametrize(
    ("settings_", "text", "answer", "wanted"),
    [
        ({}, "Blue ", "blue", 1),
        ({}, "it is blue", "blue", 0),
        ({}, "72", 72, 1),
        ({}, "true", True, 1),
        ({}, "blue", None, None),
        (
            {"extract": "<answer>(.*?)</answer>"},
            "<answer>red</answer> no: <answer> light\n blue</answer>",
            "Light blue",
            1,
        ),
        ({"extract": r"\d+"}, "first 3, then 4", "4", 1),
        ({"extract": r"\d+"}, "none", "4", 0),
        ({"extract": "(a)|b"}, "b", "b", 0),
    ],
)
def test_exact_answers(settings_: dict[str, Any], text: str, answer: Any, wanted: float | None) -> None:
    assert score({"exactAnswer": settings_}, [text], answer=[answer]) == [wanted]


@pytest.mark.parametrize("kind", ["exactAnswer", "mathAnswer"])
def test_a_missing_column_is_named_with_those_there_are(kind: str) -> None:
    with pytest.raises(FunctionError) as caught:
        score({kind: {"column": "solution"}}, ["72"], answer=["72"], difficulty=[1])
    assert "reward 'it' needs a column 'solution', which the dataset lacks; its columns: answer, difficulty" in str(
        caught.value
    )


def test_an_answer_of_another_kind_is_named_with_its_row() -> None:
    with pytest.raises(FunctionError, match=r"column 'answer': .*neither text nor a number.* row 2: prompt 'What is"):
        score({"exactAnswer": {}}, ["72", "72"], answer=["72", ["72"]])


MATHS = [
    ("72", "The answer is 72.", 1),
    ("72", "36 + 36 = 72, not 71", 0),
    ("7", "First 3, then 4; so 7", 1),
    ("7", "I take 7, and then 3", 0),
    ("1/2", r"so $\frac{2}{4}$", 1),
    ("0.5", "1/2", 1),
    (r"2\sqrt{3}", r"thus \boxed{\sqrt{12}}", 1),
    (r"2\sqrt{3}", "2", 0),
    ("x^2+1", "$1+x^2$", 1),
    ("x^2+1", "3", 0),
    ("sin(x)", r"$\sin(x)$", 1),
    (r"\{1,2\}", r"$\{2,1\}$", 1),
    ("5", r"\boxed{5} or maybe 6", 1),
    ("She had 24 + 48 = 72. #### 72", "<answer>72</answer>", 1),
    ("72", "<think>36+36=72</think><answer>71</answer>", 0),
    ("72", "", 0),
    ("", "3", None),
    ("a blue whale", "a blue whale", None),
    (None, "3", None),
    ("2", "$9^{9^{9^{9}}}$", 0),  # takes for ever
]


def test_mathematical_answers() -> None:
    answers, texts, wanted = map(list, zip(*MATHS, strict=True))
    assert score({"mathAnswer": {}, "timeoutSeconds": 600}, texts, answer=answers) == wanted


def test_a_text_that_ends_the_comparison_counts_as_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    comparison = tmp_path / "comparison.py"
    comparison.write_text(
        "import os, signal\n"
        "def equal(answer, response):\n"
        "    return [True] if response == 'well' else os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    monkeypatch.setattr(math_answer, "_COMPARISON", comparison)
    assert score({"mathAnswer": {}}, ["well", "(" * 9, "well"], answer=["1"] * 3) == [1, 0, 1]


def test_mathematics_is_compared_in_a_thread_too() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(score, {"mathAnswer": {}}, ["4/2"], answer=["2"]).result() == [1]


@pytest.mark.parametrize(
    ("tokens", "wanted"), [(0, -1), (5, -0.5), (9, -0.1), (10, 0), (20, 0), (25, -0.5), (30, -1), (99, -1)]
)
def test_the_penalty_on_length(tokens: int, wanted: float) -> None:
    assert penalty(tokens, LengthReward(min_tokens=10, max_tokens=20, slack=10)) == pytest.approx(wanted)


def test_length_counts_tokens_without_the_one_that_ends(tmp_path: Path) -> None:
    tokenizer = tiny.save_tokenizer(tmp_path)
    text = "a kind red river"
    ids = tokenizer(text)["input_ids"]
    term = {"length": {"maxTokens": 1, "slack": 100}}
    with reward(term, tokenizer=tokenizer) as function:
        wanted = -(len(ids) - 1) / 100
        assert call(function, [text]) == [pytest.approx(wanted)]
        both = [ids, [*ids, tokenizer.eos_token_id]]
        assert call(function, [text, text], completion_ids=both) == [pytest.approx(wanted)] * 2
        assert call(function, [""], completion_ids=[[]]) == [0]


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 4))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_repetition_is_what_counting_finds(words: list[str], ngram: int) -> None:
    grams = [" ".join(words[i : i + ngram]) for i in range(len(words) - ngram + 1)]
    repeated = sum(gram in grams[:i] for i, gram in enumerate(grams))
    assert repeated_share(" ".join(words), ngram) == pytest.approx(repeated / len(grams) if grams else 0)


def test_repetition_is_a_penalty() -> None:
    assert score({"repetition": {"ngram": 1}}, ["a b c", "a a a a", ""]) == [0, -0.75, 0]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"c": 5}', 1),
        ('{"c": 0}', 0),
        ('{"a": 5}', 0),
        ("c: 5", 0),
        ("", 0),
        ('```json\n{"c": 5}\n```', 1),
        ('Here it is:\n```json\n{"c": 5}\n```', 0),
        ('{"c": NaN}', 0),
        ("[" * 100_000, 0),
    ],
)
def test_json_by_its_schema(text: str, wanted: float) -> None:
    assert score({"jsonSchema": PYTHAGORAS}, [text]) == [wanted]


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ({"format": {"pattern": "(open"}}, "is no regular expression: missing )"),
        ({"jsonSchema": {"schema": {"type": "objekt"}}}, "$.type is no JSON Schema: 'objekt' is not valid"),
        (
            {"jsonSchema": {"schema": {"$ref": "https://example.com/other.json"}}},
            "other.json', which is not in it",
        ),
        ({"http": {"url": "http://host:port"}}, "is no address"),
        ({"http": {"url": "http://x", "tokenSecretRef": {"name": "s"}}}, "no environment variable"),
        ({"python": {"configMap": "none"}}, "ConfigMap none has no key 'reward.py'; its keys: none"),
    ],
)
def test_terms_that_cannot_be_built(term: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        score(term, [])
    (problem,) = caught.value.problems
    assert message in problem.message
    assert problem.field.startswith("spec.stages[0].grpo.rewards[0].")


def test_functions_and_weights_are_in_the_order_of_the_manifest() -> None:
    stage = online_stage(
        [{"name": "short", "length": {"maxTokens": 9}, "weight": 0.5}, {"name": "b", "repetition": {}}]
    )
    functions = rewards.functions(stage, {}, None, "cpu")
    assert [function.__name__ for function in functions] == ["short", "b"]
    assert functions[0].field == "spec.stages[online].grpo.rewards[0].length"
    assert rewards.weights(stage) == [0.5, 1.0]
