"""Build the cluster's programs from Go modules, once per machine.

Each module below `tools/` pins its versions in go.mod and go.sum. What is built lies in the cache under a hash of the
module's own files, so that changing a version or a main program builds anew and nothing else does.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .layout import HERE, STATE, TOOLS
from .shell import ClusterError, locked, logged, say, step

KUBERNETES_VERSION = "v1.36.3"
_KUBE_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)
_VERSION_PACKAGE = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Module:
    """A Go module of ours: the packages to build, and names that are links to a multi-call program."""

    name: str
    packages: tuple[str, ...]
    links: dict[str, str]
    linker_flags: str = "-s -w"


MODULES = {
    module.name: module
    for module in (
        # One module, although Helm and CoreDNS are other projects: they compile the same Kubernetes packages, which are
        # most of the work, so together they cost half as much as apart.
        Module(
            "kubernetes",
            ("./kube", "./coredns", "./helm", "./pause"),
            dict.fromkeys(_KUBE_PROGRAMS, "kube"),
            # Without these flags the API server reports version v0.0.0 and clients refuse features.
            f"-s -w -X {_VERSION_PACKAGE}.gitVersion={KUBERNETES_VERSION} -X {_VERSION_PACKAGE}.gitMajor=1"
            f" -X {_VERSION_PACKAGE}.gitMinor={KUBERNETES_VERSION.split('.')[1]}",
        ),
        Module("kwok", ("sigs.k8s.io/kwok/cmd/kwok",), {}),
        Module("kueue", ("sigs.k8s.io/kueue/cmd/kueue",), {}),
        Module("registry", ("github.com/distribution/distribution/v3/cmd/registry",), {}),  # where models go
        Module("s3", ("github.com/versity/versitygw/cmd/versitygw",), {}),  # where data is and models go
    )
}


def _directory(module: Module) -> Path:
    digest = hashlib.sha256(module.linker_flags.encode())
    source = HERE / "tools" / module.name
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        digest.update(str(file.relative_to(source)).encode() + b"\0" + file.read_bytes())
    return TOOLS / f"{module.name}-{digest.hexdigest()[:12]}"


@cache
def tool(name: str, module: str = "kubernetes") -> Path:
    """Return the path of a built program."""
    path = _directory(MODULES[module]) / name
    if not path.exists():
        raise ClusterError(f"{name} is not built: run `python3 -m tests.cluster tools {module}`")
    return path


def build_module(name: str) -> Path:
    """Build a module unless that was done; return the directory of its programs."""
    if name not in MODULES:
        raise ClusterError(f"no module {name!r}: choose from {', '.join(MODULES)}")
    target = _directory(MODULES[name])
    if not target.exists():
        with locked(TOOLS / f"{name}.lock", f"building {name}"):
            _build(MODULES[name], target)
    return target


def _build(module: Module, target: Path) -> None:
    if target.exists():
        return
    if not shutil.which("go"):
        raise ClusterError("Go is needed to build the cluster's programs (1.26 or later)")
    # A half-built directory must never look complete: build aside, then rename.
    aside = target.with_suffix(f".{os.getpid()}")
    with step(f"building {', '.join(Path(package).name for package in module.packages)} (Go)"):
        aside.mkdir(parents=True)
        logged(
            ["go", "build", "-o", f"{aside}/", "-ldflags", module.linker_flags, *module.packages],
            TOOLS / f"{module.name}.log",
            env={**os.environ, "CGO_ENABLED": "0"},
            cwd=HERE / "tools" / module.name,
        )
        for link, program in module.links.items():
            (aside / link).symlink_to(program)
        aside.rename(target)
    for old in TOOLS.glob(f"{module.name}-*"):
        if old.is_dir() and old != target and not STATE.exists():  # a running cluster may be made of them
            say(f"removing {old.name}, built from other sources")
            shutil.rmtree(old)
