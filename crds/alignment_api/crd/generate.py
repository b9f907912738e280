"""Write the files generated from the models, or check that they are in sync.

    python -m alignment_api.crd.generate            # write
    python -m alignment_api.crd.generate --check    # exit 1 and name the files that differ

The program belongs to the source tree: it writes beside the package's own directory.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from ..v1alpha1 import GROUP, PLURAL
from .definition import custom_resource_definition
from .reference import reference

CHECKOUT = Path(__file__).resolve().parents[3]
CRD_FILE = f"{PLURAL}.{GROUP}.yaml"
_HEADER = "# Generated from crds/alignment_api by `make generate`. Do not edit.\n"


class _PlainDumper(yaml.SafeDumper):
    """Writes no anchors, so that every part of the file reads by itself."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def crd_yaml() -> str:
    """The CustomResourceDefinition as YAML, one line a leaf field: indentation is half of such a file otherwise."""
    return _HEADER + yaml.dump(
        custom_resource_definition(),
        Dumper=_PlainDumper,
        sort_keys=False,
        default_flow_style=None,
        width=sys.maxsize,
        allow_unicode=True,
    )


def generated_files(checkout: Path = CHECKOUT) -> dict[Path, str]:
    """Every generated file of the source tree at ``checkout`` and what belongs in it."""
    crd = crd_yaml()
    return {
        checkout / "crds" / CRD_FILE: crd,
        checkout / "charts" / "alignment-operator" / "files" / CRD_FILE: crd,
        checkout / "crds" / "reference.md": reference(),
    }


def out_of_date(checkout: Path = CHECKOUT) -> list[Path]:
    """Generated files whose content is not what the models say."""
    return list(_differing(generated_files(checkout)))


def write(checkout: Path = CHECKOUT) -> list[Path]:
    """Write the generated files that are out of date; return them."""
    stale = _differing(generated_files(checkout))
    for path, content in stale.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return list(stale)


def _differing(files: dict[Path, str]) -> dict[Path, str]:
    return {
        path: content
        for path, content in files.items()
        if not path.exists() or path.read_text(encoding="utf-8") != content
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m alignment_api.crd.generate", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    if not parser.parse_args(arguments).check:
        for path in write():
            sys.stdout.write(f"wrote {path.relative_to(CHECKOUT)}\n")
        return 0
    stale = out_of_date()
    for path in stale:
        sys.stderr.write(f"{path.relative_to(CHECKOUT)} is out of date: run `make generate`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
