"""The job's report in a real browser: nothing is loaded, nothing overflows, all of it can be read, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from alignment_api.contract import Problem
from alignment_trainer import job_report
from alignment_trainer.launch import http
from alignment_trainer.launch.published import PAGE, Publication
from alignment_trainer.run_files import RunFiles

from ..browser import Page, browser_page
from .report_jobs import Job, whole_job
from .test_job_report import PROMOTED, hostile_job

# The ratio of WCAG 2.2, 1.4.3, of each visible text to the nearest background behind it.
CONTRASTS = """
(() => {
  const parsed = text => text.match(/[\\d.]+/g).map(Number);
  const light = rgb => {
    const linear = c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgb.slice(0, 3).map(c => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parsed(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || element.tagName == 'title' || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const own = light(parsed(element.namespaceURI.endsWith('svg') ? style.fill : style.color));
    const back = light(behind(element));
    const ratio = (Math.max(own, back) + 0.05) / (Math.min(own, back) + 0.05);
    found.push([ratio, texts.currentNode.data.trim().slice(0, 40)]);
  }
  return found;
})()
"""
STRUCTURE = """
({
  scripts: document.scripts.length,
  images: document.images.length,
  handlers: [...document.querySelectorAll('*')].filter(
    e => [...e.attributes].some(a => a.name.startsWith('on'))
  ).length,
  uncaptioned: [...document.querySelectorAll('table')].filter(t => !t.caption).length,
  unnamed: [...document.querySelectorAll('svg')].filter(
    s => !s.getAttribute('aria-label') && !document.getElementById(s.getAttribute('aria-labelledby'))
  ).length,
  unreachable: [...document.querySelectorAll('.scroll')].filter(s => s.tabIndex < 0).length,
  dead: [...document.querySelectorAll('a')].filter(a => !document.querySelector(a.getAttribute('href'))).length,
  headings: [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(h => Number(h.tagName[1])),
})
"""
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
UNFOLD = "document.querySelectorAll('details').forEach(fold => fold.open = true)"


@contextmanager
def served(job: Job, folder: Path, **options: Any) -> Iterator[str]:
    """The address of the job's report on the server of its Pod."""
    report = job_report.write(job.config, job.layout, **options)
    assert report is not None
    publication = Publication()
    publication.offer(report)
    server = http.serve(0, RunFiles(folder), folder / "none", publication)
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{PAGE}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The report of a pipeline that ran to its end."""
    folder = tmp_path_factory.mktemp("report")
    with served(whole_job(folder), folder, promotion=PROMOTED) as url:
        yield url


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A report in which every text tries to break out."""
    folder = tmp_path_factory.mktemp("hostile")
    problem = Problem(field="x", message="<script>alert(5)</script>" * 30)
    with served(hostile_job(folder), folder, problems=[problem]) as url:
        yield url


async def fits(page: Page) -> None:
    """Nothing makes the page wider than its window, folded or not."""
    assert await page.evaluate(OVERFLOW) == 0
    await page.evaluate(UNFOLD)
    assert await page.evaluate(OVERFLOW) == 0


async def test_the_report_loads_nothing_fits_and_can_be_read(whole: str) -> None:
    backgrounds = set()
    async with browser_page() as page:
        for width in (320, 1280):
            for dark in (False, True):
                await page.open(whole, width=width, dark=dark)
                assert page.requests == [whole]
                assert page.complaints == []
                await fits(page)
                contrasts = await page.evaluate(CONTRASTS)
                assert len(contrasts) > 500
                assert [text for text in contrasts if text[0] < 4.5] == []
                backgrounds.add(await page.evaluate(BACKGROUND))
        structure = await page.evaluate(STRUCTURE)
        assert len(await page.screenshot()) > 50_000
    assert len(backgrounds) == 2
    headings = structure.pop("headings")
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))
    assert structure == dict.fromkeys(structure, 0)


async def test_the_narrow_page_has_its_own_picture_of_the_pipeline(whole: str) -> None:
    pictures = (
        "[...document.querySelectorAll('.picture')].map(p => [p.checkVisibility(), p.scrollWidth - p.clientWidth])"
    )
    async with browser_page() as page:
        await page.open(whole, width=1280)
        assert await page.evaluate(pictures) == [[True, 0], [False, 0]]
        await page.open(whole, width=320)
        assert await page.evaluate(pictures) == [[False, 0], [True, 0]]


async def test_nothing_that_anybody_wrote_runs_or_is_loaded(hostile: str) -> None:
    async with browser_page() as page:
        await page.open(hostile, width=320)
        await fits(page)
        structure = await page.evaluate(STRUCTURE)
        assert (page.requests, page.complaints) == ([hostile], [])
    assert (structure["scripts"], structure["images"], structure["handlers"]) == (0, 0, 0)
