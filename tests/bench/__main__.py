"""``python -m tests.bench [name ...]``: run the named benchmarks, or all."""

from __future__ import annotations

import argparse
import importlib

BENCHMARKS = ("control_plane", "trainer_overhead")


def main() -> None:
    """Run them one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], metavar="name", help=", ".join(BENCHMARKS))
    for name in parser.parse_args().names or BENCHMARKS:
        importlib.import_module(f"tests.bench.{name}").main()


if __name__ == "__main__":
    main()
