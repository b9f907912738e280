"""The store: whatever order, repetition or loss the news comes with, the view is never older than it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from alignment_api import labels
from alignment_operator.cluster.awaited import jobs_named_in
from alignment_operator.cluster.resources import ALIGNMENT_JOB, JOB, POD
from alignment_operator.cluster.store import Key, Store, View, version_of

NAMES = ("a", "b", "c")


def manifest(name: str, uid: str, version: int, owner: str | None = None) -> dict[str, Any]:
    marks = {labels.JOB_UID: owner} if owner else {}
    metadata = {"namespace": "team", "name": name, "uid": uid, "resourceVersion": str(version), "labels": marks}
    return {"metadata": {**metadata, "managedFields": [{"manager": "x"}]}}


@dataclass(frozen=True)
class Moment:
    """One change in a cluster's history: an object appears, changes, or goes."""

    object: dict[str, Any]
    deleted: bool


@st.composite
def histories(draw: st.DrawFn) -> list[Moment]:
    """What a cluster goes through, with growing resourceVersions and uids that are never used again."""
    alive: dict[str, str] = {}
    moments = []
    for version in range(1, draw(st.integers(1, 12)) + 1):
        name = draw(st.sampled_from(NAMES))
        if name not in alive:
            alive[name] = f"{name}-{version}"
            moments.append(Moment(manifest(name, alive[name], version), deleted=False))
        elif draw(st.booleans()):
            moments.append(Moment(manifest(name, alive[name], version), deleted=False))
        else:
            moments.append(Moment(manifest(name, alive.pop(name), version), deleted=True))
    return moments


def truth(history: list[Moment], version: int) -> dict[str, dict[str, Any]]:
    """The objects that exist at ``version``."""
    objects: dict[str, dict[str, Any]] = {}
    for moment in history:
        if version_of(moment.object) <= version:
            name = moment.object["metadata"]["name"]
            if moment.deleted:
                objects.pop(name)
            else:
                objects[name] = moment.object
    return objects


def versions(view: View) -> dict[str, int]:
    return {item["metadata"]["name"]: version_of(item) for item in view}


@given(history=histories(), data=st.data())
def test_view_equals_the_cluster_after_any_news_and_a_listing(history: list[Moment], data: st.DataObject) -> None:
    """News may be shuffled, repeated and lost; listings may be of any moment, as long as the last one is current."""
    view = View()
    end = version_of(history[-1].object)
    news = data.draw(st.lists(st.one_of(st.sampled_from(history), st.integers(0, end)), max_size=30))
    for item in [*news, end]:
        if isinstance(item, int):
            view.replace(None, truth(history, item).values(), item)
        elif item.deleted:
            view.remove(item.object)
        else:
            view.put(item.object)
    assert versions(view) == {name: version_of(item) for name, item in truth(history, end).items()}
    for item in history:  # late news of the past changes nothing
        assert not (view.remove if item.deleted else view.put)(item.object)


@given(history=histories(), data=st.data())
def test_an_object_never_goes_back_in_time(history: list[Moment], data: st.DataObject) -> None:
    view = View()
    newest: dict[str, int] = {}
    for item in data.draw(st.lists(st.sampled_from(history), max_size=30)):
        (view.remove if item.deleted else view.put)(item.object)
        for known in view:
            uid = known["metadata"]["uid"]
            assert version_of(known) >= newest.get(uid, 0)
            newest[uid] = version_of(known)


def test_what_an_object_belongs_to() -> None:
    store = Store()
    child = manifest("child", "u2", 5, owner="u1")
    assert store.put(JOB, child) is None, "its AlignmentJob is not known yet, and will be looked at when it comes"
    assert store.put(ALIGNMENT_JOB, manifest("job", "u1", 4)) == Key("team", "job")
    assert store.jobs.owned_by("u1", "team")[0]["metadata"]["name"] == "child"
    assert store.put(POD, manifest("pod", "u3", 6, owner="u1")) == Key("team", "job")
    assert store.put(POD, manifest("pod", "u3", 6, owner="u1")) is None, "no news"
    assert store.remove(POD, manifest("pod", "u3", 7, owner="u1")) == Key("team", "job")
    assert store.pods.owned_by("u1", "team") == ()
    assert store.remove(ALIGNMENT_JOB, manifest("job", "u1", 8)) == Key("team", "job")
    assert store.key_of_uid("u1") is None


