"""Put built images into a node's containerd by linking the files that buildah already unpacked.

buildah keeps every layer unpacked for overlay mounts, and containerd wants exactly that: so a layer becomes a snapshot
made of hard links. Nothing is packed, hashed, sent or unpacked again; for the trainer's layer of several gigabytes that
is seconds instead of minutes, and no second copy on disk. A rebuilt image shares all layers but the changed ones.
Overlay mounts never write to their lower layers, so sharing files is safe.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .builder import STORAGE
from .shell import ClusterError, output

_SNAPSHOTTER = "overlayfs"


@dataclass(frozen=True)
class Layer:
    """One unpacked layer: its directory, and the chain id that names it with all layers below."""

    directory: Path
    chain_id: str


@dataclass(frozen=True)
class BuiltImage:
    """An image in buildah's storage."""

    manifest: bytes
    configuration: bytes
    layers: tuple[Layer, ...]  # from the bottom


def read_image(name: str) -> BuiltImage:
    """Find an image in buildah's storage by its name."""
    records = json.loads((STORAGE / "overlay-images" / "images.json").read_text())
    record = next((record for record in records if name in record.get("names", ())), None)
    if record is None:
        raise ClusterError(f"image {name} is not built")
    directory = STORAGE / "overlay-images" / record["id"]
    # The storage names a file by the base64 of its key when the key is no file name.
    key = base64.b64encode(f"sha256:{record['id']}".encode()).decode()
    configuration = (directory / f"={key}").read_bytes()
    parents = {
        layer["id"]: layer.get("parent")
        for layer in json.loads((STORAGE / "overlay-layers" / "layers.json").read_text())
    }
    identifiers: list[str] = []
    identifier: str | None = record["layer"]
    while identifier:
        identifiers.insert(0, identifier)
        identifier = parents[identifier]
    layers: list[Layer] = []
    for identifier, digest in zip(identifiers, json.loads(configuration)["rootfs"]["diff_ids"], strict=True):
        chain_id = digest
        if layers:
            chain_id = "sha256:" + hashlib.sha256(f"{layers[-1].chain_id} {digest}".encode()).hexdigest()
        layers.append(Layer(STORAGE / "overlay" / identifier / "diff", chain_id))
    return BuiltImage((directory / "manifest").read_bytes(), configuration, tuple(layers))


class NodeImages:
    """A node's images, through containerd's command-line client run inside the node."""

    def __init__(self, enter: list[str]) -> None:
        """Take the command prefix that runs a program inside the node."""
        self._ctr = [*enter, "ctr", "--namespace", "k8s.io"]

    def names(self) -> set[str]:
        """Return the names of the images that the node has."""
        return set(output([*self._ctr, "images", "ls", "-q"]).split())

    def load(self, name: str) -> None:
        """Add an image under its name: snapshots first, then the small documents that make it visible."""
        image = read_image(name)
        present = set(re.findall(r"^(sha256:\S+)", output([*self._ctr, "snapshots", "ls"]), re.M))
        added = [layer for layer in image.layers if layer.chain_id not in present]
        parent = ""
        for layer in image.layers:
            if layer in added:
                self._add_snapshot(layer, parent)
            parent = layer.chain_id
        self._import_documents(name, image)
        # containerd collects what nothing refers to: the configuration holds the top snapshot, as after any unpacking,
        # and each snapshot the one below, so they no longer need the mark that `ctr` gave them.
        configuration = "sha256:" + hashlib.sha256(image.configuration).hexdigest()
        output(
            [*self._ctr, "content", "label", configuration, f"containerd.io/gc.ref.snapshot.{_SNAPSHOTTER}={parent}"]
        )
        for layer in added:
            output([*self._ctr, "snapshots", "label", layer.chain_id, "containerd.io/gc.root="])

    def remove(self, names: Iterable[str]) -> None:
        """Remove images; containers that run from them keep their files."""
        if chosen := list(names):
            output([*self._ctr, "images", "rm", "--sync", *chosen])

    def _add_snapshot(self, layer: Layer, parent: str) -> None:
        key = f"link-{layer.chain_id}"
        subprocess.run([*self._ctr, "snapshots", "rm", key], capture_output=True)  # left by an interrupted load
        prepared = output([*self._ctr, "snapshots", "prepare", "--mounts", key, *([parent] if parent else [])])
        mount: dict[str, Any] = json.loads(prepared)[0]
        options = {name: value for name, _, value in (option.partition("=") for option in mount["Options"])}
        target = options.get("upperdir") or mount["Source"]
        output(["cp", "-a", "--link", f"{layer.directory}/.", target])
        output([*self._ctr, "snapshots", "commit", layer.chain_id, key])

    def _import_documents(self, name: str, image: BuiltImage) -> None:
        manifest_digest = hashlib.sha256(image.manifest).hexdigest()
        index = {
            "schemaVersion": 2,
            "manifests": [
                {
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": f"sha256:{manifest_digest}",
                    "size": len(image.manifest),
                    "annotations": {"io.containerd.image.name": name},
                }
            ],
        }
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path, content in (
                ("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
                (f"blobs/sha256/{manifest_digest}", image.manifest),
                (f"blobs/sha256/{hashlib.sha256(image.configuration).hexdigest()}", image.configuration),
                ("index.json", json.dumps(index).encode()),
            ):
                entry = tarfile.TarInfo(path)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        result = subprocess.run(
            [*self._ctr, "images", "import", "--no-unpack", "-"], input=archive.getvalue(), capture_output=True
        )
        if result.returncode:
            raise ClusterError(f"loading {name}: {result.stderr.decode().strip()}")
