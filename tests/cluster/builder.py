"""buildah, set up to work as root inside a bare machine: no daemon, no user namespaces, no registry.

The machine's own ways to the package index (CA bundle, pip configuration, pip environment) are lent to RUN steps as
mounts and never become part of an image.
"""

from __future__ import annotations

import configparser
import io
import json
import os
import tempfile
from pathlib import Path

from .layout import IMAGES
from .shell import logged, output

STORAGE = IMAGES / "storage"
_RUN = IMAGES / "run"
_CONFIGURATION = IMAGES / "storage.conf"
LOGS = IMAGES / "logs"


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all: another command may be reading it."""
    if not path.exists() or path.read_text() != text:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(text)
        Path(file.name).replace(path)


def environment() -> dict[str, str]:
    """Return the environment for buildah: own storage, chroot isolation, temporary layers on the same disk."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    temporary = IMAGES / "tmp"
    temporary.mkdir(exist_ok=True)
    # No mount options: with metacopy or redirect_dir a layer's directory would not be readable on its own, and the
    # nodes use these directories (see image_load). For the same reason no mount over them while buildah runs: files
    # cannot be linked from one mount to another.
    write_whole(
        _CONFIGURATION,
        f'[storage]\ndriver = "overlay"\ngraphroot = "{STORAGE}"\nrunroot = "{_RUN}"\n'
        '[storage.options.overlay]\nskip_mount_home = "true"\n',
    )
    return {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(_CONFIGURATION),
        "STORAGE_DRIVER": "overlay",
        "BUILDAH_ISOLATION": "chroot",
        "TMPDIR": str(temporary),
        "BUILDAH_FORMAT": "oci",
    }


def _lent_files() -> dict[Path, str]:
    """Return what RUN steps may see of the machine: where it lies here, and where it appears in the build."""
    settings = configparser.ConfigParser()
    settings.read(["/etc/pip.conf", Path.home() / ".config" / "pip" / "pip.conf"])
    if not settings.has_section("global"):
        settings.add_section("global")
    for name, value in os.environ.items():
        # The same options may come as variables; find-links names directories that a build does not have.
        if name.startswith("PIP_") and name != "PIP_FIND_LINKS":
            settings["global"][name[len("PIP_") :].lower().replace("_", "-")] = value.replace("%", "%%")
    pip_configuration = IMAGES / "pip.conf"
    text = io.StringIO()
    settings.write(text)
    write_whole(pip_configuration, text.getvalue())
    pip_cache = Path.home() / ".cache" / "pip"
    pip_cache.mkdir(parents=True, exist_ok=True)
    certificates = Path("/etc/ssl/certs")
    return {pip_configuration: "/etc/pip.conf:ro", pip_cache: "/root/.cache/pip", certificates: "/etc/ssl/certs:ro"}


def buildah(*arguments: str | Path) -> str:
    """Run a short buildah command and return what it prints."""
    return output(["buildah", *arguments], env=environment()).strip()


def image_names() -> set[str]:
    """Return the names of the images that were built, their identifiers included."""
    try:
        records = json.loads((STORAGE / "overlay-images" / "images.json").read_text())
    except FileNotFoundError:
        return set()
    return {name for record in records for name in (*(record.get("names") or ()), f"sha256:{record['id']}")}


def build(
    containerfile: Path, context: Path, image: str, *, build_arguments: dict[str, str], ignore_file: Path | None = None
) -> None:
    """Build a Containerfile with layer caching; pip's cache is the machine's own, so wheels are built only once."""
    command: list[str | Path] = [
        "buildah",
        "bud",
        "--layers",
        "--network",
        "host",
        "--pull-never",
        "-f",
        containerfile,
        "-t",
        image,
    ]
    for path, place in _lent_files().items():
        command += ["-v", f"{path}:{place}"]
    for name, value in build_arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    if ignore_file:
        command += ["--ignorefile", ignore_file]
    log = LOGS / f"{image.rpartition('/')[2].replace(':', '-')}.log"
    logged([*command, context], log, env=environment())
