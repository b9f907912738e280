"""Where the trainer finds its configuration and workspace; every path may be overridden to run without a cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from alignment_api.contract import CONFIG_FILE, PROGRESS_PORT, RENDEZVOUS_PORT, WORKSPACE_MOUNT, Problem, RunConfig

from .exceptions import ConfigurationError

CONFIG_VARIABLE: Final = "ALIGNMENT_CONFIG"
WORKSPACE_VARIABLE: Final = "ALIGNMENT_WORKSPACE"
TERMINATION_LOG_VARIABLE: Final = "ALIGNMENT_TERMINATION_LOG"
PROGRESS_PORT_VARIABLE: Final = "ALIGNMENT_PROGRESS_PORT"
RENDEZVOUS_PORT_VARIABLE: Final = "ALIGNMENT_RENDEZVOUS_PORT"
MACHINE_RANK_VARIABLE: Final = "JOB_COMPLETION_INDEX"


@dataclass(frozen=True)
class Environment:
    """What the Pod tells the trainer.

    Attributes:
        config_file: the job's RunConfig, JSON.
        workspace: root of the workspace volume.
        termination_log: file whose content becomes the container's termination message.
        machine_rank: this Pod's index in its gang, from 0.
        progress_port: port of the supervisor's HTTP server.
        rendezvous_port: port on rank 0's Pod at which the processes meet.
    """

    config_file: Path
    workspace: Path
    termination_log: Path
    machine_rank: int
    progress_port: int
    rendezvous_port: int

    @classmethod
    def read(cls, variables: Mapping[str, str] = os.environ) -> Environment:
        """The environment according to ``variables``."""
        return cls(
            config_file=Path(variables.get(CONFIG_VARIABLE, CONFIG_FILE)),
            workspace=Path(variables.get(WORKSPACE_VARIABLE, WORKSPACE_MOUNT)),
            termination_log=Path(variables.get(TERMINATION_LOG_VARIABLE, "/dev/termination-log")),
            machine_rank=int(variables.get(MACHINE_RANK_VARIABLE, "0")),
            progress_port=int(variables.get(PROGRESS_PORT_VARIABLE, PROGRESS_PORT)),
            rendezvous_port=int(variables.get(RENDEZVOUS_PORT_VARIABLE, RENDEZVOUS_PORT)),
        )

    def load_config(self) -> RunConfig:
        """The job's configuration.

        Raises:
            ConfigurationError: the file is missing or is not a RunConfig.
        """
        try:
            return RunConfig.model_validate_json(self.config_file.read_bytes())
        except OSError as error:
            raise ConfigurationError(f"cannot read the job configuration {self.config_file}: {error}") from error
        except ValidationError as error:
            problems = [
                Problem(field=".".join(str(part) for part in item["loc"]), message=item["msg"])
                for item in error.errors()
            ]
            raise ConfigurationError(f"{self.config_file} is not a job configuration", problems) from error
