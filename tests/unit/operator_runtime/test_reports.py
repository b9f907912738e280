"""Reports: fetched from Pods, which may answer anything; kept; and served so that nothing in them can act."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from alignment_api import labels
from alignment_api.contract import REPORT_WAIT_VARIABLE, JobReference, Progress
from alignment_operator.builders.report import MAX_REPORT_BYTES, Report, build_report, report_in
from alignment_operator.cluster.resources import ALIGNMENT_JOB, POD
from alignment_operator.cluster.store import Store
from alignment_operator.exceptions import ReportError, UnavailableError
from alignment_operator.metrics.server import http_server
from alignment_operator.progress.poller import poller_session
from alignment_operator.reports.collector import MOST_OF_A_POD, PAUSE_SECONDS
from alignment_operator.reports.compressed import MAX_PLAIN_BYTES, plain
from alignment_operator.reports.fetch import fetch_report
from alignment_operator.reports.pages import report_routes
from alignment_trainer.job_report import Written
from alignment_trainer.launch import http
from alignment_trainer.launch.published import Publication, publish
from alignment_trainer.run_files import RunFiles
from tests.ports import free_port

from .gangs import Gangs, gang_servers, pod, progress

PAGE, NUMBERS = b"<!doctype html><title>r</title>", b'{"stages": []}'
JOB = JobReference(namespace="team", name="job", uid="u")
ADDRESS = "127.83.0.1"


class Scene:
    """One Pod of a job at a loopback address, which serves progress and a report."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.gangs = Gangs()
        self.stage = "sft"
        self.gangs.store.put(POD, pod("sft", ADDRESS))
        self.page, self.numbers = gzip.compress(PAGE), gzip.compress(NUMBERS)
        self.status = 200
        self.digest: str | None = "d1"
        self.asked: list[str] = []
        answers[ADDRESS] = self.answer

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.path == "/progress":
            return web.json_response(progress(self.stage, len(self.asked), report=self.digest))
        body = {"/report": self.page, "/report.json": self.numbers}[request.path]
        return web.Response(status=self.status, body=body, headers={"Content-Encoding": "gzip"})

    @property
    def kept(self) -> list[bytes]:
        """The pages that were kept."""
        return [gzip.decompress(report.page) for _, report in self.gangs.reports]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with gang_servers(1) as answers:
        yield Scene(answers)


