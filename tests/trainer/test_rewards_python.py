"""Functions of users, in real processes: what they get, what they may return, and how each failure is told."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignment_trainer.exceptions import FunctionError
from alignment_trainer.rewards import python

from .reward_terms import PROMPT, call, reward, score
from .test_sandbox import wait_until_gone

TERM = {"python": {"configMap": "code"}, "timeoutSeconds": 60}
Write = Callable[[str], None]


@pytest.fixture
def config_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the user's file where ConfigMaps are mounted."""
    monkeypatch.setattr(python, "CONFIG_MAPS_MOUNT", tmp_path)
    (tmp_path / "code").mkdir()

    def write(source: str) -> None:
        (tmp_path / "code" / "reward.py").write_text(textwrap.dedent(source))

    return write


def refused(term: dict[str, Any], texts: list[str], **columns: Any) -> str:
    """The message with which a reward fails in training, and its field."""
    with pytest.raises(FunctionError) as caught:
        score(term, texts, **columns)
    (problem,) = caught.value.problems
    assert problem.field == "spec.stages[0].grpo.rewards[0].python"
    assert problem.message == caught.value.message
    assert problem.message.startswith("reward 'it' ")
    return problem.message


def test_a_function_gets_texts_conversations_and_columns(config_map: Write) -> None:
    config_map("""
        def reward(prompts, completions, conversations, answer, **columns):
            assert prompts == ["What is 6 times 12?"] * 2, prompts
            assert conversations[0][0] == {"role": "system", "content": "Be right."}
            assert columns == {"level": [{"hard": 1}, None]}, columns
            return [float(text == right) for text, right in zip(completions, answer)]
    """)
    assert score(TERM, ["72", "71"], answer=["72", "72"], level=[{"hard": 1}, None]) == [1, 0]


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("def reward(completions): return [len(text) for text in completions]", [1, 2]),
        ("def reward(*, prompts): return (True, None)", [1, None]),
        ("import numpy\ndef reward(**_): return numpy.array([0.5, 2], dtype='float32')", [0.5, 2]),
        ("from fractions import Fraction\ndef reward(**_): return [Fraction(1, 4), 1]", [0.25, 1]),
        ("import dataclasses as d\n@d.dataclass\nclass A:\n  x: int = 3\ndef reward(**_): return [A().x] * 2", [3, 3]),
    ],
)
def test_functions_may_take_and_return_what_is_natural(config_map: Write, source: str, wanted: list[Any]) -> None:
    config_map(source)
    assert score(TERM, ["a", "bb"]) == wanted


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def reward(**_): return [1]", "returned 1 rewards for 2 responses"),
        ("def reward(**_): return [1] * 10**6", "returned 1000000 rewards for 2 responses"),
        ("def reward(**_): return 'ab'", "returned str 'ab', not a list"),
        ("def reward(**_): return None", "returned NoneType None, not a list"),
        ("def reward(**_): return [1, 'good']", "row 2: prompt 'What is 6 times 12?', response 'no'"),
        ("def reward(**_): return [1, 'good']", "returned \"str 'good'\", which is no number"),
        ("def reward(**_): return [[1], 2]", "returned 'list [1]', which is no number"),
        ("def reward(**_): return [1, float('nan')]", "nan, which is no finite number (batch of 2 responses, row 2"),
        ("def reward(**_): return [float('-inf'), 1]", "returned -inf, which is no finite number"),
        ("def reward(**_): return [10**400, 1]", "returned inf, which is no finite number"),
        ("def reward(completions): return [1 / (text != 'no') for text in completions]", "raised ZeroDivisionError"),
        ("def reward(completions): return [1 / (text != 'no') for text in completions]", "reward.py line 1, in"),
        ("def reward(completions): return [1 / (text != 'no') for text in completions]", "row 2: prompt"),
        ("def reward(completions): return [1 / (len(completions) - 2)]", "(batch of 2 responses, the first: prompt"),
        ("def reward(completions): return [1 / (completions[1] != 'no')]", "(batch of 2 responses, the first: prompt"),
        ("def reward(answer): return answer", "takes a parameter 'answer', but there is only: prompts, completions"),
        ("def score(**_): return []", "there is no function 'reward'; functions in the file: score"),
        ("def reward(**_) return 1", "cannot be loaded: SyntaxError: expected ':'; reward.py line 1: def"),
        ("import no_such_module", "cannot be loaded: ModuleNotFoundError: No module"),
        ("import no_such_module", "; reward.py line 1, in <module>: import no_such_module"),
        ("raise SystemExit('at import')", "cannot be loaded: SystemExit: at import"),
        ("import os\nos._exit(4)", "cannot be loaded: it ended its process with exit code 4"),
        ("import sys\ndef reward(**_): sys.exit(3)", "raised SystemExit: 3"),
        ("import os\ndef reward(**_): os._exit(3)", "ended its process with exit code 3"),
        ("import os\ndef reward(**_): os.abort()", "ended its process with signal SIGABRT"),
        ("def reward(**_): return ['x' * 10**8, 1]", "which is no number"),
    ],
)  # fmt: skip
def test_each_failure_is_told_with_function_and_row(config_map: Write, source: str, message: str) -> None:
    config_map(source)
    assert message in refused(TERM, ["yes", "no"])


def test_columns_that_are_no_json_are_refused(config_map: Write) -> None:
    config_map("def reward(**_): return [1]")
    assert "cannot be given the dataset's columns" in refused(TERM, ["a"], picture=[b"png"])


def test_a_function_that_hangs_is_killed_with_all_it_started_and_started_again(
    config_map: Write, tmp_path: Path
) -> None:
    config_map(f"""
        import subprocess, time
        def reward(completions):
            if completions[0] == "hang":
                child = subprocess.Popen(["sleep", "600"])
                open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
                while True:
                    pass
            return [1]
    """)
    with reward({**TERM, "timeoutSeconds": 3}) as function:
        with pytest.raises(FunctionError, match="takes longer than 3 seconds"):
            call(function, ["hang"])
        wait_until_gone(int((tmp_path / "pid").read_text()))
        assert call(function, ["fine"]) == [1]


def test_prints_go_to_the_log(config_map: Write, capfd: pytest.CaptureFixture[str]) -> None:
    config_map("""
        import os, sys
        print("imported")
        def reward(prompts):
            print("scoring", prompts[0])
            os.system("echo from a shell")
            print("to stderr", file=sys.stderr)
            return [1]
    """)
    assert score(TERM, ["a"]) == [1]
    output = capfd.readouterr()
    assert output.out.splitlines() == ["imported", f"scoring {PROMPT}", "from a shell"]
    assert "to stderr" in output.err
