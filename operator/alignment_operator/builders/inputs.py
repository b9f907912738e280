"""ConfigMaps and Secrets of the user's, as volumes and environment variables of a Pod."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from alignment_api.contract import CONFIG_MAPS_MOUNT, token_variable
from alignment_api.v1alpha1.model import SecretKeyReference
from alignment_api.v1alpha1.uses import ConfigMapUse


def config_map_volumes(used: Iterable[ConfigMapUse]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """One volume with its mount for each ConfigMap, with the keys that are read, each once."""
    keys: dict[str, set[str]] = {}
    for use in used:
        keys.setdefault(use.name, set()).add(use.key)
    return [
        (
            {
                "name": f"config-map-{index}",
                "configMap": {"name": name, "items": [{"key": key, "path": key} for key in sorted(keys[name])]},
            },
            {"name": f"config-map-{index}", "mountPath": str(CONFIG_MAPS_MOUNT / name), "readOnly": True},
        )
        for index, name in enumerate(sorted(keys))
    ]


def secret_variables(references: Iterable[SecretKeyReference]) -> list[dict[str, Any]]:
    """One environment variable for each key of a Secret."""
    named = {token_variable(reference): reference for reference in references}
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": reference.name, "key": reference.key}}}
        for name, reference in named.items()
    ]
