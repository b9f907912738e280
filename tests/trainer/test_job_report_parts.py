"""The pure parts of the job's report: curves, charts, cost, differences of texts, pictures of pipelines, findings."""

from __future__ import annotations

import math
import random
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment_api.v1alpha1 import GateStatus, Runtime
from alignment_trainer.job_report import charts, cost, curves, differences, findings
from alignment_trainer.job_report.curves import Reported
from alignment_trainer.job_report.graph_layout import wide
from alignment_trainer.job_report.graph_stack import narrow
from alignment_trainer.job_report.model import (
    Attempt,
    Curve,
    DataReport,
    Edge,
    Graph,
    Node,
    NodeKind,
    Series,
    Severity,
    StageReport,
    State,
)
from alignment_trainer.job_report.picture import NODE_HEIGHT, NODE_WIDTH

VALUES = st.floats(-curves.LARGEST, curves.LARGEST)
FEW = settings(deadline=None, max_examples=60)
WORDS = st.text(alphabet="ab \n\t\u00e9\U0001f600", max_size=60)


def losses(*points: tuple[int, float]) -> list[tuple[int, dict[str, float]]]:
    return [(step, {"loss": value}) for step, value in points]


def test_steps_that_are_done_again_are_shown_once() -> None:
    first = Reported(0, losses((1, 0.9), (2, 0.8), (3, 0.7), (4, 0.6)))
    second = Reported(2, losses((3, 0.71), (4, 0.61), (5, 0.51)))
    assert curves.merged([first, second])["loss"] == [(1, 0.9), (2, 0.8), (3, 0.71), (4, 0.61), (5, 0.51)]


def test_what_a_later_attempt_undid_is_not_shown_though_it_reports_other_steps() -> None:
    first = Reported(0, losses((10, 0.9), (20, 0.8), (30, 0.7)))
    assert curves.merged([first, Reported(15, losses((16, 0.85)))])["loss"] == [(10, 0.9), (16, 0.85)]


def test_an_attempt_that_does_not_say_where_it_went_on_replaces_what_it_reports_and_what_follows() -> None:
    first = Reported(None, losses((1, 0.9), (2, 0.8), (3, 0.7)))
    assert curves.merged([first, Reported(None, losses((2, 0.81)))])["loss"] == [(1, 0.9), (2, 0.81)]


@FEW
@given(values=st.lists(VALUES, min_size=1, max_size=400), limit=st.integers(4, 60))
def test_thinning_keeps_extremes_ends_and_order(values: list[float], limit: int) -> None:
    points = list(enumerate(values))
    thinned = curves.thinned(points, limit)
    assert len(thinned) <= limit
    assert set(thinned) <= set(points)
    assert [step for step, _ in thinned] == sorted({step for step, _ in thinned})
    assert (thinned[0], thinned[-1]) == (points[0], points[-1])
    assert {min(values), max(values)} <= {value for _, value in thinned}


@pytest.mark.parametrize("line", [None, [], "x", {}, {"step": "3"}, {"step": True}, {"step": -1}, {"loss": 1.0}])
def test_lines_without_a_step_are_left_out(line: object) -> None:
    assert curves.entry_of(line) is None


def test_only_finite_numbers_are_values() -> None:
    line = {"step": 3, "time": "x", "loss": 0.5, "a": math.nan, "b": math.inf, "c": True, "d": "1", "e": None, "f": 2}
    assert curves.entry_of(line) == (3, {"loss": 0.5, "f": 2.0})


def test_a_metric_and_the_same_on_held_out_rows_share_a_chart_and_the_most_wanted_come_first() -> None:
    points = [(1, 0.5), (2, 0.4)]
    names = ("zeta", "eval_loss", "loss", "eval_only", "learning_rate", "grad_norm")
    shown, left_out = curves.curves(dict.fromkeys(names, points), charts=4, points=100)
    assert [(curve.name, [series.name for series in curve.series]) for curve in shown] == [
        ("loss", ["loss", "eval_loss"]),
        ("grad_norm", ["grad_norm"]),
        ("learning_rate", ["learning_rate"]),
        ("eval_only", ["eval_only"]),
    ]
    assert left_out == ["zeta"]


@FEW
@given(values=st.lists(st.tuples(st.integers(0, 2**53), VALUES), min_size=1, max_size=20, unique_by=lambda p: p[0]))
def test_charts_stay_in_their_frame_whatever_the_numbers(values: list[tuple[int, float]]) -> None:
    points = sorted(values)
    numbers = [value for _, value in points]
    series = Series(name="x", points=points, reports=1, latest=0, lowest=min(numbers), highest=max(numbers))
    chart = charts.chart_of(Curve(name="x", series=[series]), [])
    for pair in chart.lines[0].points.split():
        x, y = map(float, pair.split(","))
        assert chart.left - 1 <= x <= chart.right + 1
        assert chart.top - 1 <= y <= chart.bottom + 1
    assert 1 <= len(chart.up) <= 12
    assert 1 <= len(chart.across) <= 12


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.5, 1.0]), (3, 97, [50]), (0, 600, [0, 200, 400, 600]), (5, 5, [5]), (0, 2e-5, [0, 5e-6, 1e-5])],
)
def test_ticks_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert charts.ticks(low, high, 4)[: len(expected)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.5, "0.5"), (-1.571, "-1.571"), (5e-7, "5e-7"), (1234567, "1.23e6"), (12345, "12\u202f345")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert charts.short(value) == text.replace("-", "\u2212")


