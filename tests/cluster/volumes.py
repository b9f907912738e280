"""Storage: volumes made in advance, so that a claim is bound at once, without a provisioner."""

from __future__ import annotations

import os
from pathlib import Path

from .api import Api
from .layout import VOLUMES
from .shell import output

COUNT = 40
STORAGE_CLASS = "workspace"
SMALL = "small"
"""Name of the one volume that can be filled, and of its storage class."""
_SMALL_SIZE = "512m"


def small() -> Path:
    """Return the directory of the volume that can be filled."""
    return VOLUMES / SMALL


def mount_small() -> None:
    """Mount the file system of the small volume; before the nodes start, which take this machine's mounts with them."""
    small().mkdir(parents=True, exist_ok=True)
    output(["mount", "-t", "tmpfs", "-o", f"size={_SMALL_SIZE},mode=777", "tmpfs", small()])


def unmount_small() -> None:
    """Unmount it, if it is mounted."""
    if os.path.ismount(small()):
        output(["umount", small()])


def create(api: Api) -> None:
    """Create storage classes and volumes: directories that every node sees at the same path."""
    _create_class(api, STORAGE_CLASS, default=True)
    for number in range(COUNT):
        name = f"{STORAGE_CLASS}-{number:02}"
        directory = VOLUMES / name
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o777)  # Pods run as other users; the mask does not allow this at creation
        _create_volume(api, name, STORAGE_CLASS, directory)
    _create_class(api, SMALL, default=False)
    _create_volume(api, SMALL, SMALL, small())


def _create_class(api: Api, name: str, *, default: bool) -> None:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    api.create(
        "/apis/storage.k8s.io/v1/storageclasses",
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name, "annotations": annotations},
            "provisioner": "kubernetes.io/no-provisioner",
            "reclaimPolicy": "Retain",
        },
    )


def _create_volume(api: Api, name: str, storage_class: str, directory: Path) -> None:
    api.create(
        "/api/v1/persistentvolumes",
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "storageClassName": storage_class,
                "capacity": {"storage": "20Gi"},
                "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": str(directory), "type": "Directory"},
            },
        },
    )
