"""What the models themselves check and compute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from alignment_api.v1alpha1 import BaseModelSource, ModelSource
from alignment_api.v1alpha1.base import parse_quantity


@pytest.mark.parametrize(
    ("quantity", "value"),
    [("16Gi", 16 * 2**30), ("500m", 0.5), (8, 8), ("8", 8), ("1.5k", 1500), ("2M", 2e6), ("1e3", 1000), ("1E", 1e18)],
)
def test_quantities(quantity: int | str, value: float) -> None:
    assert parse_quantity(quantity) == pytest.approx(value)


@pytest.mark.parametrize("quantity", ["", "16 Gi", "16gb", "Gi", "1e", "nan", "--1", "16Gi\n"])
def test_what_is_no_quantity(quantity: str) -> None:
    with pytest.raises(ValueError, match="is not a Kubernetes quantity"):
        parse_quantity(quantity)


@given(st.integers(0, 2**53), st.sampled_from(["Ki", "Mi", "Gi", "Ti"]))
def test_binary_suffixes_are_exact(number: int, suffix: str) -> None:
    power = ["Ki", "Mi", "Gi", "Ti"].index(suffix) + 1
    assert parse_quantity(f"{number}{suffix}") == number * 1024**power


def test_one_of_is_checked_without_an_api_server() -> None:
    with pytest.raises(ValidationError, match="exactly one of huggingFace, volume, fromJob must be set"):
        BaseModelSource.model_validate({})


def test_unknown_fields_are_refused_without_an_api_server() -> None:
    with pytest.raises(ValidationError, match="fromStages"):
        ModelSource.model_validate({"fromStages": "sft"})


def test_yaml_names_are_camel_case_and_unset_fields_left_out() -> None:
    assert ModelSource(from_stage="sft").to_yaml_dict() == {"fromStage": "sft"}