@pytest.mark.parametrize(
    ("value", "lower", "upper", "expected"),
    [
        (0.596153, 0.42751, 0.75234, ("0.596", "[0.428, 0.752]")),
        (8.91234, 8.71234, 9.11234, ("8.912", "[8.712, 9.112]")),
        (51234.5, 50000.2, 52468.8, ("51234", "[50000, 52469]")),
        (-0.01184, -0.08137, 0.06084, ("-0.0118", "[-0.0814, 0.0608]")),
        (1.0, 1.0, 1.0, ("1", "[1, 1]")),
        (0.5, None, None, ("0.5", None)),
        (-0.961, -1.0078, None, ("-0.961", "[-1.008, ∞]")),
        (1e-18, -7e-18, 7e-18, ("1e-18", "[-7e-18, 7e-18]")),
    ],
)
def test_numbers_have_the_digits_that_their_intervals_leave(
    value: float, lower: float | None, upper: float | None, expected: tuple[str, str | None]
) -> None:
    found = charts.with_interval(value, lower, upper)
    assert tuple(text and text.replace("\u2212", "-") for text in found) == expected


def test_the_plot_of_a_gate_puts_the_threshold_between_interval_and_side_that_passes() -> None:
    gate = GateStatus(metric="winRate", passed=True, value=0.6, lower=0.56, upper=0.64, at_least=0.55)
    plot = charts.interval_plot(gate)
    assert plot is not None
    assert plot.lower is not None
    assert plot.upper is not None
    assert plot.threshold < plot.lower < plot.value < plot.upper
    assert plot.passing_from == plot.threshold
    turned = charts.interval_plot(gate.model_copy(update={"at_least": None, "at_most": 0.55}))
    assert turned is not None
    assert (turned.passing_from, turned.passing_width) == (0.0, turned.threshold)


@pytest.mark.parametrize("changes", [{"value": None}, {"at_least": None}, {"value": math.inf}])
def test_a_gate_that_was_not_measured_has_no_plot(changes: dict[str, float | None]) -> None:
    gate = GateStatus(metric="winRate", passed=False, value=0.6, lower=0.5, upper=0.7, at_least=0.55)
    assert charts.interval_plot(gate.model_copy(update=changes)) is None


def attempt(number: int, seconds: float, **changes: object) -> Attempt:
    return Attempt.model_validate({"number": number, "state": State.SUCCEEDED, "seconds": seconds} | changes)


def test_cost_counts_every_attempt_with_its_own_size() -> None:
    attempts = [attempt(1, 1800, nodes=4, gpus_per_node=8, lost_steps=20), attempt(2, 3600, nodes=2, gpus_per_node=8)]
    found = cost.stage_cost(attempts, tokens=1000)
    assert (found.node_hours, found.gpu_hours) == (4 * 0.5 + 2 * 1, 4 * 8 * 0.5 + 2 * 8 * 1)
    assert (found.restarts, found.lost_steps, found.tokens) == (1, 20, 1000)
    both = cost.total([found, cost.stage_cost([], 0)])
    assert both == found


@pytest.mark.parametrize(
    ("runtime", "gpus"),
    [
        ({}, 0),
        ({"processesPerNode": 4}, 0),
        ({"resources": {"limits": {"nvidia.com/gpu": "8", "cpu": 64}}}, 8),
        ({"resources": {"requests": {"amd.com/gpu": 4}, "limits": {"amd.com/gpu": 4}}}, 4),
        (
            {
                "processesPerNode": 2,
                "podTemplate": {"resourceClaims": [{"name": "gpus", "resourceClaimTemplateName": "two-gpus"}]},
            },
            2,
        ),
    ],
)
def test_gpus_of_a_pod_follow_from_what_it_asks_for(runtime: dict[str, object], gpus: int) -> None:
    assert cost.gpus_per_node(Runtime.model_validate(runtime)) == gpus


@FEW
@given(before=WORDS, after=WORDS)
def test_marked_texts_are_the_texts(before: str, after: str) -> None:
    old, new = differences.marked(before, after)
    assert "".join(part.text for part in old) == before
    assert "".join(part.text for part in new) == after
    for length in (0, 3, 1000):
        first, rest = differences.split(new, length)
        assert "".join(part.text for part in [*first, *rest]) == after


def test_words_that_differ_are_marked_and_others_are_not() -> None:
    old, new = differences.marked("the cat sat on the mat", "the dog sat on a red mat")
    assert [part.text.split() for part in old if part.own] == [["cat"], ["the"]]
    assert [part.text.split() for part in new if part.own] == [["dog"], ["a", "red"]]
    assert not any(part.own for part in differences.marked("same  words", "same words")[0])


