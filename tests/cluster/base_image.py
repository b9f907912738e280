"""The images' base where no registry can be reached: Debian with Python and a C++ compiler, made by debootstrap.

It stands in for `python:3.11-slim`, the Containerfiles' default base. The package mirror is the machine's own and is
removed from the image again.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from .builder import LOGS, buildah, environment, image_names
from .layout import IMAGES
from .shell import ClusterError, logged, say, step

SUITE = "bookworm"
# The compiler builds DeepSpeed's CPU operators; Python's headers belong to it.
PACKAGES = ("ca-certificates", "g++", "ninja-build", "python3", "python3-dev", "python3-venv")


def mirror(sources: Path = Path("/etc/apt")) -> str:
    """Return the first Debian mirror that apt on this machine uses, in either of apt's two file formats."""
    for file in [
        *sorted(sources.glob("sources.list.d/*.sources")),
        *sorted(sources.glob("sources.list.d/*.list")),
        sources / "sources.list",
    ]:
        text = file.read_text() if file.exists() else ""
        found = re.search(r"^URIs:\s*(\S+)", text, re.M) or re.search(r"^deb\s+(?:\[[^]]*\]\s+)?(\S+)", text, re.M)
        if found and "security" not in found[1]:
            return found[1]
    raise ClusterError("no package mirror found below /etc/apt")


def build_base() -> str:
    """Make the base image unless it exists; return its name, which carries a hash of what it holds."""
    digest = hashlib.sha256(" ".join((SUITE, *PACKAGES, "1")).encode()).hexdigest()[:12]
    image = f"localhost/alignment-base:{digest}"
    if image in image_names():
        return image
    with step(f"base image ({SUITE}: {', '.join(PACKAGES)})"):
        container = buildah("from", "scratch")
        try:
            root = Path(buildah("mount", container))
            _fill(root)
            buildah("umount", container)
            buildah("commit", "-q", "--rm", container, image)
        except BaseException:
            buildah("rm", container)
            raise
    return image


def _fill(root: Path) -> None:
    """Install Debian into a directory and leave out what a container never reads."""
    settings = root / "etc" / "dpkg" / "dpkg.cfg.d"
    settings.mkdir(parents=True)
    # Syncing every file to disk doubles the time and protects nothing: a broken base is simply built again.
    (settings / "unsafe-io").write_text("force-unsafe-io\n")
    (settings / "no-documentation").write_text(
        "path-exclude /usr/share/doc/*\npath-exclude /usr/share/man/*\npath-exclude /usr/share/locale/*\n"
    )
    downloads = IMAGES / "packages"
    downloads.mkdir(parents=True, exist_ok=True)
    logged(
        [
            "debootstrap",
            "--variant=minbase",
            f"--cache-dir={downloads}",
            f"--include={','.join(PACKAGES)}",
            SUITE,
            root,
            mirror(),
        ],
        LOGS / "base.log",
        env=environment(),
    )
    (root / "etc" / "apt" / "sources.list").write_text("")
    for place in ("var/cache/apt", "var/lib/apt/lists", "var/log"):
        shutil.rmtree(root / place, ignore_errors=True)
        (root / place).mkdir(parents=True)
    (root / "etc" / "hostname").unlink(missing_ok=True)
    (root / "etc" / "resolv.conf").unlink(missing_ok=True)
    say(f"base: {sum(1 for _ in root.rglob('*'))} files")
