"""Command line of the test cluster: `python3 -m tests.cluster COMMAND` from the top of the checkout."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from . import cluster, control_plane, images, network, node, packages, tools
from .layout import KUBECONFIG
from .shell import ClusterError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("system-packages", help="install the Debian packages that are missing")
    command = commands.add_parser("tools", help="build the cluster's programs; prints their directory")
    command.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(tools.MODULES)}")
    command = commands.add_parser("prepare", help="packages, programs and images; prints the image references as JSON")
    command.add_argument("modules", nargs="*", metavar="MODULE", help="build the programs of these modules too")
    command = commands.add_parser("up", help="start the cluster; prints the path of its kubeconfig")
    command.add_argument("--nodes", type=int, default=1)
    command.add_argument("--kubeconfig", type=Path, help="write a copy of the kubeconfig there")
    command.add_argument("--fake-gpus", type=int, default=0, metavar="N", help="each node says it has N nvidia.com/gpu")
    commands.add_parser("down", help="end the cluster and remove what it made")
    commands.add_parser("status", help="say what runs; fails if the cluster is not up")
    commands.add_parser("kubeconfig", help="print the path of the kubeconfig")
    command = commands.add_parser("images", help="build the images, bring them to the nodes; prints references as JSON")
    command.add_argument("--registry", help="push to this registry instead, for a cluster of yours")
    command.add_argument("--only", choices=list(images.SOURCES), help="build this one only")
    command.add_argument("--prune", action="store_true", help="remove older images afterwards")
    command = commands.add_parser("node", help="a node's power, cable, programs")
    command.add_argument("action", choices=["kill", "start", "disconnect", "connect", "restart", "exec", "fake-gpus"])
    command.add_argument("number", type=int)
    command.add_argument("rest", nargs=argparse.REMAINDER, help="exec, restart: the program; fake-gpus: how many")
    command = commands.add_parser("component", help="restart a component of the control plane")
    command.add_argument("action", choices=["restart"])
    command.add_argument("name", choices=control_plane.COMPONENTS)
    for program in ("kubectl", "helm"):
        commands.add_parser(program, help=f"run {program} on the cluster")
    return parser


def _images(arguments: argparse.Namespace) -> None:
    packages.install()
    references = images.build_all([arguments.only] if arguments.only else None)
    if arguments.registry:
        references = images.push(references, arguments.registry)
    if arguments.prune:
        images.prune()
    print(json.dumps(references))


def _node(arguments: argparse.Namespace) -> int:
    number: int = arguments.number
    match arguments.action:
        case "kill":
            node.kill(number)
        case "start":
            cluster.start_node(number)
        case "disconnect" | "connect":
            network.set_connected(number, arguments.action == "connect")
        case "restart":
            node.restart_program(number, arguments.rest[0])
        case "fake-gpus":
            cluster.set_fake_gpus(number, int(arguments.rest[0]))
        case "exec":
            return subprocess.run([*node.enter(number), *arguments.rest]).returncode
    return 0


def main() -> int:
    """Run one command; return its exit status."""
    if sys.argv[1:2] in (["kubectl"], ["helm"]):  # before argparse, which would take their options for ours
        program = tools.tool(sys.argv[1])
        environment = {**os.environ, "KUBECONFIG": os.environ.get("KUBECONFIG", str(KUBECONFIG))}
        os.execve(program, [str(program), *sys.argv[2:]], environment)
    arguments = _parser().parse_args()
    match arguments.command:
        case "system-packages":
            packages.install()
        case "tools":
            for module in arguments.modules or ["kubernetes"]:
                print(tools.build_module(module))
        case "prepare":
            print(json.dumps(cluster.prepare(arguments.modules)))
        case "up":
            cluster.up(arguments.nodes, arguments.kubeconfig, arguments.fake_gpus)
        case "down":
            cluster.down()
        case "status":
            return 0 if cluster.status() else 1
        case "kubeconfig":
            print(KUBECONFIG)
        case "images":
            _images(arguments)
        case "node":
            return _node(arguments)
        case "component":
            control_plane.restart(arguments.name)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
