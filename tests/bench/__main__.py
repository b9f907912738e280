"""``python -m tests.bench [name ...]``: run the named benchmarks, or all."""

from __future__ import annotations

import argparse
import importlib

from alignment_api.v1alpha1 import TRAINING_METHODS

BENCHMARKS = ("control_plane", "data_validation", "trainer_overhead", "learning", "ppo_peer", "evaluation")
BY_METHOD = ("trainer_overhead", "learning")


def main() -> None:
    """Run them one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], metavar="name", help=", ".join(BENCHMARKS))
    parser.add_argument(
        "--method",
        action="append",
        default=[],
        choices=sorted(method.value for method in TRAINING_METHODS),
        help=f"only this one, of {', '.join(BY_METHOD)}",
    )
    options = parser.parse_args()
    for name in options.names or BENCHMARKS:
        arguments = [options.method] if name in BY_METHOD else []
        importlib.import_module(f"tests.bench.{name}").main(*arguments)


if __name__ == "__main__":
    main()
