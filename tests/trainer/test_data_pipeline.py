"""From a dataset in the manifest to rows that trainers open: sources together, samples, limits, dropped rows."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from alignment_api.v1alpha1 import Stage
from alignment_trainer.data.stage import prepare_stage
from alignment_trainer.exceptions import ConfigurationError

from . import tiny
from .data_runs import PATH, DataRun, pairs


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny.save_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def run(tmp_path: Path, tokenizer: Any) -> DataRun:
    return DataRun(tmp_path, tokenizer)


def prompts(rows: Any) -> list[str]:
    return [row["prompt"][-1]["content"] for row in rows]


def numbers(rows: Any) -> list[int]:
    return [int(prompt.split()[-1]) for prompt in prompts(rows)]


def test_parts_without_weights_are_used_whole_and_mixed(run: DataRun) -> None:
    parts = [run.write(pairs(30), "a.jsonl"), run.write(pairs(10, start=100), "b.jsonl")]
    status = run.prepare({"mixture": parts})
    assert (status.rows, status.train_rows) == (40, 40)
    found = numbers(run.rows())
    assert sorted(found) == [*range(30), *range(100, 110)]
    assert max(found[:20]) >= 100, "the parts are shuffled together"
    assert [source["usedRows"] for source in run.report()["sources"]] == [30, 10]


def test_weights_take_what_they_allow_without_repeating_a_row(run: DataRun) -> None:
    parts = [run.write(pairs(30), "a.jsonl"), run.write(pairs(30, start=100), "b.jsonl")]
    weighted = [part | {"weight": weight} for part, weight in zip(parts, (3, 1), strict=True)]
    assert run.prepare({"mixture": weighted}).train_rows == 40
    assert [source["usedRows"] for source in run.report()["sources"]] == [30, 10]
    assert run.report()["notSampledRows"] == 20
    found = numbers(run.rows())
    assert len(set(found)) == 40
    assert not set(found) <= {*range(30), *range(100, 110)}, "rows of a part are drawn, not taken from its beginning"


def test_samples_are_drawn_by_the_seed_and_then_held_out(run: DataRun) -> None:
    data = run.write(pairs(50)) | {"maxSamples": 20, "evalFraction": 0.25}
    status = run.prepare(data)
    assert status.train_rows + status.eval_rows == 20
    assert status.eval_rows > 0
    drawn = numbers(run.rows()) + numbers(run.rows("eval"))
    assert len(set(drawn)) == 20
    assert max(drawn) >= 20
    again, other = DataRun(run.root, run.tokenizer, "again"), DataRun(run.root, run.tokenizer, "other")
    again.prepare(data)
    assert numbers(again.rows()) == numbers(run.rows())
    other.prepare(data | {"seed": 7})
    assert numbers(other.rows()) != numbers(run.rows())


def test_a_stream_is_read_only_as_far_as_it_must(run: DataRun) -> None:
    rows = pairs(1000)
    rows[3]["chosen"] = ""
    (run.root / "rows.jsonl").write_bytes(b"")
    data = run.write(rows) | {"stream": True, "maxSamples": 10, "quality": {"maxInvalidFraction": 0.2}}
    with (run.root / "rows.jsonl").open("ab") as file:
        file.write(b"\xff\xfe is no text\n")  # an error, were it read
    status = run.prepare(data)
    assert (status.rows, status.train_rows, status.invalid_rows) == (11, 10, 1)
    assert sorted(numbers(run.rows())) == [0, 1, 2, *range(4, 11)]


def test_a_stream_ends_too_when_it_is_only_checked(run: DataRun) -> None:
    data = run.write(pairs(10)) | {"stream": True, "maxSamples": 10}
    with (run.root / "rows.jsonl").open("ab") as file:
        file.write(b"\xff\xfe is no text\n")
    stage = Stage.model_validate({"name": "stage", "dataset": data, "dpo": {}})
    assert prepare_stage(stage, None, run.layout, PATH) is None
    assert not run.folders.data.exists()


def test_held_out_rows_of_their_own(run: DataRun) -> None:
    data = run.write(pairs(20)) | {"evalDataset": run.write(pairs(5, start=100), "eval.jsonl")}
    status = run.prepare(data)
    assert (status.rows, status.train_rows, status.eval_rows, status.leaked_rows) == (25, 20, 5, 0)
    assert sorted(numbers(run.rows("eval"))) == list(range(100, 105))


def test_leaks_are_refused_by_default_and_cured_if_asked(run: DataRun) -> None:
    leaked = [{"prompt": "QUESTION  3", "chosen": "a", "rejected": "b"}, *pairs(4, start=100)]
    data = run.write(pairs(20)) | {"evalDataset": run.write(leaked, "eval.jsonl")}
    message = run.refused(data)["dataset.quality.maxLeakedFraction"]
    assert "1 of 5 held-out rows have a prompt that is trained on too (0.2), and the limit is 0" in message
    assert "eval.jsonl line 1" in message
    assert "quality.leaked to drop" in message
    status = run.prepare(data | {"quality": {"leaked": "drop"}})
    assert (status.train_rows, status.eval_rows, status.leaked_rows, status.dropped_rows) == (19, 5, 0, 1)
    assert run.dropped() == {"rows.jsonl line 4": ["its prompt is among the rows of evalDataset"]}
    assert 3 not in numbers(run.rows())
    run = DataRun(run.root, run.tokenizer, "tolerant")
    assert run.prepare(data | {"quality": {"maxLeakedFraction": 0.2}}).leaked_rows == 1


def flawed() -> list[dict[str, Any]]:
    """20 pairs, of which 2 repeat another, 1 hardly differs in its responses and 1 is long."""
    rows = pairs(20)
    rows[7] = dict(rows[2])
    rows[9] = dict(rows[2])
    rows[11]["rejected"] = "KIND answer,  11"
    rows[13]["chosen"] = "red " * 400
    return rows


def test_flawed_rows_are_counted_and_kept(run: DataRun) -> None:
    status = run.prepare(run.write(flawed()), maxLength=256)
    assert status.train_rows == 20
    assert (status.duplicate_rows, status.near_identical_rows, status.truncated_rows) == (2, 1, 1)
    assert status.truncated_tokens is not None
    assert status.truncated_tokens > 100
    assert status.dropped_rows is None
    assert status.chosen_longer_fraction is not None
    assert status.chosen_longer_fraction >= 0.9
    assert run.dropped() == {}


def test_flawed_rows_are_dropped_and_recorded(run: DataRun) -> None:
    quality = dict.fromkeys(("duplicates", "nearIdentical", "truncated"), "drop")
    status = run.prepare(run.write(flawed()) | {"quality": quality}, maxLength=256)
    assert (status.train_rows, status.dropped_rows, status.truncated_rows, status.truncated_tokens) == (16, 4, 0, 0)
    assert run.dropped() == {
        "rows.jsonl line 8": ["repeats an earlier row"],
        "rows.jsonl line 10": ["repeats an earlier row"],
        "rows.jsonl line 12": ["chosen and rejected differ only in case, spaces and punctuation"],
        "rows.jsonl line 14": ["is longer than maxLength"],
    }
    assert {7, 9, 11, 13}.isdisjoint(numbers(run.rows()))


@pytest.mark.parametrize(
    ("limit", "message", "where"),
    [
        ("maxDuplicateFraction", "2 of 20 rows repeat an earlier one (0.1), and the limit is 0.04", "line 8, rows"),
        ("maxTruncatedFraction", "1 of 20 rows are longer than maxLength 256 (0.05)", "rows.jsonl line 14"),
        ("maxChosenLongerFraction", "of 20 pairs have a chosen response longer", "rows.jsonl line 1"),
    ],
)
def test_limits_refuse_with_number_and_rows(run: DataRun, limit: str, message: str, where: str) -> None:
    data = run.write(flawed()) | {"quality": {limit: 0.04}}
    (found,) = run.refused(data, maxLength=256).items()
    assert found[0] == f"dataset.quality.{limit}"
    assert message in found[1]
    assert where in found[1]
    assert 'class="n bad"' in (run.folders.report / "data.html").read_text(), "the page shows why"


def test_several_limits_are_refused_at_once(run: DataRun) -> None:
    data = run.write(flawed()) | {"quality": {"maxDuplicateFraction": 0, "maxTruncatedFraction": 0}}
    assert len(run.refused(data, maxLength=256)) == 2


def test_labels_made_of_pairs(run: DataRun) -> None:
    status = run.prepare(run.write(pairs(10)), "kto")
    assert (status.rows, status.train_rows, status.desirable_fraction) == (10, 20, 0.5)
    rows = run.rows()
    assert set(rows.column_names) == {"prompt", "completion", "label"}
    assert {row["completion"][0]["content"].split()[0]: row["label"] for row in rows} == {"kind": True, "curt": False}


def test_labels_of_their_own(run: DataRun) -> None:
    rows = [{"prompt": f"q {i}", "completion": "a", "label": i % 4 > 0} for i in range(20)]
    assert run.prepare(run.write(rows), "kto").desirable_fraction == 0.75
    assert run.report()["labels"] | {"meanTokens": None} == {"desirable": 15, "undesirable": 5, "meanTokens": None}


def test_margins_reach_the_reward_model_and_no_other_method(run: DataRun) -> None:
    data = run.write(pairs(10, margin=1.5))
    run.prepare(data, "reward")
    assert set(run.rows()["margin"]) == {1.5}
    other = DataRun(run.root, run.tokenizer, "dpo")
    other.prepare(data)
    assert "margin" not in other.rows().column_names
    without = DataRun(run.root, run.tokenizer, "without")
    without.prepare(run.write(pairs(10), "plain.jsonl"), "reward")
    assert "margin" not in without.rows().column_names


def test_margins_of_some_pairs_only_are_refused(run: DataRun) -> None:
    data = run.write([*pairs(5, margin=1), *pairs(5, start=5)])
    assert "5 of 10 pairs have no margin" in run.refused(data, "reward")["dataset"]


def test_further_columns_reach_reward_functions_as_they_were(run: DataRun) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": "a", "answer": 7, "score": 1, "tests": [{"in": [1], "out": None}], "where": "x", "mixed": "5"},
        {"prompt": "b", "answer": None, "score": 0.5, "tests": [], "where": "y", "mixed": 5},
        {"prompt": "c", "answer": 9, "score": 2, "tests": [{"in": "z"}], "where": None},
    ]
    run.prepare(run.write(rows), "grpo", rewards=[{"name": "short", "length": {"maxTokens": 10}}])
    read = {row["prompt"][0]["content"]: row for row in run.rows()}
    for row in rows:
        found = read[row.pop("prompt")]
        assert {name: found[name] for name in row} == row
    assert read["c"]["mixed"] is None


def test_rows_too_long_to_learn_from_are_named(run: DataRun) -> None:
    rows = [{"prompt": "red " * 100, "chosen": f"a {i}", "rejected": "b"} for i in range(4)]
    assert (
        "all 4 training prompts alone are longer than 32" in run.refused(run.write(rows), maxLength=32)["dpo.maxLength"]
    )
    run.prepare(run.write([*rows, *pairs(4)]), maxLength=64)
    assert run.report()["maxLength"]["leftOutRows"] == 4
    kept = DataRun(run.root, run.tokenizer, "end")
    kept.prepare(run.write(rows), maxLength=32, truncation="keepEnd")
    assert kept.report()["maxLength"]["leftOutRows"] == 0


@pytest.mark.parametrize("method", ["sft", "reward", "dpo", "kto", "orpo", "cpo", "simpo"])
def test_every_method_counts_against_its_own_limit(run: DataRun, method: str) -> None:
    rows = pairs(4)
    rows[0]["chosen"] = "red " * 200
    if method == "sft":
        rows = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows]
    status = run.prepare(run.write(rows), method, maxLength=128)
    assert status.truncated_rows == 1


def test_a_row_the_chat_template_refuses_is_named(run: DataRun) -> None:
    strict = deepcopy(run.tokenizer)
    strict.chat_template = (
        "{% for m in messages %}{{ raise_exception('no system turn') if m.role == 'system' }}{% endfor %}"
    )
    rows: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    ]
    rows.append({"messages": [{"role": "system", "content": "s"}, *rows[0]["messages"]]})
    with pytest.raises(ConfigurationError) as caught:
        DataRun(run.root, strict).prepare(run.write(rows), "sft", lossOn="all")
    assert "rows.jsonl line 2: no system turn" in caught.value.message


EMPTY = {"volume": {"path": "empty.jsonl"}}


@pytest.mark.parametrize(
    ("dataset", "field", "message"),
    [
        ({"mixture": [{"volume": {"path": "a.jsonl"}}, EMPTY]}, "dataset.mixture[1]", "empty.jsonl has no rows"),
        ({"volume": {"path": "a.jsonl"}, "evalDataset": EMPTY}, "dataset.evalDataset", "empty.jsonl has no rows"),
        ({"mixture": [{"volume": {"path": path}} for path in ("a.jsonl", "bad.jsonl")]}, "dataset.mixture[1]",
         "all 2 rows of bad.jsonl are invalid: bad.jsonl line 1: column chosen: is empty"),
    ],
)  # fmt: skip
def test_sources_without_a_usable_row_are_named(
    run: DataRun, dataset: dict[str, Any], field: str, message: str
) -> None:
    run.write(pairs(4), "a.jsonl")
    run.write([], "empty.jsonl")
    run.write([{"prompt": "q", "chosen": "", "rejected": "r"}] * 2, "bad.jsonl")
    (found,) = run.refused(dataset | {"quality": {"maxInvalidFraction": 0.99}}).items()
    assert found[0] == field
    assert message in found[1]
