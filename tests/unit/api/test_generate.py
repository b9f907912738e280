"""The generated files: in sync with the models, the same each time, and checked by the command line."""

from __future__ import annotations

from pathlib import Path

import yaml

from alignment_api.crd.definition import custom_resource_definition
from alignment_api.crd.generate import CHECKOUT, CRD_FILE, crd_yaml, generated_files, out_of_date, write


def test_the_checkout_is_in_sync() -> None:
    assert [str(path.relative_to(CHECKOUT)) for path in out_of_date()] == []


def test_generating_twice_gives_the_same() -> None:
    assert generated_files() == generated_files()


def test_yaml_says_what_the_definition_says() -> None:
    text = crd_yaml()
    assert yaml.safe_load(text) == custom_resource_definition()
    assert "&id" not in text


def test_write_repairs_what_check_finds(tmp_path: Path) -> None:
    assert write(tmp_path) == list(generated_files(tmp_path))
    assert out_of_date(tmp_path) == []
    crd = tmp_path / "crds" / CRD_FILE
    crd.write_text("edited by hand")
    assert out_of_date(tmp_path) == [crd]
    assert write(tmp_path) == [crd]
    assert out_of_date(tmp_path) == []


def test_the_reference_has_a_section_for_every_link() -> None:
    text = generated_files()[CHECKOUT / "crds" / "reference.md"]
    sections = {line.removeprefix("## ").lower() for line in text.splitlines() if line.startswith("## ")}
    links = {part.split(")")[0] for part in text.split("](#")[1:]}
    assert links <= sections
    assert {"stage", "dpo", "stagestatus", "condition"} <= sections
