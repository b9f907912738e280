"""The event handlers. kopf only watches: it keeps nothing on the objects and writes nothing to the cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf

from ..cluster.lister import SELECTOR
from ..cluster.resources import ALIGNMENT_JOB, WATCHED, Resource
from ..cluster.store import Key, Store


def watch_settings() -> kopf.OperatorSettings:
    """kopf's settings for a process that only watches."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # the operator posts its own events, on transitions
    settings.scanning.disabled = True  # no watching of CRDs and namespaces: both are fixed at start
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    # Soon back after an API server that was away; when these are used up, the watches are started anew.
    settings.networking.error_backoffs = (1, 1, 2, 2, 3, 3, 3, 3, 3, 3)
    settings.watching.server_timeout = 300
    settings.watching.reconnect_backoff = 1.0
    settings.process.ultimate_exiting_timeout = None  # it would kill the process when only the watches were stopped
    for resource in WATCHED:
        if resource is not ALIGNMENT_JOB:
            settings.watching.label_selectors[resource.group, resource.version, resource.plural] = SELECTOR
    return settings


def watch_registry(
    store: Store, enqueue: Callable[[Key], None], heard: Callable[[Resource], None]
) -> kopf.OperatorRegistry:
    """Handlers that feed ``store`` and the queue.

    Args:
        enqueue: takes the key of a job that has news.
        heard: told of every event, to notice watches that went deaf.
    """
    registry = kopf.OperatorRegistry()
    for resource in WATCHED:
        kopf.on.event(
            resource.group, resource.version, resource.plural, registry=registry, id=f"watch-{resource.plural}"
        )(_feeder(resource, store, enqueue, heard))
    return registry


def _feeder(
    resource: Resource, store: Store, enqueue: Callable[[Key], None], heard: Callable[[Resource], None]
) -> Callable[..., Any]:
    async def feed(event: dict[str, Any], **_: Any) -> None:
        heard(resource)
        learn = store.remove if event["type"] == "DELETED" else store.put
        if (key := learn(resource, event["object"])) is not None:
            enqueue(key)

    return feed
