"""Secrets of users in what a Pod says."""

from __future__ import annotations

import io
import logging
import os

import pytest

from alignment_api.contract import Problem, Summary
from alignment_trainer.exceptions import DataError
from alignment_trainer.launch.masking import Mask
from alignment_trainer.launch.output import OutputTail
from alignment_trainer.launch.termination import run_to_summary

TOKEN = "hf_QrStUv/wX+yz=="
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----\n"
VARIABLES = {
    "ALIGNMENT_SECRET_0A": f"{TOKEN}\n",
    "ALIGNMENT_SECRET_0B": KEY,
    "ALIGNMENT_SECRET_0C": "1",
    "HOME": "/tmp",
}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"token {TOKEN}, {TOKEN}", "token ***, ***"),
        ("https://hub/?t=hf_QrStUv%2FwX%2Byz%3D%3D&n=1", "https://hub/?t=***&n=1"),
        ("line MIIEvQIBADANBg of a key", "line *** of a key"),
        ('{"key": "-----BEGIN KEY-----\\nMIIEvQIBADANBg\\n-----END KEY-----"}', '{"key": "***"}'),
        ("step 1 of 10 in /tmp", "step 1 of 10 in /tmp"),
    ],
)
def test_text(text: str, masked: str) -> None:
    mask = Mask.of(VARIABLES)
    assert mask.text(text) == masked
    assert mask.bytes(text.encode()) == masked.encode()


def test_a_secret_that_begins_like_another() -> None:
    assert Mask(["token", "token-of-two"]).text("token-of-two token") == "*** ***"


def test_nothing_is_masked_without_secrets() -> None:
    assert Mask.of({"HOME": "/tmp"}).text("/tmp") == "/tmp"


def test_output_is_passed_on_and_kept_without_secrets() -> None:
    passed = io.BytesIO()
    output = OutputTail(io.BytesIO(f"using {TOKEN}\n\xff {KEY}".encode()), passed, Mask.of(VARIABLES))
    output.drain(10)
    for text in (passed.getvalue().decode(), output.text()):
        assert text.startswith("using ***\n")
        assert "MII" not in text
        assert "BEGIN" not in text


def test_errors_logs_and_summaries_hide_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_signals: None
) -> None:
    monkeypatch.setitem(os.environ, "ALIGNMENT_SECRET_0A", TOKEN)
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.StreamHandler()])

    def refuse() -> Summary:
        logging.getLogger("hub").warning("asking with %s", TOKEN)
        print("asked with", TOKEN)
        raise DataError(f"refused {TOKEN}", [Problem(field="spec", message=f"not {TOKEN}")])

    def crash() -> Summary:
        raise KeyError(TOKEN)

    refused, crashed = run_to_summary(refuse), run_to_summary(crash)
    assert (refused.message, refused.problems[0].message) == ("refused ***", "not ***")
    assert crashed.message == "KeyError: '***'"
    assert "raise KeyError(TOKEN)" in crashed.output
    said = "".join(capsys.readouterr())
    assert "asking with ***" in said
    assert "asked with ***" in said
    assert TOKEN not in said + crashed.output
