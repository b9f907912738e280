"""An evaluate stage, in one process of its gang.

Each model is loaded whole into every process, one after the other: memory must hold the largest of them once per
process. Prompts are dealt to the processes in batches; results are gathered on all of them, and rank 0 writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean

from alignment_api.contract import JobLayout, RunConfig, TrainerPhase
from alignment_api.v1alpha1 import Evaluate, GateStatus, Judge, Stage, Tokenizer
from alignment_api.v1alpha1.evaluation import Generation

from .. import device, distributed
from ..data import store
from ..data.rows import Messages, Pair, Prompt, Role, message
from ..models.reward_model import RewardModel
from ..prepared import Prepared
from ..reporter import Reporter
from ..run_files import RunFiles
from . import report
from .gang import Gang
from .gates import decide
from .judges import heuristic
from .language_model import LanguageModel, Response
from .statistics import Tally

SIDES = ("candidate", "baseline")


def run(config: RunConfig, layout: JobLayout, stage: Stage, attempt: int) -> list[GateStatus]:
    """Evaluate, write the report, and decide.

    Args:
        config: the whole job.
        layout: its folders.
        stage: an evaluate stage.
        attempt: number of the attempt.

    Returns:
        What each gate decided, the same on every process.

    Raises:
        ConfigurationError: a judge's model is no reward model.
    """
    evaluate = stage.evaluate
    if evaluate is None:
        raise ValueError(f"stage {stage.name} is not an evaluate stage")
    process = distributed.join_gang(device.detect(), config.spec.runtime_of(stage))
    folders = layout.stage(stage.name)
    own = folders.attempt(attempt)
    if process.is_main_process:
        own.root.mkdir(parents=True, exist_ok=True)
    reporter = Reporter(
        RunFiles.of_this_process() if process.is_local_main_process else None,
        stage.name,
        attempt,
        own.metrics if process.is_main_process else None,
    )
    rows = [row for row in store.read_rows(folders.data / store.EVAL) if isinstance(row, Pair | Prompt)]
    prompts = list({repr(row.prompt): row.prompt for row in rows}.values())
    pairs = [row for row in rows if isinstance(row, Pair)]
    reward_models = sum(judge.reward_model is not None for judge in evaluate.judges)
    gang = Gang(process, reporter, total=2 * (len(prompts) * (1 + reward_models) + 2 * len(pairs)))

    prepared = Prepared.load(layout)
    prepared.trust_models(layout)
    runner = _Runner(evaluate, prepared.models[stage.name], config.spec.tokenizer, layout, gang)
    responses, gains = runner.run_models(prompts, pairs)
    scores = {
        judge.name: runner.judge(judge, position, prompts, responses) for position, judge in enumerate(evaluate.judges)
    }
    tallies = {
        judge.name: Tally.of_differences(_differences(scores[judge.name]), judge.tie_margin)
        for judge in evaluate.judges
    }
    preferences = Tally.of_differences(gains)
    gates = decide(evaluate.gates, tallies, preferences)
    metrics = _metrics(responses, scores, tallies, preferences, gains)
    if process.is_main_process:
        report.write(folders.report, stage, prompts, responses, scores, tallies, metrics, gates)
    reporter.metrics(metrics, phase=TrainerPhase.FINISHED)
    return gates


class _Runner:
    """Runs models over prompts, one model at a time."""

    def __init__(
        self, evaluate: Evaluate, models: Mapping[str, str], overrides: Tokenizer, layout: JobLayout, gang: Gang
    ) -> None:
        self._evaluate = evaluate
        self._models = models
        self._overrides = overrides
        self._layout = layout
        self._gang = gang

    def run_models(
        self, prompts: Sequence[Messages], pairs: Sequence[Pair]
    ) -> tuple[dict[str, list[Response]], list[float]]:
        """Responses of each side, and for each pair how much the candidate gains on the baseline.

        The gain is log p(chosen) - log p(rejected) under the candidate, less the same under the baseline: DPO's
        implicit reward margin over beta (Rafailov et al., 2023, arXiv:2305.18290).
        """
        settings = self._evaluate.generation
        answered = [(pair.prompt, answer) for pair in pairs for answer in (pair.chosen, pair.rejected)]
        responses: dict[str, list[Response]] = {}
        margins: dict[str, list[float]] = {}
        for side in SIDES:
            field, _ = self._evaluate.candidate_fields().get(side, (side, None))
            folder = self._layout.workspace / self._models[f"evaluate.{field}"]
            model = LanguageModel(str(folder), self._overrides, self._gang.device)
            responses[side] = self._gang.share(prompts, settings.batch_size, partial(_respond, model, settings))
            sums = self._gang.share(answered, settings.batch_size, partial(_log_probabilities, model))
            margins[side] = [chosen - rejected for chosen, rejected in zip(sums[::2], sums[1::2], strict=True)]
        candidate, baseline = (margins[side] for side in SIDES)
        return responses, [ours - theirs for ours, theirs in zip(candidate, baseline, strict=True)]

    def judge(
        self, judge: Judge, position: int, prompts: Sequence[Messages], responses: dict[str, list[Response]]
    ) -> dict[str, list[float]]:
        """The judge's score of every response, by side."""
        if judge.heuristic is not None:
            limit = judge.heuristic.repetition_limit
            return {side: [heuristic.score(answer, limit) for answer in responses[side]] for side in SIDES}
        if judge.reward_model is None:
            raise ValueError(f"judge {judge.name} has no member")
        # Another stage's model was exported with the job's tokenizer; a model from elsewhere brings its own.
        overrides = self._overrides if judge.reward_model.from_stage is not None else Tokenizer()
        field = f"evaluate.judges[{position}].rewardModel"
        folder = str(self._layout.workspace / self._models[field])
        model = RewardModel(folder, overrides, self._gang.device, field)
        size = self._evaluate.generation.batch_size
        return {
            side: self._gang.share(
                [(prompt, answer.text) for prompt, answer in zip(prompts, responses[side], strict=True)],
                size,
                partial(_scores, model),
            )
            for side in SIDES
        }


