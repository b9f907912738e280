"""`make chaos`: seeded faults while jobs run on the test cluster; the same seed strikes the same again."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from tests.cluster.shell import ClusterError

from .schedule import plan_suite
from .suite import Result, run_all
from .world import chaos_cluster


def main() -> int:
    """Run the suite; 0 when nothing was wrong."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="default: a new one")
    parser.add_argument("--faults", type=int, default=100, help="how many in all")
    parser.add_argument("--nodes", type=int, choices=(1, 2), default=2, help="with 1, no fault of a whole node")
    parser.add_argument(
        "--run", type=int, action="append", help="only this run of the seed, counted from 1; repeatable"
    )
    parser.add_argument("--minutes", type=float, help="begin no other run after this time")
    parser.add_argument("--json", type=Path, help="write every measurement there")
    parser.add_argument("--plan", action="store_true", help="only print what would strike when")
    chosen = parser.parse_args()
    plans = plan_suite(chosen.seed, chosen.faults, nodes=chosen.nodes)
    plans = [plan for number, plan in enumerate(plans, start=1) if not chosen.run or number in chosen.run]
    if chosen.plan:
        for plan in plans:
            print(plan.seed, *plan.stages, *(f"\n  {strike}" for strike in plan.strikes))
        return 0
    again = f"--seed {chosen.seed} --faults {chosen.faults} --nodes {chosen.nodes}"
    print(f"chaos: {sum(len(plan.strikes) for plan in plans)} faults in {len(plans)} runs; to see it again: {again}")
    result = Result()
    try:
        with chaos_cluster(chosen.nodes) as cluster:
            run_all(cluster, plans, result, nodes=chosen.nodes, minutes=chosen.minutes)
    finally:
        print(result.text())
        if chosen.json:
            result.write(chosen.json)
    if result.wrong:
        print(f"to see it again: make chaos ARGS='{again} --run N', with the number after the slash for N")
    return 1 if result.wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as error:
        print(f"chaos: {error}", file=sys.stderr)
        sys.exit(1)
