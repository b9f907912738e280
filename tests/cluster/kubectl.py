"""kubectl for tests and the demo: run it, apply documents, read objects, wait."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .layout import KUBECONFIG
from .shell import ClusterError
from .tools import tool

Object = dict[str, Any]


@dataclass(frozen=True)
class Kubectl:
    """kubectl on one cluster: ours, or the one of another kubeconfig and program."""

    kubeconfig: Path = KUBECONFIG
    program: Path | None = None
    _program: Path = field(init=False)

    def __post_init__(self) -> None:
        """Find the program."""
        object.__setattr__(self, "_program", self.program or tool("kubectl"))

    def run(
        self,
        *arguments: str,
        stdin: str | None = None,
        namespace: str | None = None,
        timeout: float = 120,
        check: bool = True,
    ) -> str:
        """Run kubectl and return its output; its complaint is in the exception when it fails.

        With ``check`` off, a failure returns the output and the complaint together.
        """
        command = [str(self._program), *(["--namespace", namespace] if namespace else []), *arguments]
        result = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
        )
        if result.returncode and check:
            raise ClusterError(f"kubectl {' '.join(arguments)}: {result.stderr.strip()}")
        return result.stdout + (result.stderr if result.returncode else "")

    def get_json(
        self, kind: str, name: str | None = None, *, namespace: str | None = None, selector: str | None = None
    ) -> Object:
        """Return an object, or a list of them without a name."""
        arguments = ["get", kind, *([name] if name else []), "-o", "json", *(["-l", selector] if selector else [])]
        document: Object = json.loads(self.run(*arguments, namespace=namespace))
        return document

    def items(self, kind: str, *, namespace: str | None = None, selector: str | None = None) -> list[Object]:
        """Return the objects of a kind."""
        found: list[Object] = self.get_json(kind, namespace=namespace, selector=selector)["items"]
        return found

    def exists(self, kind: str, name: str, *, namespace: str | None = None) -> bool:
        """Return whether an object exists."""
        return bool(self.run("get", kind, name, "-o", "name", "--ignore-not-found", namespace=namespace).strip())

    def apply(self, *documents: Object, namespace: str | None = None) -> None:
        """Apply documents."""
        self.run(
            "apply",
            "-f",
            "-",
            stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}),
            namespace=namespace,
        )

    def apply_file(self, path: Path, namespace: str | None = None) -> str:
        """Apply a manifest file; return the name of its last object."""
        printed = self.run("apply", "-f", str(path), "-o", "name", namespace=namespace)
        return printed.split()[-1].partition("/")[2]

    def delete(self, kind: str, name: str, *, namespace: str | None = None, wait: bool = True) -> None:
        """Delete an object; that it is gone already is fine."""
        self.run("delete", kind, name, "--ignore-not-found", f"--wait={str(wait).lower()}", namespace=namespace)

    def logs(self, pod: str, *, namespace: str | None = None, container: str | None = None) -> str:
        """Return what a Pod printed."""
        return self.run("logs", pod, *(["-c", container] if container else []), namespace=namespace)

    def execute(self, pod: str, command: Sequence[str], *, namespace: str | None = None) -> str:
        """Run a command in a Pod and return its output."""
        return self.run("exec", pod, "--", *command, namespace=namespace)

    def create_namespace(self, name: str, *, pod_security: str = "restricted") -> None:
        """Create a namespace that enforces a Pod security profile."""
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": pod_security}},
            }
        )

    def wait_for(
        self,
        kind: str,
        name: str,
        check: Callable[[Object], bool],
        *,
        namespace: str | None = None,
        timeout: float = 60,
        what: str = "",
    ) -> Object:
        """Poll an object until ``check`` holds and return it; an object that is not there yet is empty."""
        deadline = time.monotonic() + timeout
        while True:
            printed = self.run("get", kind, name, "-o", "json", "--ignore-not-found", namespace=namespace)
            document: Object = json.loads(printed) if printed.strip() else {}
            if check(document):
                return document
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{kind}/{name}: not {what or 'as expected'} within {timeout:.0f} s: "
                    f"{json.dumps(document.get('status'))[:2000]}"
                )
            time.sleep(0.2)

    def wait_for_phase(self, pod: str, *phases: str, namespace: str | None = None, timeout: float = 60) -> Object:
        """Wait until a Pod is in one of the phases."""
        return self.wait_for(
            "pod",
            pod,
            lambda document: document.get("status", {}).get("phase") in phases,
            namespace=namespace,
            timeout=timeout,
            what=" or ".join(phases),
        )