def _respond(model: LanguageModel, settings: Generation, number: int, prompts: Sequence[Messages]) -> list[Response]:
    return model.respond(prompts, settings, number)


def _log_probabilities(model: LanguageModel, _: int, answered: Sequence[tuple[Messages, Messages]]) -> list[float]:
    return model.log_probabilities(answered)


def _scores(model: RewardModel, _: int, answered: Sequence[tuple[Messages, str]]) -> list[float]:
    return model.scores([[*prompt, message(Role.ASSISTANT, text)] for prompt, text in answered])


def _differences(scores: dict[str, list[float]]) -> list[float]:
    candidate, baseline = (scores[side] for side in SIDES)
    return [ours - theirs for ours, theirs in zip(candidate, baseline, strict=True)]


def _metrics(
    responses: dict[str, list[Response]],
    scores: dict[str, dict[str, list[float]]],
    tallies: dict[str, Tally],
    preferences: Tally,
    gains: Sequence[float],
) -> dict[str, float]:
    """Numbers for status: those of the first judge plainly named, all of them under their judge's name."""
    metrics: dict[str, float] = {}
    first = next(iter(tallies))
    for prefix, name in [("", first), *((f"{name}/", name) for name in tallies)]:
        tally = tallies[name]
        counts = {"wins": tally.wins, "ties": tally.ties, "losses": tally.losses}
        metrics |= {f"{prefix}{key}": float(value) for key, value in counts.items()}
        if tally.rate is not None:
            metrics[f"{prefix}winRate"] = tally.rate
    if preferences.rate is not None:
        metrics |= {"preferenceAccuracy": preferences.rate, "preferenceMargin": fmean(gains)}
    for side in SIDES:
        metrics |= {f"{name}/score/{side}": fmean(by_side[side]) for name, by_side in scores.items()}
        metrics[f"responseTokens/{side}"] = fmean(answer.tokens for answer in responses[side])
    return metrics
