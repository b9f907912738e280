"""Storage: volumes made in advance, so that a claim is bound at once, without a provisioner."""

from __future__ import annotations

from .api import Api
from .layout import VOLUMES

COUNT = 40
STORAGE_CLASS = "workspace"


def create(api: Api) -> None:
    """Create the default storage class and its volumes: directories that every node sees at the same path."""
    api.create(
        "/apis/storage.k8s.io/v1/storageclasses",
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": STORAGE_CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": "kubernetes.io/no-provisioner",
            "reclaimPolicy": "Retain",
        },
    )
    for number in range(COUNT):
        name = f"{STORAGE_CLASS}-{number:02}"
        directory = VOLUMES / name
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o777)  # Pods run as other users; the mask does not allow this at creation
        api.create(
            "/api/v1/persistentvolumes",
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": name},
                "spec": {
                    "storageClassName": STORAGE_CLASS,
                    "capacity": {"storage": "20Gi"},
                    "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "hostPath": {"path": str(directory), "type": "Directory"},
                },
            },
        )
