"""Volumes that a Pod template of the manifest asks for."""

from __future__ import annotations

from typing import Any, Final

from alignment_api.v1alpha1.runtime import PodTemplate, PodVolume

_PREFIX: Final = "user-"
"""Keeps names of the user's volumes apart from the operator's."""


def user_volumes(template: PodTemplate) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each volume with its mount."""
    return [
        (
            {"name": f"{_PREFIX}{volume.name}", **_source(volume)},
            {
                "name": f"{_PREFIX}{volume.name}",
                "mountPath": volume.mount_path,
                **({"readOnly": True} if volume.read_only else {}),
            },
        )
        for volume in template.volumes or ()
    ]


def _source(volume: PodVolume) -> dict[str, Any]:
    if volume.host_path is not None:
        return {"hostPath": volume.host_path.to_yaml_dict()}
    if volume.persistent_volume_claim is not None:
        return {"persistentVolumeClaim": {"claimName": volume.persistent_volume_claim.claim_name}}
    if volume.config_map is not None:
        return {"configMap": {"name": volume.config_map.name}}
    if volume.secret is not None:
        return {"secret": {"secretName": volume.secret.secret_name}}
    room = volume.empty_dir
    return {"emptyDir": {"sizeLimit": str(room.size_limit)} if room is not None and room.size_limit else {}}
