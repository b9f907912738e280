"""What the API tests do to AlignmentJobs, over HTTP and with kubectl."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignment_api.crd.generate import CHECKOUT, CRD_FILE
from alignment_api.v1alpha1 import GROUP, PLURAL, VERSION

from .control_plane import APPLY, MERGE, ControlPlane
from .manifests import Manifest

CRD_PATH = CHECKOUT / "crds" / CRD_FILE
_COLLECTION = f"/apis/{GROUP}/{VERSION}/namespaces/default/{PLURAL}"


@dataclass(frozen=True)
class Kubectl:
    """The command-line client.

    Attributes:
        program: path of kubectl.
        kubeconfig: whom it talks to, and as whom.
    """

    program: Path
    kubeconfig: Path

    def run(self, *arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl and return how it ended, whatever that is."""
        command = [str(self.program), f"--kubeconfig={self.kubeconfig}", *map(str, arguments)]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)

    def __call__(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Run kubectl and return what it prints; it must succeed."""
        result = self.run(*arguments, stdin=stdin)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def install_crd(self) -> None:
        """Apply the CustomResourceDefinition client-side and wait until the API server serves it."""
        self("apply", "--filename", CRD_PATH)
        # `kubectl wait` fails, however it is asked, on a definition so new that its conditions are null.
        deadline = time.monotonic() + 30
        while not self._is_established():
            assert time.monotonic() < deadline, "the definition is not established"
            time.sleep(0.1)

    def _is_established(self) -> bool:
        definition = json.loads(self("get", f"crd/{PLURAL}.{GROUP}", "--output", "json"))
        conditions = definition.get("status", {}).get("conditions") or ()
        return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


@dataclass(frozen=True)
class AlignmentJobs:
    """The AlignmentJobs of the default namespace, written by an administrator.

    Every method returns the object as the API server stored it and raises `ApiError` when it is refused. Unknown
    fields are refused, as kubectl has it.
    """

    plane: ControlPlane

    def create(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """Create a job, or with ``dry_run`` do everything but store it."""
        return self.plane.request("POST", _COLLECTION + _query(dry_run), manifest)

    def patch(self, name: str, patch: Manifest, *, subresource: str = "", dry_run: bool = False) -> Manifest:
        """Merge ``patch`` into a job."""
        return self.plane.request("PATCH", _path(name, subresource) + _query(dry_run), patch, content_type=MERGE)

    def replace(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """Replace a job by ``manifest``, which holds the stored object's resourceVersion."""
        return self.plane.request("PUT", _path(manifest["metadata"]["name"]) + _query(dry_run), manifest)

    def apply_status(self, name: str, status: dict[str, Any], manager: str) -> Manifest:
        """Apply ``status`` server-side, as ``manager``."""
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "AlignmentJob",
            "metadata": {"name": name},
            "status": status,
        }
        query = f"?fieldManager={manager}&force=true"
        return self.plane.request("PATCH", _path(name, "status") + query, body, content_type=APPLY)

    def get(self, name: str) -> Manifest:
        """The stored job."""
        return self.plane.request("GET", _path(name))

    def delete(self, name: str) -> None:
        """Delete a job."""
        self.plane.request("DELETE", _path(name))


def _path(name: str, subresource: str = "") -> str:
    return f"{_COLLECTION}/{name}" + (f"/{subresource}" if subresource else "")


def _query(dry_run: bool) -> str:
    return "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
