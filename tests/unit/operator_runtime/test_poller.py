"""Asking gangs for progress: who is asked, when, and what becomes of the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from alignment_api import labels
from alignment_operator.cluster.resources import POD
from alignment_operator.cluster.store import Key
from alignment_operator.metrics.jobs import JobsCollector
from alignment_operator.progress.gangs import RunningGang, running_gangs
from alignment_operator.progress.schedule import Lane, Schedule
from alignment_operator.progress.table import MOST_METRICS, GangKey

from .gangs import START, Gangs, gang_servers, pod, progress


@pytest.fixture
async def rank0() -> AsyncIterator[dict[str, Any]]:
    async with gang_servers(2) as answers:
        yield answers


async def test_news_is_kept_and_enqueued_and_dated_by_our_clock(rank0: dict[str, Any]) -> None:
    gangs = Gangs()
    gangs.store.put(POD, pod("sft", "127.83.0.1"))
    rank0["127.83.0.1"] = progress("sft", 3, metrics={"loss": 0.5})
    await gangs.poll()
    await gangs.poll()
    assert gangs.enqueued == [Key("team", "job")], "the same answer is no news"
    gangs.now = START.replace(hour=1)
    rank0["127.83.0.1"] = progress("sft", 3, metrics={"loss": 0.4})
    await gangs.poll()
    assert gangs.table.of("u")["sft", 1].changed_at == START, "other numbers at the same step are no step forward"
    rank0["127.83.0.1"] = progress("sft", 4)
    await gangs.poll()
    assert gangs.table.of("u")["sft", 1].changed_at == gangs.now
    gangs.registry.register(JobsCollector(gangs.store, gangs.table))
    names = {"namespace": "team", "job": "job", "stage": "sft", "attempt": "1"}
    assert gangs.registry.get_sample_value("alignment_stage_step", names) == 4
    gangs.store.remove(POD, pod("sft", "127.83.0.1"))
    await gangs.poll()
    assert gangs.registry.get_sample_value("alignment_stage_step", names) is None


async def test_only_running_first_pods_are_asked() -> None:
    gangs = Gangs()
    gangs.store.put(POD, pod("pending", "127.83.0.1", phase="Pending"))
    gangs.store.put(POD, pod("no-address", None))
    gangs.store.put(POD, pod("second", "127.83.0.1", index="1"))
    foreign = pod("foreign", "127.83.0.1")
    foreign["metadata"]["labels"][labels.ATTEMPT] = "one"
    gangs.store.put(POD, foreign)
    strange = pod("strange", "not-an-address")
    gangs.store.put(POD, strange)
    assert await gangs.poll() < 1
    assert list(gangs.table) == []
    assert gangs.errors() == 0


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("10.1.2.3", "http://10.1.2.3:8080/progress"),
        ("fd00::7", "http://[fd00::7]:8080/progress"),
        ("::ffff:10.1.2.3", "http://[::ffff:a01:203]:8080/progress"),
        ("169.254.169.254", None),
        ("::ffff:169.254.169.254", None),
        ("fe80::1%eth0", None),
        ("0.0.0.0", None),
        ("::", None),
        ("224.0.0.1", None),
        ("10.1.2.3@evil.example.com", None),
        ("10.1.2.3/24", None),
        ("evil.example.com", None),
    ],
)
def test_only_addresses_that_can_be_a_pods_are_asked(address: str, url: str | None) -> None:
    assert [gang.url for gang in running_gangs([pod("sft", address)])] == ([url] if url else [])


def test_a_later_pod_with_the_same_labels_does_not_take_the_place_of_the_first() -> None:
    first, second = pod("sft", "10.0.0.1"), pod("sft", "10.0.0.2")
    first["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    second["metadata"]["creationTimestamp"] = "2026-01-01T00:00:01Z"
    asked = Schedule().begin(running_gangs([second, first]), 0)
    assert [gang.url for gang in asked] == ["http://10.0.0.1:8080/progress"]


async def test_a_pod_of_another_namespace_speaks_for_nobody(rank0: dict[str, Any]) -> None:
    gangs = Gangs()
    foreign = pod("sft", "127.83.0.1")
    foreign["metadata"]["namespace"] = "elsewhere"
    gangs.store.put(POD, foreign)
    rank0["127.83.0.1"] = progress("sft", 99)
    await gangs.poll()
    assert list(gangs.table) == []


@pytest.mark.parametrize("skew", [timedelta(days=-4000), timedelta(hours=-1), timedelta(0), timedelta(days=300)])
async def test_times_are_by_our_clock_whatever_the_pods_clock_says(rank0: dict[str, Any], skew: timedelta) -> None:
    """A step taken a minute ago is a minute old, and a gang that repeats itself gets no younger."""
    gangs = Gangs()
    gangs.store.put(POD, pod("sft", "127.83.0.1"))
    age = timedelta(seconds=60)
    written = (START + skew - age).isoformat()
    mark = {"step": 1, "path": "jobs/x", "time": written}

    async def answer(_: web.Request) -> web.Response:
        date = (gangs.now + skew).strftime("%a, %d %b %Y %H:%M:%S GMT")
        said = progress("sft", 2, updatedAt=written, checkpoint=mark)
        return web.json_response(said, headers={"Date": date})

    rank0["127.83.0.1"] = answer
    for minutes in (0, 1, 30):
        gangs.now = START + timedelta(minutes=minutes)
        await gangs.poll()
        seen = gangs.table.of("u")["sft", 1]
        assert seen.progress.updated_at == START - age
        assert seen.progress.checkpoint is not None
        assert seen.progress.checkpoint.time == START - age
        assert seen.changed_at == START, "a stall is counted from when the step was first seen"
    assert len(gangs.enqueued) == 1


@pytest.mark.parametrize("date", [None, "", "yesterday", "Mon, 99 Foo 99999 99:99:99 GMT", "\u0661"])
@pytest.mark.parametrize("written", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-01-01T00:00:00"])
async def test_times_that_cannot_be_are_no_older_than_a_year_and_never_in_the_future(
    rank0: dict[str, Any], date: str | None, written: str
) -> None:
    gangs = Gangs()
    gangs.store.put(POD, pod("sft", "127.83.0.1"))

    async def answer(_: web.Request) -> web.Response:
        headers = {} if date is None else {"Date": date}
        return web.json_response(progress("sft", updatedAt=written), headers=headers)

    rank0["127.83.0.1"] = answer
    await gangs.poll()
    seen = gangs.table.of("u")["sft", 1]
    assert START - timedelta(days=366) < seen.progress.updated_at <= START


async def test_metrics_with_ever_new_names_stay_few(rank0: dict[str, Any]) -> None:
    gangs = Gangs()
    gangs.store.put(POD, pod("sft", "127.83.0.1"))
    shown = set()
    for step in range(6):
        rank0["127.83.0.1"] = progress("sft", step, metrics={f"m{step}-{number}": 1.0 for number in range(60)})
        await gangs.poll()
        shown |= set(gangs.table.of("u")["sft", 1].progress.metrics)
    assert len(shown) == MOST_METRICS


def gang(name: str) -> RunningGang:
    return RunningGang(GangKey("u", name, 1), f"http://{name}/")


def test_silent_gangs_are_asked_less_and_less_often_and_others_as_ever() -> None:
    schedule = Schedule()
    asked: dict[str, list[int]] = {"good": [], "silent": []}
    for second in range(120):
        for running in schedule.begin([gang("good"), gang("silent")], second):
            name = running.gang.stage
            asked[name].append(second)
            (schedule.answered if name == "good" else schedule.missed)(running.gang, second)
    assert asked["good"] == list(range(0, 120, 3))
    assert asked["silent"] == [0, 3, 9, 21, 45, 75, 105]
    assert schedule.lane(gang("silent").gang) is Lane.SILENT
    schedule.begin([gang("silent")], 135)
    schedule.answered(gang("silent").gang, 135)
    assert schedule.lane(gang("silent").gang) is Lane.ANSWERING
    assert schedule.lane(gang("good").gang) is Lane.NEW, "it was forgotten when it was gone"


def test_a_gang_is_not_asked_again_while_it_is_being_asked() -> None:
    schedule = Schedule()
    assert len(schedule.begin([gang("a")], 0)) == 1
    assert schedule.begin([gang("a")], 100) == []
    schedule.answered(gang("a").gang, 100)
    assert len(schedule.begin([gang("a")], 103)) == 1