def test_differences_of_long_texts_are_found_in_a_moment() -> None:
    draw = random.Random(0)
    one, other = (" ".join(draw.choices("abcd", k=20_000)) for _ in range(2))
    began = time.monotonic()
    differences.marked(one, other)
    assert time.monotonic() - began < 1


def graph(*edges: tuple[str, str]) -> Graph:
    names = dict.fromkeys(name for edge in edges for name in edge)
    nodes = [Node(id=name, kind=NodeKind.STAGE, label=name) for name in names]
    return Graph(nodes=nodes, edges=[Edge(source=a, target=b, label="model", main=True) for a, b in edges])


GRAPHS = [
    Graph(),
    Graph(nodes=[Node(id="a", kind=NodeKind.STAGE, label="a")]),
    graph(("base", "sft"), ("sft", "dpo"), ("sft", "check"), ("dpo", "check"), ("base", "check")),
    graph(*((f"s{a}", f"s{b}") for a in range(16) for b in range(a + 1, 16))),
    graph(*((f"s{a}", f"s{a + 1}") for a in range(15))),
    graph(*(("base", f"s{a}") for a in range(15)), *((f"s{a}", "check") for a in range(15))),
]


@pytest.mark.parametrize("draw", [wide, narrow])
@pytest.mark.parametrize("pipeline", GRAPHS, ids=lambda pipeline: f"{len(pipeline.nodes)}-{len(pipeline.edges)}")
def test_nodes_stand_apart_in_the_picture_and_after_what_they_take(draw: object, pipeline: Graph) -> None:
    picture = draw(pipeline)  # type: ignore[operator]
    assert len(picture.nodes) == len(pipeline.nodes)
    assert len(picture.edges) == len(pipeline.edges)
    at = {node.node.id: node for node in picture.nodes}
    for node in picture.nodes:
        assert 0 <= node.x <= picture.width - NODE_WIDTH
        assert 0 <= node.y <= picture.height - NODE_HEIGHT
    for one in picture.nodes:
        for other in picture.nodes:
            apart = abs(one.x - other.x) >= NODE_WIDTH or abs(one.y - other.y) >= NODE_HEIGHT
            assert apart or one is other
    for edge in pipeline.edges:
        source, target = at[edge.source], at[edge.target]
        assert source.x < target.x if draw is wide else source.y < target.y


def stage(**changes: object) -> StageReport:
    return StageReport.model_validate({"name": "dpo", "method": "dpo", "state": State.SUCCEEDED} | changes)


def data(**changes: object) -> DataReport:
    return DataReport.model_validate({"path": "data.html", "rows": 100, "trainRows": 90} | changes)


@pytest.mark.parametrize(
    ("found", "severity", "words"),
    [
        (stage(data=data(leakedRows=3)), Severity.WARNING, "3 held-out rows have a prompt"),
        (stage(data=data(truncatedRows=40)), Severity.WARNING, "40 of 90 training rows are longer"),
        (stage(data=data(chosenLongerFraction=0.9)), Severity.WARNING, "longer one in 90 % of the pairs"),
        (stage(data=data(desirableFraction=0.02)), Severity.WARNING, "2 % of the labelled rows are good"),
        (
            stage(
                data=data(limits=[{"field": "f", "counts": "bad", "rows": 9, "of": 10, "fraction": 0.9, "limit": 0}])
            ),
            Severity.ERROR,
            "9 of 10 rows: bad (f allows 0)",
        ),
        (
            stage(
                state=State.FAILED,
                attempts=[attempt(1, 5, state=State.FAILED, reason="StoppedByGuard", message="loss is NaN")],
            ),
            Severity.ERROR,
            "attempt 1 failed with StoppedByGuard: loss is NaN",
        ),
        (stage(attempts=[attempt(1, 5, state=State.LOST), attempt(2, 5)]), Severity.WARNING, "attempt 1 was lost"),
        (stage(attempts=[attempt(1, 5, state=State.STOPPED), attempt(2, 5)]), Severity.NOTE, "was told to stop"),
    ],
)
def test_findings(found: StageReport, severity: Severity, words: str) -> None:
    (finding,) = findings.findings([found], [])
    assert finding.severity is severity
    assert words in finding.text
    assert finding.stages == ["dpo"]


def test_good_data_and_whole_attempts_are_not_remarked_on() -> None:
    good = data(chosenLongerFraction=0.5, desirableFraction=0.5, truncatedRows=1, duplicateRows=2)
    ended = attempt(1, 5, ended_at=datetime.now(UTC))
    assert findings.findings([stage(data=good, attempts=[ended])], []) == []


def test_rows_that_nothing_is_learned_from_may_favour_length() -> None:
    assert findings.findings([stage(method="evaluate", data=data(chosenLongerFraction=1.0))], []) == []


def test_what_stages_share_is_said_once() -> None:
    stages = [stage(name=name, data=data(leakedRows=3)) for name in ("dpo", "simpo")]
    (finding,) = findings.findings(stages, [])
    assert finding.stages == ["dpo", "simpo"]
