"""Which attempt at which stage a Pod works on: the arguments of ``train``, of the container and of its processes.

An attempt may differ from the specification in its shape (`alignment_api.contract.shape`). It is laid over the
configuration once, where that is read, and all that follows from it (launcher, gradient accumulation, the resolved
configuration) follows from there.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from alignment_api.contract import Problem, RunConfig, shape_of, with_shape

from .exceptions import ConfigurationError


@dataclass(frozen=True)
class Attempt:
    """One attempt at a stage.

    Attributes:
        stage: name of the stage.
        number: its number, from 1.
        nodes: Pods of its gang; None for what the specification says.
        micro_batch_size: rows of one forward pass of one process; None for what the specification says.
        resumes: whether an earlier attempt is known to have had a complete checkpoint.
    """

    stage: str
    number: int
    nodes: int | None = None
    micro_batch_size: int | None = None
    resumes: bool = False

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Let ``parser`` understand `arguments`."""
        parser.add_argument("--stage", required=True, help="name of the stage")
        parser.add_argument("--attempt", type=int, required=True, help="number of the attempt, from 1")
        parser.add_argument("--nodes", type=int, help="Pods of the gang; unless given, runtime.nodes")
        parser.add_argument("--micro-batch-size", type=int, help="unless given, training.microBatchSize")
        parser.add_argument("--resume", action="store_true", help="an earlier attempt had a complete checkpoint")

    @classmethod
    def of(cls, options: argparse.Namespace) -> Attempt:
        """The attempt that parsed arguments name."""
        return cls(options.stage, options.attempt, options.nodes, options.micro_batch_size, options.resume)

    def arguments(self) -> list[str]:
        """The arguments that name this attempt."""
        given: dict[str, Any] = {"--nodes": self.nodes, "--micro-batch-size": self.micro_batch_size}
        return [
            *("--stage", self.stage, "--attempt", str(self.number)),
            *(word for option, value in given.items() if value is not None for word in (option, str(value))),
            *(["--resume"] if self.resumes else []),
        ]

    def applied_to(self, config: RunConfig) -> RunConfig:
        """``config`` with the stage in the shape of this attempt.

        Raises:
            ConfigurationError: a number is below 1.
        """
        for option, value in (("--nodes", self.nodes), ("--micro-batch-size", self.micro_batch_size)):
            if value is not None and value < 1:
                problem = Problem(
                    field=option, message=f"{value} is not a positive number: give 1 or more, or leave it"
                )
                raise ConfigurationError("the shape of the attempt is impossible", [problem])
        shape = shape_of(config.spec, self.stage, nodes=self.nodes, micro_batch_size=self.micro_batch_size)
        return config.model_copy(update={"spec": with_shape(config.spec, self.stage, shape)})
