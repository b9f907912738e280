"""The ConfigMap with the configuration of every Pod of a job."""

from __future__ import annotations

import json
from typing import Any

from alignment_api.contract import CONFIG_FILE, JobReference, RunConfig
from alignment_api.v1alpha1 import AlignmentJobSpec
from alignment_api.v1alpha1.run_policy import RunPolicy

from .metadata import job_labels, object_metadata, run_config_name


def build_run_config(job: JobReference, spec: AlignmentJobSpec) -> dict[str, Any]:
    """The immutable ConfigMap with the job's RunConfig.

    What may change during a job's life, ``suspend`` and ``runPolicy``, is left at its defaults: Pods do not need it,
    and all Pods of a job see one configuration. Only fields that the manifest sets are written, so that a new field of
    a newer operator does not change the configuration of a job that runs.
    """
    constant = spec.model_copy(update={"suspend": False, "run_policy": RunPolicy()})
    config = RunConfig(job=job, spec=constant).model_dump(mode="json", by_alias=True, exclude_unset=True)
    content = json.dumps(config, indent=1, sort_keys=True)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": object_metadata(job, run_config_name(job, content), job_labels(job)),
        "immutable": True,
        "data": {CONFIG_FILE.name: content},
    }
