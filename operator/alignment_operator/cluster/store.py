"""The operator's view of the cluster, in memory: what was last seen of every object it cares about.

Three sources feed a view: watch events, answers to the operator's own writes (so that it reads what it wrote), and
whole listings. They arrive in any order, so the newer resourceVersion wins. Since Kubernetes 1.35 comparing the
resourceVersions of one kind is part of the API (KEP-5504); before, it was so with etcd.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from alignment_api import labels

from ..planning.observed import Manifest
from .awaited import Awaited
from .resources import ALIGNMENT_JOB, JOB, POD, Resource


class Key(NamedTuple):
    """Names a namespaced object of a known kind."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def key_of(manifest: Manifest) -> Key:
    """The key of an object."""
    return Key(manifest["metadata"]["namespace"], manifest["metadata"]["name"])


def uid_of(manifest: Manifest) -> str:
    """The uid of an object."""
    return str(manifest["metadata"]["uid"])


def version_of(manifest: Manifest) -> int:
    """The resourceVersion of an object or list, as a number."""
    return int(manifest["metadata"]["resourceVersion"])


def owner_of(manifest: Manifest) -> str | None:
    """The uid of the AlignmentJob that an object belongs to, by its label."""
    uid = (manifest["metadata"].get("labels") or {}).get(labels.JOB_UID)
    return None if uid is None else str(uid)


class View:
    """The objects of one kind."""

    def __init__(self) -> None:
        self._objects: dict[Key, Manifest] = {}
        self._by_owner: defaultdict[str, set[Key]] = defaultdict(set)
        self._deleted: dict[str, int] = {}
        self._listed: dict[str | None, int] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Manifest]:
        return iter(tuple(self._objects.values()))

    def get(self, key: Key) -> Manifest | None:
        """The object, or None when there is none as far as is known."""
        return self._objects.get(key)

    def owned_by(self, uid: str, namespace: str) -> tuple[Manifest, ...]:
        """The objects of the AlignmentJob with this uid in ``namespace``, its own, by name.

        Labels alone are no proof: another tenant may put this job's uid on a Pod in another namespace.
        """
        keys = sorted(key for key in self._by_owner.get(uid, ()) if key.namespace == namespace)
        return tuple(self._objects[key] for key in keys)

    def put(self, manifest: Manifest) -> bool:
        """Learn of an object that existed; returns whether the view changed."""
        key, version = key_of(manifest), version_of(manifest)
        known = self._objects.get(key)
        if known is not None and version_of(known) >= version:
            return False
        if uid_of(manifest) in self._deleted:
            return False  # uids are never used again: this is late news of an object that is gone
        if known is None and version <= self._horizon(key.namespace):
            return False  # it was gone again when the newest listing was made
        self._forget(key)
        self._objects[key] = _slim(manifest)
        if (owner := owner_of(manifest)) is not None:
            self._by_owner[owner].add(key)
        return True

    def remove(self, manifest: Manifest) -> bool:
        """Learn that an object was deleted; returns whether the view changed."""
        key = key_of(manifest)
        self._deleted[uid_of(manifest)] = version_of(manifest)
        known = self._objects.get(key)
        if known is None or uid_of(known) != uid_of(manifest):
            return False
        self._forget(key)
        return True

    def replace(self, namespace: str | None, manifests: Iterable[Manifest], version: int) -> tuple[Manifest, ...]:
        """Learn all objects that existed at one resourceVersion.

        Args:
            namespace: the namespace that was listed; None for all.
            manifests: the objects.
            version: resourceVersion of the list.

        Returns:
            The objects that the view had missed or not known to be deleted.
        """
        corrected = []
        listed = set()
        for manifest in manifests:
            listed.add(key_of(manifest))
            if self.put(manifest):
                corrected.append(manifest)
        for key, known in tuple(self._objects.items()):
            if namespace in (None, key.namespace) and key not in listed and version_of(known) <= version:
                self._forget(key)
                corrected.append(known)
        self._listed[namespace] = version
        self._deleted = {uid: seen for uid, seen in self._deleted.items() if seen > version}
        return tuple(corrected)

    def _horizon(self, namespace: str) -> int:
        return max(self._listed.get(None, -1), self._listed.get(namespace, -1))

    def _forget(self, key: Key) -> None:
        known = self._objects.pop(key, None)
        if known is not None and (owner := owner_of(known)) is not None:
            self._by_owner[owner].discard(key)
            if not self._by_owner[owner]:
                del self._by_owner[owner]


class Store:
    """The views of all watched kinds.

    Attributes:
        complete: whether all kinds were listed at least once. Before that nothing may be concluded from an object
            not being here.
    """

    def __init__(self, wake: Callable[[Key], None] = lambda _: None) -> None:
        """Make an empty store.

        Args:
            wake: told of AlignmentJobs that wait for another one of which there are news, whoever brought them.
        """
        self._wake = wake
        self._awaited = Awaited()
        self.alignment_jobs = View()
        self.jobs = View()
        self.pods = View()
        self.complete = False
        self._views = {ALIGNMENT_JOB: self.alignment_jobs, JOB: self.jobs, POD: self.pods}
        self._keys: dict[str, Key] = {}

    def view(self, resource: Resource) -> View:
        """The view of a watched kind.

        Raises:
            KeyError: the kind is not watched.
        """
        return self._views[resource]

    def key_of_uid(self, uid: str) -> Key | None:
        """The key of the AlignmentJob with this uid, or None when there is none as far as is known."""
        return self._keys.get(uid)

    def owned_pods(self) -> Iterator[Manifest]:
        """The Pods that lie in the namespace of the AlignmentJob that their label names."""
        for pod in self.pods:
            key = self.key_of_uid(owner_of(pod) or "")
            if key is not None and key.namespace == key_of(pod).namespace:
                yield pod

    def put(self, resource: Resource, manifest: Manifest) -> Key | None:
        """Learn of an object that existed; returns the AlignmentJob to look at, if that was news."""
        if not self.view(resource).put(manifest):
            return None
        return self._concerned(resource, manifest)

    def remove(self, resource: Resource, manifest: Manifest) -> Key | None:
        """Learn that an object was deleted; returns the AlignmentJob to look at, if that was news."""
        if not self.view(resource).remove(manifest):
            return None
        key = self._concerned(resource, manifest)
        if resource is ALIGNMENT_JOB:
            self._keys.pop(uid_of(manifest), None)
        return key

    def replace(self, resource: Resource, namespace: str | None, listing: Manifest) -> set[Key]:
        """Learn a whole listing of ``namespace`` (None: of all); returns the AlignmentJobs it has news for."""
        corrected = self.view(resource).replace(namespace, listing["items"], version_of(listing))
        concerned = (self._concerned(resource, manifest) for manifest in corrected)
        return {key for key in concerned if key is not None}

    def _concerned(self, resource: Resource, manifest: Manifest) -> Key | None:
        if resource is ALIGNMENT_JOB:
            key = key_of(manifest)
            self._keys[uid_of(manifest)] = key
            self._awaited.learn(*key, self.alignment_jobs.get(key))
            for waiting in self._awaited.waiting_for(*key):
                self._wake(Key(key.namespace, waiting))
            return key
        owner = owner_of(manifest)
        return None if owner is None else self.key_of_uid(owner)


def _slim(manifest: Manifest) -> Manifest:
    """Without managedFields, which are most of many objects and which nothing here reads."""
    metadata = {name: value for name, value in manifest["metadata"].items() if name != "managedFields"}
    return {**manifest, "metadata": metadata}
