"""The kinds of objects the operator deals with, and where the API server keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from alignment_api.v1alpha1 import GROUP, KIND, PLURAL, VERSION


@dataclass(frozen=True)
class Resource:
    """One kind of namespaced object.

    Attributes:
        group: API group; empty for the core group.
    """

    group: str
    version: str
    kind: str
    plural: str

    @property
    def api_version(self) -> str:
        """As in a manifest."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Path of the collection (of all namespaces for None), of one object, or of its subresource."""
        parts = ["/apis" if self.group else "/api", self.api_version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        return "/".join(parts + [part for part in (name, subresource) if part is not None])


ALIGNMENT_JOB: Final = Resource(GROUP, VERSION, KIND, PLURAL)
JOB: Final = Resource("batch", "v1", "Job", "jobs")
POD: Final = Resource("", "v1", "Pod", "pods")
SERVICE: Final = Resource("", "v1", "Service", "services")
CONFIG_MAP: Final = Resource("", "v1", "ConfigMap", "configmaps")
CLAIM: Final = Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
EVENT: Final = Resource("", "v1", "Event", "events")
NETWORK_POLICY: Final = Resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
LEASE: Final = Resource("coordination.k8s.io", "v1", "Lease", "leases")
POD_GROUPS: Final = (
    Resource("scheduling.x-k8s.io", "v1alpha1", "PodGroup", "podgroups"),
    Resource("scheduling.volcano.sh", "v1beta1", "PodGroup", "podgroups"),
)

WATCHED: Final = (ALIGNMENT_JOB, JOB, POD)

_OWN: Final = (ALIGNMENT_JOB, JOB, POD, SERVICE, CONFIG_MAP, CLAIM, EVENT)
_BY_KIND: Final = {resource.kind: resource for resource in _OWN}
_BY_TYPE: Final = {(resource.api_version, resource.kind): resource for resource in (*_OWN, NETWORK_POLICY, *POD_GROUPS)}


def resource_of(kind: str) -> Resource:
    """The resource of that kind, of those that have one.

    Raises:
        KeyError: the operator does not deal with such objects.
    """
    return _BY_KIND[kind]


def resource_of_manifest(manifest: Mapping[str, Any]) -> Resource:
    """The resource of which ``manifest`` is an object.

    Raises:
        KeyError: the operator does not deal with such objects.
    """
    return _BY_TYPE[manifest["apiVersion"], manifest["kind"]]
