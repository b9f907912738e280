"""Settings from the environment; logs."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from alignment_operator.cluster.lease import LeaseKey
from alignment_operator.exceptions import SettingsError
from alignment_operator.logs import JOB, JsonFormatter
from alignment_operator.planning.allowances import Allowances, AllowedHostPath
from alignment_operator.settings import LogFormat, settings_from


def test_defaults() -> None:
    settings = settings_from({"TRAINER_IMAGE": "trainer:1"})
    assert settings.planning.trainer_image == "trainer:1"
    assert settings.planning.status_interval_seconds == 15
    assert settings.namespaces == ()
    assert settings.http_port == 8081
    assert settings.log_format is LogFormat.JSON
    assert settings.planning.allowances == Allowances()
    assert settings.planning.gang_traffic is None
    assert settings.planning.reports
    assert not settings_from({"TRAINER_IMAGE": "trainer:1", "REPORTS": "off"}).planning.reports


def test_in_a_pod_there_is_an_election_unless_turned_off() -> None:
    pod = {"TRAINER_IMAGE": "x", "KUBERNETES_SERVICE_HOST": "10.0.0.1", "POD_NAME": "one", "POD_NAMESPACE": "system"}
    assert settings_from(pod).election == LeaseKey("system", "alignment-operator", "one")
    assert settings_from({**pod, "LEASE_NAME": "mine"}).election == LeaseKey("system", "mine", "one")
    assert settings_from({**pod, "LEADER_ELECTION": "off"}).election is None
    assert settings_from({"TRAINER_IMAGE": "x"}).election is None, "outside a cluster"
    with pytest.raises(SettingsError, match="POD_NAME is not set"):
        settings_from({"TRAINER_IMAGE": "x", "LEADER_ELECTION": "on", "POD_NAMESPACE": "system"})


def test_namespaces_are_a_list() -> None:
    assert settings_from({"TRAINER_IMAGE": "x", "WATCH_NAMESPACES": "a, b,"}).namespaces == ("a", "b")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRAINER_IMAGE", " "),
        ("IMAGE_PULL_POLICY", "Sometimes"),
        ("STATUS_INTERVAL_SECONDS", "soon"),
        ("STATUS_INTERVAL_SECONDS", "nan"),
        ("STATUS_INTERVAL_SECONDS", "-1"),
        ("HTTP_PORT", "70000"),
        ("WATCH_NAMESPACES", "Team_A"),
        ("LOG_LEVEL", "LOUD"),
        ("LEADER_ELECTION", "maybe"),
        ("RELIST_SECONDS", "0"),
        ("LOG_FORMAT", "xml"),
        ("REPORTS", "yes"),
        ("ALLOWANCES", "{"),
        ("ALLOWANCES", '{"hostNetworks": true}'),
        ("ALLOWANCES", '{"hostPaths": [{"path": "mnt"}]}'),
        ("GANG_TRAFFIC", '{"operatorNamespace": "alignment-system"}'),
    ],
)
def test_what_is_wrong_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as error:
        settings_from({"TRAINER_IMAGE": "x", name: value})
    assert value.strip() in str(error.value)


def test_what_the_administrator_allows() -> None:
    text = '{"hostNetwork": true, "hostPaths": [{"path": "/mnt/models"}], "serviceAccounts": ["trainer"]}'
    allowances = settings_from({"TRAINER_IMAGE": "x", "ALLOWANCES": text}).planning.allowances
    assert allowances.host_network
    assert allowances.host_paths == (AllowedHostPath(path="/mnt/models", writable=False),)
    assert allowances.service_accounts == ("trainer",)
    assert not allowances.privileged


def test_a_log_line_is_one_line() -> None:
    record = logging.LogRecord("operator", logging.ERROR, __file__, 1, "two\nlines of %s", ("text",), None)
    setattr(record, JOB, "team/job")
    try:
        raise ValueError("a\nb")
    except ValueError:
        record.exc_info = sys.exc_info()
    line = JsonFormatter().format(record)
    assert "\n" not in line
    said = json.loads(line)
    assert said["job"] == "team/job"
    assert said["message"] == "two\nlines of text"
    assert "ValueError" in said["traceback"]
