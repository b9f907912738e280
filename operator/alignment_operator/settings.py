"""The operator's settings, read from environment variables that the chart sets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from pydantic import ValidationError

from alignment_api.v1alpha1.base import ApiModel

from .cluster.client import IN_CLUSTER
from .cluster.lease import LeaseKey
from .exceptions import SettingsError
from .planning.allowances import Allowances
from .planning.observed import GangTraffic, Settings

Model = TypeVar("Model", bound=ApiModel)


class LogFormat(StrEnum):
    """How log lines are written."""

    JSON = "json"
    TEXT = "text"


PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
SWITCH: Final = ("on", "off")
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class OperatorSettings:
    """All settings of the process.

    Attributes:
        planning: those that plans depend on.
        namespaces: namespaces to serve; empty means the whole cluster.
        election: what is needed to take part in the leader election; None for the only operator there is.
        relist_seconds: between listings of everything.
        http_port: port of /metrics, /healthz and /readyz; 0 takes a free one.
        log_level: name of the lowest level that is logged.
        log_format: how log lines are written.
    """

    planning: Settings
    namespaces: tuple[str, ...] = ()
    election: LeaseKey | None = None
    relist_seconds: float = 180.0
    http_port: int = 8081
    log_level: str = "INFO"
    log_format: LogFormat = LogFormat.JSON


def settings_from(environment: Mapping[str, str]) -> OperatorSettings:
    """Read the settings.

    Args:
        environment: TRAINER_IMAGE (required), IMAGE_PULL_POLICY, STATUS_INTERVAL_SECONDS, WATCH_NAMESPACES
            (separated by commas), RELIST_SECONDS, HTTP_PORT, LOG_LEVEL, LOG_FORMAT; LEADER_ELECTION, LEASE_NAME,
            POD_NAME, POD_NAMESPACE; REPORTS; ALLOWANCES and GANG_TRAFFIC (both JSON).

    Raises:
        SettingsError: names the variable, its value and what it may be.
    """
    image = environment.get("TRAINER_IMAGE", "").strip()
    if not image:
        raise SettingsError(
            "TRAINER_IMAGE is not set: give the full reference of the trainer image, "
            "such as registry.example.com/alignment-trainer:0.1.0 (chart value trainerImage)"
        )
    namespaces = tuple(name for item in environment.get("WATCH_NAMESPACES", "").split(",") if (name := item.strip()))
    for name in namespaces:
        if not _NAMESPACE.fullmatch(name):
            raise SettingsError(f"WATCH_NAMESPACES holds {name!r}, which cannot be the name of a namespace")
    return OperatorSettings(
        planning=Settings(
            trainer_image=image,
            image_pull_policy=_choice(environment, "IMAGE_PULL_POLICY", "IfNotPresent", PULL_POLICIES),
            status_interval_seconds=_number(environment, "STATUS_INTERVAL_SECONDS", "15", 0, 3600),
            allowances=_model(environment, "ALLOWANCES", Allowances),
            reports=_choice(environment, "REPORTS", "on", SWITCH) == "on",
            gang_traffic=_model(environment, "GANG_TRAFFIC", GangTraffic) if environment.get("GANG_TRAFFIC") else None,
        ),
        namespaces=namespaces,
        election=_election(environment),
        relist_seconds=_number(environment, "RELIST_SECONDS", "180", 1, 3600),
        http_port=int(_number(environment, "HTTP_PORT", "8081", 0, 65535)),
        log_level=_choice(environment, "LOG_LEVEL", "INFO", LOG_LEVELS),
        log_format=LogFormat(_choice(environment, "LOG_FORMAT", LogFormat.JSON, tuple(LogFormat))),
    )


def _election(environment: Mapping[str, str]) -> LeaseKey | None:
    """The Lease to hold; in a Pod there is one unless that is turned off, elsewhere only when it is turned on."""
    default = "on" if IN_CLUSTER in environment else "off"
    if _choice(environment, "LEADER_ELECTION", default, SWITCH) == "off":
        return None
    where = {name: environment.get(name, "").strip() for name in ("POD_NAMESPACE", "POD_NAME")}
    for name, value in where.items():
        if not value:
            raise SettingsError(
                f"{name} is not set, and LEADER_ELECTION is on: set it from the Pod's metadata (downward API), or "
                "LEADER_ELECTION=off for the only operator of a cluster"
            )
    return LeaseKey(where["POD_NAMESPACE"], environment.get("LEASE_NAME") or "alignment-operator", where["POD_NAME"])


def _model(environment: Mapping[str, str], name: str, model: type[Model]) -> Model:
    text = environment.get(name) or "{}"
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        field = ".".join(map(str, wrong["loc"]))
        raise SettingsError(f"{name} is {text!r}; {f'{field}: ' if field else ''}{wrong['msg']}") from error


def _choice(environment: Mapping[str, str], name: str, default: str, choices: tuple[str, ...]) -> str:
    value = environment.get(name) or default
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}; it may be one of {', '.join(choices)}")
    return value


def _number(environment: Mapping[str, str], name: str, default: str, low: float, high: float) -> float:
    text = environment.get(name) or default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise SettingsError(f"{name} is {text!r}; it must be a number from {low:g} to {high:g}")
    return value
