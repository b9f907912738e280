"""The operator's and the trainer's image: build, name by content, and bring to where Pods run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from . import processes
from .base_image import build_base
from .builder import build, buildah, environment, image_names, write_whole
from .image_load import NodeImages
from .layout import CHECKOUT, IMAGES, MAX_NODES, node_name
from .shell import locked, logged, say, step
from .tools import tool

SOURCES = {"operator": "operator", "trainer": "trainer_image"}
_CURRENT = IMAGES / "current.json"


def program_image(program: Path, path: str, user: str) -> str:
    """Make the image of one static program, at ``path`` in it, to be run as ``user`` (``uid:gid``).

    Returns:
        Its name, tagged by content.
    """
    name = program.name
    image = f"localhost/alignment-{name}:{hashlib.sha256(program.read_bytes()).hexdigest()[:12]}"
    with locked(IMAGES / f"{name}.lock", f"the image of {name}"):
        if image not in image_names():
            container = buildah("from", "scratch")
            buildah("copy", container, program, path)
            buildah("config", "--entrypoint", f'["{path}"]', "--user", user, container)
            buildah("commit", "-q", "--rm", container, image)
    return image


def pause_image() -> str:
    """Make the image of the process that holds a Pod's namespaces; return its name."""
    return program_image(tool("pause"), "/pause", "65535:65535")


def build_image(kind: str, base: str) -> str:
    """Build one image; return its reference, tagged by content, so that a kubelet never runs stale code."""
    directory = CHECKOUT / SOURCES[kind]
    latest = f"localhost/alignment-{kind}:latest"
    with step(f"{kind} image"):
        build(
            directory / "Containerfile",
            CHECKOUT,
            latest,
            build_arguments={"BASE_IMAGE": base},
            ignore_file=CHECKOUT / ".containerignore",
        )
        identifier = buildah("inspect", "--type", "image", "--format", "{{.FromImageID}}", latest)
        reference = f"localhost/alignment-{kind}:{identifier[:12]}"
        buildah("tag", latest, reference)
    return reference


def build_all(kinds: list[str] | None = None) -> dict[str, str]:
    """Build the images and load them into the nodes that are up; return their references by kind."""
    with locked(IMAGES / "lock", "building images"):
        base = build_base()
        references = current()
        for kind in kinds or list(SOURCES):
            references[kind] = build_image(kind, base)
            write_whole(_CURRENT, json.dumps(references))
        for number in range(1, MAX_NODES + 1):
            load(number)
    return references


def current() -> dict[str, str]:
    """Return the references of the newest built images by kind."""
    if not _CURRENT.exists():
        return {}
    references: dict[str, str] = json.loads(_CURRENT.read_text())
    built = image_names()
    return {kind: reference for kind, reference in references.items() if kind in SOURCES and reference in built}


def _node_images(number: int) -> NodeImages | None:
    if not (pid := processes.pid_of(node_name(number))):
        return None
    return NodeImages(["nsenter", "--target", str(pid), "--mount", "--net", "--uts", "--"])


def load(number: int, extra: tuple[str, ...] = ()) -> None:
    """Bring the current images, and others by name, to a node if it is on, and remove there what was pruned here."""
    if not (node := _node_images(number)):
        return
    present, built = node.names(), image_names()
    # The kubelet's runtime also names each image by its identifier, and that holds its layers as well.
    node.remove(name for name in present - built if _kind(name) in SOURCES or name.startswith("sha256:"))
    for reference in (*extra, *current().values()):
        if reference not in present:
            with step(f"{reference} to {node_name(number)}"):
                node.load(reference)


def _kind(name: str) -> str:
    return name.removeprefix("localhost/alignment-").partition(":")[0]


def push(references: dict[str, str], registry: str) -> dict[str, str]:
    """Push images to a registry of the user's; return their references there."""
    pushed = {}
    for kind, reference in references.items():
        target = f"{registry.rstrip('/')}/alignment-{kind}:{reference.rpartition(':')[2]}"
        with step(f"pushing {target}"):
            logged(
                ["buildah", "push", reference, f"docker://{target}"],
                IMAGES / "logs" / f"push-{kind}.log",
                env=environment(),
            )
        pushed[kind] = target
    return pushed


def prune() -> None:
    """Remove images that are not current, and layers that nothing uses; a node that is off follows at its start."""
    keep = set(current().values())
    for name in image_names():
        if _kind(name) in SOURCES and not name.endswith(":latest") and name not in keep:
            say(f"removing {name}")
            buildah("rmi", name)
    buildah("rmi", "--prune")  # layers of older versions, which no image is built on
    for number in range(1, MAX_NODES + 1):
        load(number)