def test_a_pod_of_another_namespace_belongs_to_no_job_of_this_one() -> None:
    """Anybody may put any label on his own Pods."""
    store = Store()
    store.put(ALIGNMENT_JOB, manifest("job", "u1", 1))
    forged = manifest("pod", "u2", 2, owner="u1")
    forged["metadata"]["namespace"] = "other"
    store.put(POD, forged)
    assert store.pods.owned_by("u1", "team") == ()
    assert list(store.owned_pods()) == []
    store.put(POD, manifest("pod", "u3", 3, owner="u1"))
    assert [pod["metadata"]["uid"] for pod in store.owned_pods()] == ["u3"]


def test_a_listing_of_one_namespace_says_nothing_of_others() -> None:
    view = View()
    view.put(manifest("a", "u1", 1))
    assert view.replace("other", [], 9) == ()
    assert len(view) == 1
    assert [item["metadata"]["name"] for item in view.replace("team", [], 9)] == ["a"]


def test_managed_fields_are_not_kept() -> None:
    view = View()
    view.put(manifest("a", "u1", 1))
    assert "managedFields" not in next(iter(view))["metadata"]


def waiting_job(name: str, *awaited: str, namespace: str = "a", version: int = 1, **status: Any) -> dict[str, Any]:
    stages = [{"name": "sft", "model": {"fromJob": {"name": other}}} for other in awaited]
    metadata = {"namespace": namespace, "name": name, "uid": f"{namespace}-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"stages": stages}, "status": status}


class TestWaitingForOtherJobs:
    def test_news_of_a_job_wake_those_that_wait_for_it(self) -> None:
        woken: list[Key] = []
        store = Store(woken.append)
        store.put(ALIGNMENT_JOB, waiting_job("second", "first", "other"))
        store.put(ALIGNMENT_JOB, waiting_job("second", "first", namespace="b"))
        assert woken == []
        store.put(ALIGNMENT_JOB, waiting_job("first"))
        assert woken == [Key("a", "second")]
        store.remove(ALIGNMENT_JOB, waiting_job("first", version=2))
        assert woken == [Key("a", "second")] * 2
        store.replace(ALIGNMENT_JOB, "b", {"metadata": {"resourceVersion": "9"}, "items": [waiting_job("x")]})
        assert len(woken) == 2

    def test_what_was_prepared_or_is_gone_waits_no_more(self) -> None:
        woken: list[Key] = []
        store = Store(woken.append)
        store.put(ALIGNMENT_JOB, waiting_job("second", "first"))
        store.put(ALIGNMENT_JOB, waiting_job("third", "first"))
        store.put(ALIGNMENT_JOB, waiting_job("second", "first", version=2, prepare={"phase": "Succeeded"}))
        store.remove(ALIGNMENT_JOB, waiting_job("third", "first", version=3))
        store.put(ALIGNMENT_JOB, waiting_job("first", version=4))
        assert woken == []

    def test_nobody_wakes_itself(self) -> None:
        woken: list[Key] = []
        Store(woken.append).put(ALIGNMENT_JOB, waiting_job("first", "first"))
        assert woken == []

    def test_references_are_found_wherever_models_are_named_and_not_in_data(self) -> None:
        reference = {"fromJob": {"name": "x"}}
        evaluate = {"candidates": [{"name": "a", "model": {"fromJob": {"name": "y"}}}], "baseline": reference}
        rows = {"inline": {"rows": [{"fromJob": {"name": "z"}}]}}
        spec = {"model": {"fromJob": {"name": "w"}}, "stages": [{"dataset": rows, "evaluate": evaluate}]}
        assert jobs_named_in({"metadata": {}, "spec": spec}) == {"w", "x", "y"}
        assert jobs_named_in({"metadata": {}, "spec": {"stages": [{"model": {"fromJob": "no"}}]}}) == set()
