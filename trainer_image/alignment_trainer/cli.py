"""The container's command line: ``prepare``, ``train`` or ``promote``; see `alignment_api.contract.pod`."""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import Sequence
from types import FrameType

from alignment_api import labels
from alignment_api.contract import JobLayout, Summary

from . import storage
from .attempt import Attempt
from .environment import Environment
from .exceptions import Preempted
from .launch.reported import reported, serving
from .launch.termination import run_to_summary, write_summary

PREPARE = "prepare"
TRAIN = "train"
PROMOTE = "promote"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command to its end.

    Returns:
        The container's exit code; the termination message says the rest.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, _stop)  # by default PID 1 does not hear it
    environment = Environment.read()
    summary = run_to_summary(lambda: _run(options, environment))
    write_summary(environment.termination_log, summary)
    return summary.exit_code


def _stop(number: int, frame: FrameType | None) -> None:
    """End a command that has nothing to save; the supervisor has its own handler while training runs."""
    raise Preempted("told to stop before there was anything to save")


def _run(options: argparse.Namespace, environment: Environment) -> Summary:
    config = environment.load_config()
    layout = JobLayout(workspace=environment.workspace, job=config.job)
    if options.command == PREPARE:
        from . import prepare

        with storage.explained(environment.workspace):
            return reported(lambda: prepare.main(config, layout), config, layout)
    if options.command == PROMOTE:
        from .promotion.run import promote

        serve = serving(environment.progress_port, labels.ROLE_PROMOTE, options.attempt)
        with storage.explained(environment.workspace):
            return reported(lambda: promote(config, layout, options.attempt), config, layout, serve)
    from .launch.supervisor import supervise

    attempt = Attempt.of(options)
    return supervise(attempt.applied_to(config), environment, attempt, options.rendezvous_host)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="alignment-trainer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(PREPARE, help="check data and configuration of every stage, and bring models to the workspace")
    train = commands.add_parser(TRAIN, help="run this Pod's share of a stage")
    Attempt.add_arguments(train)
    train.add_argument("--rendezvous-host", help="host name of rank 0's Pod; only for gangs of several Pods")
    promote = commands.add_parser(PROMOTE, help="put the chosen candidate where it is served from")
    promote.add_argument("--attempt", type=int, required=True, help="number of the attempt, from 1")
    return parser
