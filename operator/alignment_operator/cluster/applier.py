"""Creates, changes and deletes the operator's objects."""

from __future__ import annotations

from typing import Any, Final

from ..exceptions import ConflictError, NotFoundError, RejectedError, UnavailableError
from ..planning.actions import ObjectKey
from .client import APPLY, Client
from .resources import POD_GROUPS, WATCHED, resource_of, resource_of_manifest
from .store import Key, Store

FIELD_MANAGER: Final = "alignment-operator"
FORCE: Final = {"fieldManager": FIELD_MANAGER, "force": "true"}


class Applier:
    """Carries out what a plan says about objects, and tells the store what came of it."""

    def __init__(self, client: Client, store: Store) -> None:
        self._client = client
        self._store = store

    async def apply(self, manifest: dict[str, Any]) -> None:
        """Create the object, or change it to what ``manifest`` says (server-side apply); applying twice is harmless.

        Raises:
            ClusterError: it was not applied, or the answer was lost.
        """
        resource = resource_of_manifest(manifest)
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        try:
            answer = await self._client.request(
                "PATCH",
                resource.path(namespace, name),
                doing=f"create {resource.kind} {namespace}/{name}",
                query=FORCE,
                body=manifest,
                content_type=APPLY,
            )
        except NotFoundError as error:
            if resource not in POD_GROUPS:
                raise
            raise RejectedError(
                f"{error}: scheduling.podGroup asks for a PodGroup of {resource.api_version}, which this cluster does "
                "not know: install that scheduler with its CustomResourceDefinitions, or leave scheduling.podGroup out",
                error.reason,
            ) from error
        if resource in WATCHED:
            self._store.put(resource, answer)

    async def delete(self, target: ObjectKey) -> None:
        """Delete the object, and all it owns in the background; one that is gone already is fine.

        Raises:
            ClusterError: it was not deleted, or the answer was lost.
        """
        resource = resource_of(target.kind)
        known = self._store.view(resource).get(Key(target.namespace, target.name)) if resource in WATCHED else None
        # The uid makes sure that what is deleted is what the plan saw, and not a newer object of the same name.
        condition = {"preconditions": {"uid": known["metadata"]["uid"]}} if known is not None else {}
        try:
            answer = await self._client.request(
                "DELETE",
                resource.path(target.namespace, target.name),
                doing=f"delete {resource.kind} {target.namespace}/{target.name}",
                body={"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background", **condition},
            )
        except NotFoundError:
            answer = {}
        except ConflictError as error:  # another object has the name now, and will be seen before this is tried again
            raise UnavailableError(str(error), error.reason) from error
        if known is None:
            return
        if answer.get("kind") == resource.kind:
            self._store.put(resource, answer)  # it stays, marked as being deleted, while finalizers hold it
        else:
            self._store.remove(resource, known)
