"""Looks for the objects that a manifest refers to."""

from __future__ import annotations

from typing import Any

from alignment_api.v1alpha1 import AlignmentJobSpec, uses

from ..exceptions import NotFoundError
from .client import Client
from .resources import CLAIM, CONFIG_MAP, Resource

Missing = tuple[str, str]
"""Path of a field, and what is missing and the way out."""


class References:
    """Reads claims and ConfigMaps, which are not watched: they are looked at once for most jobs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def missing(self, namespace: str, spec: AlignmentJobSpec) -> tuple[Missing, ...]:
        """What ``spec`` refers to and ``namespace`` lacks. Secrets are not looked at: the operator may not read them.

        Raises:
            ClusterError: one of the objects could not be read.
        """
        found: list[Missing] = []
        claim = spec.workspace.persistent_volume_claim
        if claim is not None and await self._get(CLAIM, namespace, claim.claim_name) is None:
            found.append(missing_claim(claim.claim_name, namespace))
        config_maps: dict[str, dict[str, Any] | None] = {}
        for index, stage in enumerate(spec.stages):
            for use in (*uses.data_config_maps(stage), *uses.code_config_maps(stage)):
                if use.name not in config_maps:
                    config_maps[use.name] = await self._get(CONFIG_MAP, namespace, use.name)
                content = config_maps[use.name]
                field = f"spec.stages[{index}]"
                if content is None:
                    message = f"there is no ConfigMap {use.name!r} in namespace {namespace}: create it"
                    found.append((f"{field}.{use.name_field}", message))
                elif (problem := missing_key(use.name, use.key, content)) is not None:
                    found.append((f"{field}.{use.key_field}", problem))
        return tuple(found)

    async def _get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        try:
            return await self._client.request(
                "GET", resource.path(namespace, name), doing=f"read {resource.kind} {namespace}/{name}"
            )
        except NotFoundError:
            return None


def missing_claim(name: str, namespace: str) -> Missing:
    """What to say when the workspace's claim is not there."""
    return (
        "spec.workspace.persistentVolumeClaim.claimName",
        f"there is no PersistentVolumeClaim {name!r} in namespace {namespace}: create it, or let the operator create "
        "one with spec.workspace.volumeClaimTemplate",
    )


def missing_key(name: str, key: str, config_map: dict[str, Any]) -> str | None:
    """What to say when a ConfigMap lacks ``key``; None when it has it."""
    keys = sorted({**config_map.get("data", {}), **config_map.get("binaryData", {})})
    if key in keys:
        return None
    has = f"it has {', '.join(map(repr, keys[:10]))}" if keys else "it is empty"
    return f"ConfigMap {name!r} has no key {key!r} ({has}): add the key or name another"