class TestFetching:
    async def test_a_new_report_is_fetched_once_and_kept_as_it_came(self, scene: Scene) -> None:
        await scene.gangs.poll()
        await scene.gangs.poll()
        assert scene.gangs.reports == [(JOB, Report(scene.page, scene.numbers))]
        scene.digest, scene.page = "d2", gzip.compress(b"<p>2")
        await scene.gangs.poll()
        assert scene.kept == [PAGE, b"<p>2"]
        assert scene.gangs.table.of("u")["sft", 1].progress.report == "d2", "which status.report is made of"

    async def test_a_pod_without_a_report_is_not_asked_for_one(self, scene: Scene) -> None:
        scene.digest = None
        await scene.gangs.poll()
        assert set(scene.asked) == {"/progress"}

    async def test_a_promotion_is_asked_too_and_in_time_though_it_was_silent_for_long(self, scene: Scene) -> None:
        scene.gangs.store.remove(POD, pod("sft", ADDRESS))
        promoting = pod("promoting", ADDRESS)
        marks = promoting["metadata"]["labels"]
        del marks[labels.STAGE], marks[labels.COMPLETION_INDEX]
        marks[labels.ROLE] = labels.ROLE_PROMOTE
        scene.gangs.store.put(POD, promoting)
        for _ in range(60):  # of 1 s: it works, and answers nothing that can be used
            await scene.gangs.poll(later=1.0)
        assert 10 < len(scene.asked) < 25
        assert scene.gangs.errors() == 0, "that is as it should be"
        scene.stage = labels.ROLE_PROMOTE
        for _ in range(6):
            await scene.gangs.poll(later=1.0)
        assert scene.kept == [PAGE]

    async def test_what_the_supervisor_serves_is_what_is_fetched(self, tmp_path: Path) -> None:
        files, publication = RunFiles(tmp_path), Publication()
        files.write_progress(Progress.model_validate(progress("sft")))
        report = Written("r", "d1", gzip.compress(PAGE), gzip.compress(NUMBERS))
        server = http.serve(port := free_port(), files, tmp_path / "history", publication)
        give = asyncio.to_thread(
            publish, report, files, publication, stopped=lambda: False, variables={REPORT_WAIT_VARIABLE: "20"}
        )
        giving = asyncio.create_task(give)
        try:
            async with poller_session() as session:
                fetched = None
                while fetched is None:
                    try:
                        fetched = await fetch_report(session, f"http://127.0.0.1:{port}")
                    except ReportError:  # it is not offered yet
                        await asyncio.sleep(0.05)
            assert fetched == Report(report.page, report.numbers)
            await asyncio.wait_for(giving, 5)
        finally:
            server.shutdown()
            server.server_close()

    async def test_prepare_is_not_asked(self, scene: Scene) -> None:
        scene.gangs.store.remove(POD, pod("sft", ADDRESS))
        preparing = pod("preparing", ADDRESS)
        preparing["metadata"]["labels"][labels.ROLE] = labels.ROLE_PREPARE
        scene.gangs.store.put(POD, preparing)
        await scene.gangs.poll()
        assert scene.asked == []

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"page": b"<html>"}, "it is not gzipped"),
            ({"numbers": gzip.compress(b"x" * 999)[:-3]}, "it is cut off"),
            ({"page": gzip.compress(bytes(MAX_PLAIN_BYTES + 1))}, "longer than"),
            ({"page": gzip.compress(os.urandom(MAX_REPORT_BYTES))}, "larger than 921600 bytes"),
            ({"numbers": gzip.compress(os.urandom(MAX_REPORT_BYTES - 20))}, "larger than 921600 bytes"),
            ({"page": gzip.compress(b"a") + b"tail"}, "something follows its end"),
            ({"status": 404}, "HTTP 404"),
            ({"status": 302}, "HTTP 302"),
        ],
    )
    async def test_what_is_no_report_is_not_kept_and_asked_for_again(
        self, scene: Scene, change: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        good = {name: getattr(scene, name) for name in change}
        for name, value in change.items():
            setattr(scene, name, value)
        await scene.gangs.poll()
        assert scene.gangs.reports == []
        assert words in caplog.text
        assert scene.gangs.table.of("u")["sft", 1].progress.step == 1, "its progress counts all the same"
        for name, value in good.items():
            setattr(scene, name, value)
        await scene.gangs.poll()
        assert scene.kept == [PAGE]

    async def test_what_the_api_server_refuses_is_tried_again(self, scene: Scene) -> None:
        scene.gangs.refusal = UnavailableError("cannot create ConfigMap: busy")
        await scene.gangs.poll()
        scene.gangs.refusal = None
        await scene.gangs.poll(later=PAUSE_SECONDS - 1)
        assert scene.gangs.reports == []
        await scene.gangs.poll(later=PAUSE_SECONDS)
        assert scene.kept == [PAGE]

    async def test_a_pod_that_always_has_news_is_asked_in_moderation(self, scene: Scene) -> None:
        for number in range(2 * MOST_OF_A_POD):
            scene.digest = f"d{number}"
            await scene.gangs.poll(later=3.0)
        fetched = scene.asked.count("/report")
        assert fetched == MOST_OF_A_POD
        assert scene.asked.index("/report", 4) > 4, "not at every look"

    async def test_hostile_digests_are_no_progress(self, scene: Scene) -> None:
        scene.digest = "d" * 129
        await scene.gangs.poll()
        assert scene.gangs.reports == []
        assert scene.gangs.errors() == 1


def test_a_config_map_gives_back_what_was_put_into_it() -> None:
    report = Report(os.urandom(700), os.urandom(30))
    kept = build_report(JOB, report)
    assert report_in(kept) == report
    assert kept["metadata"]["ownerReferences"][0]["uid"] == "u"
    assert report_in({**kept, "binaryData": {"report.html.gz": "?", "report.json.gz": ""}}) is None
    assert report_in({"metadata": {}}) is None


def test_zeros_without_end_are_not_unpacked() -> None:
    with pytest.raises(ReportError, match="longer than"):
        plain(gzip.compress(bytes(2 * MAX_PLAIN_BYTES)))
    assert len(plain(gzip.compress(bytes(MAX_PLAIN_BYTES)))) == MAX_PLAIN_BYTES


class TestServing:
    report: Report | None = Report(gzip.compress(PAGE), gzip.compress(NUMBERS))
    error: Exception | None = None
    starting = False

    @asynccontextmanager
    async def served(self, *jobs: dict[str, Any]) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
        """A server that knows ``jobs`` (by default JOB), and a client that unpacks nothing by itself."""
        store = Store()
        store.complete = not self.starting
        for job in jobs or ({"metadata": {"name": "job"}},):
            metadata = {"namespace": "team", "uid": "u", "resourceVersion": "1", **job["metadata"]}
            store.put(ALIGNMENT_JOB, {**job, "metadata": metadata})

        async def read(job: JobReference) -> Report | None:
            if self.error is not None:
                raise self.error
            return self.report

        routes = report_routes(store, read)
        async with (
            http_server(free_port(), CollectorRegistry(), lambda: None, lambda: None, routes) as port,
            aiohttp.ClientSession(auto_decompress=False) as session,
        ):
            yield session, f"http://127.0.0.1:{port}/reports"

    @pytest.mark.parametrize("accepted", ["gzip", "identity"])
    @pytest.mark.parametrize(
        ("path", "content", "kind"),
        [("team/job", PAGE, "text/html"), ("team/job.json", NUMBERS, "application/json")],
    )
    async def test_page_and_numbers(self, accepted: str, path: str, content: bytes, kind: str) -> None:
        headers = {"Accept-Encoding": accepted}
        async with self.served() as (session, url), session.get(f"{url}/{path}", headers=headers) as response:
            body = await response.read()
            assert response.status == 200
            assert response.content_type == kind
            if accepted == "gzip":
                assert response.headers["Content-Encoding"] == "gzip"
                body = gzip.decompress(body)
            assert body == content
            policy = response.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
            assert "script" not in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"

    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("team/other", "there is no AlignmentJob team/other"),
            ("team/<b>x", "there is no AlignmentJob team/<b>x"),
            ("elsewhere/job", "there is no AlignmentJob elsewhere/job"),
            ("team/new", "has no report yet"),
            ("team/job", "It lies in the job's workspace: jobs/team/job-u/report.html"),
            ("team/job.json", "It lies in the job's workspace"),
        ],
    )
    async def test_why_there_is_none_is_said(self, path: str, words: str) -> None:
        self.report = None
        done = {"metadata": {"name": "job"}, "status": {"report": "jobs/team/job-u/report.html"}}
        new = {"metadata": {"name": "new", "uid": "n"}}
        async with self.served(done, new) as (session, url), session.get(f"{url}/{path}") as response:
            assert response.status == 404
            assert response.content_type == "text/plain"
            assert words in await response.text()

    async def test_a_job_may_be_called_like_a_file(self) -> None:
        twins = [{"metadata": {"name": name, "uid": name}} for name in ("job", "job.json")]
        async with self.served(*twins) as (session, url), session.get(f"{url}/team/job.json") as response:
            assert response.content_type == "text/html"

    async def test_an_api_server_that_does_not_answer_and_a_spoilt_report_are_told(self) -> None:
        self.error = UnavailableError("cannot read the report of team/job: busy")
        async with self.served() as (session, url), session.get(f"{url}/team/job") as response:
            assert (response.status, await response.text()) == (503, "cannot read the report of team/job: busy\n")
        self.error, self.report = None, Report(b"junk", b"junk")
        headers = {"Accept-Encoding": "identity"}
        async with self.served() as (session, url), session.get(f"{url}/team/job", headers=headers) as response:
            assert response.status == 502

    async def test_what_is_not_listed_yet_is_not_said_to_be_missing(self) -> None:
        self.starting = True
        async with self.served() as (session, url), session.get(f"{url}/team/job") as response:
            assert response.status == 503

    async def test_many_readers_at_once(self) -> None:
        async with self.served() as (session, url):

            async def status() -> int:
                async with session.get(f"{url}/team/job") as response:
                    await response.read()
                    return response.status

            assert await asyncio.gather(*(status() for _ in range(50))) == [200] * 50

    async def test_nothing_can_be_written(self) -> None:
        async with self.served() as (session, url), session.post(f"{url}/team/job", data=b"x") as response:
            assert response.status == 405
