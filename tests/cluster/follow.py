"""Follow an AlignmentJob: a line whenever something a person would want to know changed, and the verdict."""

from __future__ import annotations

import time
from typing import Any

from .kubectl import Kubectl
from .shell import say

Object = dict[str, Any]


def until_finished(kubectl: Kubectl, namespace: str, name: str, timeout: float = 3600) -> Object:
    """Print changes until the job is Complete or Failed, or ``timeout`` seconds have passed."""
    shown: set[str] = set()
    deadline = time.monotonic() + timeout
    while True:
        job = kubectl.get_json("alignmentjob", name, namespace=namespace)
        for line in lines(job):
            if line not in shown:
                shown.add(line)
                say(line)
        if complete(job) or holds(job, "Failed") or time.monotonic() > deadline:
            return job
        time.sleep(1)


def lines(job: Object) -> list[str]:
    """The state of the job as lines; a line that was shown before is no news."""
    result = []
    for stage in job.get("status", {}).get("stages", []):
        progress = stage.get("progress") or {}
        step = f" step {progress['step']}/{progress['totalSteps']}" if progress else ""
        metrics = stage.get("metrics") or {}
        picked = [f"{key} {metrics[key]:.3f}" for key in ("loss", "rewards/accuracies", "accuracy") if key in metrics]
        attempt = f" (attempt {stage['attempt']})" if stage.get("attempt", 0) > 1 else ""
        reason = f": {stage['message']}" if stage.get("message") and stage["phase"] in ("Failed", "Starting") else ""
        result.append(f"{stage['name']:>8} {stage['phase']}{attempt}{step} {' '.join(picked)}{reason}".rstrip())
    return [line for line in result if " Waiting" not in line]


def verdict(job: Object) -> str:
    """The end of the job as a table: stages, gates, conditions."""
    status = job.get("status", {})
    rows = ["", f"AlignmentJob {job['metadata']['name']}: {status.get('phase')}"]
    for stage in status.get("stages", []):
        model = (stage.get("model") or {}).get("path", "")
        rows.append(f"  {stage['name']:<10} {stage['phase']:<10} attempt {stage.get('attempt', 0)}  {model}")
        for gate in stage.get("gates") or []:
            rows.append(
                f"    gate {gate['metric']} {_bound(gate)}: {'passed' if gate['passed'] else 'NOT passed'}, "
                f"{gate.get('value')} [{gate.get('lower')}, {gate.get('upper')}] on {gate.get('samples')} samples"
            )
    for condition in status.get("conditions", []):
        if condition["type"] in ("Complete", "Failed", "Promoted"):
            rows.append(f"  {condition['type']}={condition['status']} {condition['reason']}: {condition['message']}")
    return "\n".join(rows)


def _bound(gate: dict[str, Any]) -> str:
    return f">= {gate['atLeast']}" if "atLeast" in gate else f"<= {gate['atMost']}"


def holds(job: Object, type_: str) -> bool:
    """Whether a condition is there and true."""
    conditions = job.get("status", {}).get("conditions", [])
    return any(entry["type"] == type_ and entry["status"] == "True" for entry in conditions)


def complete(job: Object) -> bool:
    """Whether the job came to its end."""
    return holds(job, "Complete")
