"""`make demo`: from a bare machine to a promoted model, saying at each step what happens and how long it took.

With KUBECONFIG set, the job runs on that cluster; its nodes must be able to pull the images, so they are pushed to
``--registry`` or named by ``--operator-image`` and ``--trainer-image``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from . import follow, install
from .layout import CHECKOUT
from .shell import ClusterError, say, step

QUICKSTART = CHECKOUT / "examples" / "quickstart"
NAMESPACE = "alignment-demo"


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    keep: bool
    registry: str | None
    operator_image: str | None
    trainer_image: str | None
    manifest: Path


def options(arguments: list[str]) -> Options:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="make demo ARGS=...", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the cluster (make demo KEEP=1)")
    parser.add_argument("--registry", help="push the images there, for a cluster given by KUBECONFIG")
    parser.add_argument("--operator-image", help="use this image instead of building one")
    parser.add_argument("--trainer-image", help="use this image instead of building one")
    parser.add_argument("--manifest", type=Path, default=QUICKSTART / "alignmentjob.yaml", help="the job to run")
    return Options(**vars(parser.parse_args(arguments)))


def main(arguments: list[str]) -> int:
    """Run the demo; 0 when the job completed."""
    chosen = options(arguments)
    own_cluster = "KUBECONFIG" not in os.environ
    try:
        return run(chosen, own_cluster)
    except ClusterError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    finally:
        if own_cluster and not chosen.keep:
            install.cluster_down()


def run(chosen: Options, own_cluster: bool) -> int:
    """Install everything, run the job, show the verdict."""
    cluster = (
        install.own_cluster()
        if own_cluster
        else install.given_cluster(chosen.registry, chosen.operator_image, chosen.trainer_image)
    )
    with step("operator: helm upgrade --install"):
        install.operator(cluster)
    with step("tiny model and data: examples/quickstart/seed.yaml"):
        install.namespace(cluster, NAMESPACE)
        install.seed(cluster, NAMESPACE)
    say(f"kubectl apply -n {NAMESPACE} -f {os.path.relpath(chosen.manifest, CHECKOUT)}")
    name = cluster.kubectl.apply_file(chosen.manifest, NAMESPACE)
    job = follow.until_finished(cluster.kubectl, NAMESPACE, name)
    print(follow.verdict(job))
    if chosen.keep or not own_cluster:
        say(f"look around: KUBECONFIG={cluster.kubeconfig} kubectl -n {NAMESPACE} get alignmentjobs,pods")
    return 0 if follow.complete(job) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        sys.exit(130)
