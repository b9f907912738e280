"""Why one Pod failed."""

from __future__ import annotations

import signal
from datetime import datetime
from typing import Any, Final

from alignment_api.conditions import Reason
from alignment_api.contract import Problem
from alignment_api.exit_codes import REASON_OF_EXIT_CODE, ExitCode

from ..planning.observed import Manifest
from .failure import Failure
from .termination import summary_of, terminated_state

_SIGNAL_BASE: Final = 128
_SIGKILL: Final = _SIGNAL_BASE + signal.SIGKILL
_SIGTERM: Final = _SIGNAL_BASE + signal.SIGTERM

_NODE_LOSS: Final = frozenset({"DeletionByTaintManager", "DeletionByPodGC"})
"""Reasons of the condition DisruptionTarget that mean the node is gone; the others make room for other Pods."""

_NOT_KNOWN: Final = frozenset({"ContainerStatusUnknown", "Unknown"})
"""How a container ended of which nothing is left: by the kubelet's word, and by containerd's after a power cut."""

_ADVICE: Final = {
    Reason.OUT_OF_MEMORY: "lower training.microBatchSize (the global batch stays), or give the Pods more memory",
    Reason.STORAGE_ERROR: "check that the workspace volume is writable and has space",
}


def pod_failure(pod: Manifest) -> Failure | None:
    """Why ``pod`` failed; None when it did not fail (yet)."""
    disruption = _disruption(pod)
    if disruption is not None:
        return disruption
    if pod.get("status", {}).get("phase") == "Failed":
        terminated = terminated_state(pod)
        return _rejection(pod) if terminated is None else _container_failure(pod, terminated)
    return None


def _disruption(pod: Manifest) -> Failure | None:
    """The cluster took the Pod away: this is known before the Pod is terminal, which on a lost node it never is."""
    if pod.get("status", {}).get("phase") == "Succeeded":
        return None
    for condition in pod.get("status", {}).get("conditions") or []:
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            lost = condition.get("reason") in _NODE_LOSS
            said = f"{condition.get('reason', '')}: {condition.get('message', '')}".strip(": ")
            return _failure(
                pod,
                Reason.NODE_LOST if lost else Reason.PREEMPTED,
                f"the Pod was lost with its node ({said})" if lost else f"the Pod was evicted or preempted ({said})",
            )
    return None


def _rejection(pod: Manifest) -> Failure:
    """The kubelet refused or evicted the Pod without its container having ended in an ordinary way."""
    status = pod["status"]
    said = f"{status.get('reason', 'Failed')}: {status.get('message', 'no message')}"
    if status.get("reason") == "Evicted":
        return _failure(pod, Reason.STORAGE_ERROR, f"the Pod was evicted for its use of local storage ({said})")
    return _failure(pod, Reason.POD_REJECTED, f"the node did not run the Pod ({said})")


def _container_failure(pod: Manifest, terminated: dict[str, Any]) -> Failure:
    code = int(terminated.get("exitCode", -1))
    summary = summary_of(pod)
    said = summary.message if summary else ""
    problems = tuple(summary.problems) if summary else ()
    output = summary.output if summary else ""
    deleted = "deletionTimestamp" in pod["metadata"]
    if pod["status"].get("reason") == "Evicted":
        return _rejection(pod)
    if terminated.get("reason") == "OOMKilled":
        text = (
            "the container exceeded its memory limit: raise resources.limits.memory, or "
            + _ADVICE[Reason.OUT_OF_MEMORY]
        )
        return _failure(pod, Reason.OUT_OF_MEMORY, text, code=code, terminated=terminated)
    if terminated.get("reason") in _NOT_KNOWN:
        text = "the kubelet lost the container: its node was probably restarted"
        return _failure(pod, Reason.NODE_LOST, text, code=code, terminated=terminated)
    if code in ExitCode._value2member_map_:
        reason = REASON_OF_EXIT_CODE[ExitCode(code)]
        return _failure(
            pod,
            reason,
            _described(reason, said, problems),
            code=code,
            terminated=terminated,
            problems=problems,
            output=output,
            victim=reason in (Reason.COMMUNICATION_ERROR, Reason.PREEMPTED),
        )
    if code == _SIGTERM or (code == _SIGKILL and deleted):
        text = "the Pod was deleted, or its container told to stop, and no checkpoint was written in time"
        return _failure(pod, Reason.POD_LOST, text, code=code, terminated=terminated, victim=True)
    if _SIGNAL_BASE < code < _SIGNAL_BASE + signal.NSIG:
        text = f"the process was killed by {_signal_name(code)}" + (f": {said}" if said else "")
        return _failure(pod, Reason.PROCESS_KILLED, text, code=code, terminated=terminated, output=output)
    said = said or terminated.get("message") or "no message; see the Pod's log"
    text = f"the trainer ended with exit code {code} ({terminated.get('reason', 'Error')}): {said}"
    return _failure(pod, Reason.TRAINER_ERROR, text, code=code, terminated=terminated, output=output)


def _described(reason: Reason, said: str, problems: tuple[Problem, ...]) -> str:
    """The container's own words, each problem on a line, and what can be done about the failure class."""
    # The one problem of a message that says nothing else already tells it all, and names the field too.
    is_said = any(problem.message == said for problem in problems)
    lines = [said] if said and not is_said else []
    lines += [str(problem) for problem in problems]
    if reason in _ADVICE and not problems:
        lines.append(_ADVICE[reason])
    return "\n".join(lines) or "no message; see the Pod's log"


def _signal_name(code: int) -> str:
    try:
        return signal.Signals(code - _SIGNAL_BASE).name
    except ValueError:
        return f"signal {code - _SIGNAL_BASE}"


def _failure(
    pod: Manifest,
    reason: Reason,
    message: str,
    *,
    code: int | None = None,
    terminated: dict[str, Any] | None = None,
    problems: tuple[Problem, ...] = (),
    output: str = "",
    victim: bool = False,
) -> Failure:
    finished = (terminated or {}).get("finishedAt")
    return Failure(
        reason=reason,
        message=message,
        victim=victim,
        pod=pod["metadata"]["name"],
        node=pod.get("spec", {}).get("nodeName"),
        exit_code=code,
        finished_at=datetime.fromisoformat(finished) if finished else None,
        problems=problems,
        output=output or None,
    )
