"""What is applied is YAML, whatever text is in it."""

from __future__ import annotations

import string

import yaml
from hypothesis import given
from hypothesis import strategies as st

from alignment_api.contract import METRIC_NAME_LENGTH
from alignment_operator.cluster.apply_body import apply_body


def test_emoji_backslashes_and_control_characters_arrive() -> None:
    text = '\U0001f525 \\ud83d \\\\ud83d\\ude00 \\\U0001f600 \x7f \x1b[1m \x85 \u2028 \ufeff "quoted" \n'
    assert yaml.safe_load(apply_body({"message": text})) == {"message": text}


def test_half_a_character_becomes_the_replacement_character() -> None:
    assert yaml.safe_load(apply_body({"a": "cut \ud83d", "b": "\ude00 off"})) == {"a": "cut \ufffd", "b": "\ufffd off"}


@given(st.text())
def test_every_text_arrives(text: str) -> None:
    assert yaml.safe_load(apply_body({"message": text})) == {"message": text}


@given(st.text(string.printable[:95], max_size=METRIC_NAME_LENGTH))
def test_every_name_of_a_metric_arrives(name: str) -> None:
    assert yaml.safe_load(apply_body({name: [1, None, 1.5, True]})) == {name: [1, None, 1.5, True]}
