"""Finds out everything about the candidates and the baseline: one model after the other, then the judges.

Each model is loaded whole into every process, when it is first needed: memory must hold the largest of them once per
process. The candidates come first, for the baseline is asked about what they answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from alignment_api.contract import JobLayout, StageLayout
from alignment_api.v1alpha1 import Evaluate, GateMetric, Judge, Stage, Tokenizer
from alignment_api.v1alpha1.evaluation import Engine, LlmJudge
from alignment_api.v1alpha1.evaluation.evaluate import BASELINE

from ..data import store, texts
from ..data.rows import Messages, Pair, Prompt
from . import passes, scoring
from .contestants import Contestant
from .findings import Findings
from .gang import Gang
from .judges import llm
from .judges.rubrics import Comparison
from .language_model import LanguageModel
from .loaded import on_demand
from .measurement import Measurement
from .measures import perplexity
from .measures.units import Unit, measurement


class _Measure(NamedTuple):
    """What is measured of a language model itself, on so many items."""

    items: int
    measure: Callable[[Contestant, passes.Model], list[Unit]]
    measurement: Callable[[str, Sequence[Unit], Sequence[Unit]], Measurement]


@dataclass(frozen=True)
class Collection:
    """What there is to find out, and who finds it out.

    Attributes:
        stage: the stage.
        path: its path in the manifest, such as ``spec.stages[2]``.
        evaluate: its settings.
        contestants: the candidates in the order of the manifest, then the baseline.
        models: path below the stage -> folder of a model, relative to the workspace.
        overrides: the user's tokenizer settings.
        engine: what generates.
        layout: the job's folders.
        gang: the processes.
    """

    stage: Stage
    path: str
    evaluate: Evaluate
    contestants: Sequence[Contestant]
    models: Mapping[str, str]
    overrides: Tokenizer
    engine: Engine
    layout: JobLayout
    gang: Gang

    def run(self) -> Findings:
        """What was found; verdicts of language models on rank 0 alone, all else on every process.

        Raises:
            ConfigurationError: a judge or classifier is none, or an endpoint refuses.
            UnavailableError: the endpoint of a judge is gone; what it answered is kept.
        """
        prompts, pairs = held_out(self._folders)
        findings = Findings(prompts, pairs, [contestant.name for contestant in self._candidates])
        measures = [*self._texts(), *self._tasks()]
        models = len(self.contestants)
        self.gang.expect(self._items(findings) + models * sum(measure.items for measure in measures))
        found: list[dict[str, list[Unit]]] = [{} for _ in measures]
        for contestant in self.contestants:
            with on_demand(partial(self._load, contestant)) as model:
                self._ask(contestant, model, findings)
                for measure, units in zip(measures, found, strict=True):
                    units[contestant.name] = measure.measure(contestant, model)
        for measure, units in zip(measures, found, strict=True):
            findings.measured += [
                measure.measurement(name, units[name], units[BASELINE]) for name in findings.candidates
            ]
        self._classify(findings)
        for position, judge in enumerate(self.evaluate.judges):
            self._judge(judge, f"evaluate.judges[{position}]", findings)
        return findings

    @property
    def _candidates(self) -> Sequence[Contestant]:
        return self.contestants[:-1]

    @property
    def _folders(self) -> StageLayout:
        return self.layout.stage(self.stage.name)

    @property
    def _batch_size(self) -> int:
        return self.evaluate.generation.batch_size

    def _items(self, findings: Findings) -> int:
        """Prompts, responses and pairs that all passes together go over."""
        models, candidates = len(self.contestants), len(self._candidates)
        baseline = self.contestants[-1]
        own = sum(candidate.vocabulary == baseline.vocabulary for candidate in self._candidates)
        scoring_passes = sum(judge.reward_model is not None for judge in self.evaluate.judges)
        scoring_passes += len(self.evaluate.measures.classifiers)
        comparing = sum(judge.llm is not None for judge in self.evaluate.judges)
        of_prompts = models + own + models + scoring_passes * models + comparing * candidates
        return of_prompts * len(findings.prompts) + 2 * models * len(findings.pairs)

    def _texts(self) -> Iterator[_Measure]:
        for text in self.evaluate.measures.texts:
            documents = texts.read(text, self._folders)
            ask = partial(perplexity.measure, text=text, documents=documents, batch_size=self._batch_size)
            yield _Measure(len(documents), partial(ask, gang=self.gang), partial(perplexity.measurement, text))

    def _tasks(self) -> Iterator[_Measure]:
        if not self.evaluate.measures.tasks:
            return
        from .measures import harness  # takes seconds

        for position, task in enumerate(self.evaluate.measures.tasks):
            questions = harness.Questions.load(task, self._folders, f"{self.path}.evaluate.measures.tasks[{position}]")
            ask = partial(harness.measure, questions=questions, batch_size=self._batch_size, gang=self.gang)
            yield _Measure(len(questions), ask, questions.measurement)

    def _load(self, contestant: Contestant) -> LanguageModel:
        return LanguageModel(str(contestant.folder), self.overrides, self.gang.device)

    def _ask(self, contestant: Contestant, model: passes.Model, findings: Findings) -> None:
        """Responses and log-probabilities of one model; of the baseline, also of what the candidates answered."""
        prompts, name, baseline = findings.prompts, contestant.name, self.contestants[-1]
        findings.responses[name] = passes.responses(
            contestant, model, prompts, self.evaluate.generation, self.engine, self.overrides, self.gang
        )
        if findings.pairs:
            findings.preferences[name] = passes.preferences(
                contestant, model, findings.pairs, self._batch_size, self.gang
            )
        likelihoods = partial(passes.likelihoods, contestant, model, batch_size=self._batch_size, gang=self.gang)
        if name != BASELINE:
            if contestant.vocabulary == baseline.vocabulary:
                findings.own[name] = likelihoods(contestant, prompts, findings.responses[name])
            return
        for other in self.contestants:
            findings.under_baseline[other.name] = likelihoods(other, prompts, findings.responses[other.name])

    def _classify(self, findings: Findings) -> None:
        for position, measure in enumerate(self.evaluate.measures.classifiers):
            field = f"evaluate.measures.classifiers[{position}]"
            folder = self.layout.workspace / self.models[f"{field}.model"]
            found = scoring.classified(
                measure, folder, f"{self.path}.{field}", findings.responses, self._batch_size, self.gang
            )
            findings.measured += [
                measurement(GateMetric.CLASSIFIER, measure.name, name, found[name], found[BASELINE])
                for name in findings.candidates
            ]

    def _judge(self, judge: Judge, field: str, findings: Findings) -> None:
        """Scores or verdicts of one judge."""
        if judge.llm is not None:
            compare = partial(self._compare, judge.name, judge.llm, f"{self.path}.{field}.llm", findings)
            self.gang.alone(compare, len(findings.prompts) * len(findings.candidates))
        elif judge.heuristic is not None:
            findings.scores[judge.name] = scoring.heuristic_scores(judge.heuristic, findings.responses)
        elif judge.reward_model is not None:
            # Another stage's model was exported with the job's tokenizer; a model from elsewhere brings its own.
            overrides = self.overrides if judge.reward_model.from_stage is not None else Tokenizer()
            below = f"{field}.rewardModel"
            findings.scores[judge.name] = scoring.reward_scores(
                judge,
                self.layout.workspace / self.models[below],
                overrides,
                f"{self.path}.{below}",
                findings.prompts,
                findings.responses,
                self._batch_size,
                self.gang,
            )

    def _compare(
        self, name: str, judge: LlmJudge, field: str, findings: Findings, advance: Callable[[int], None]
    ) -> None:
        """Add a language model's verdicts on all candidates, and what they cost."""
        # Prompt by prompt: a budget that runs out then leaves the same prompts of all candidates without a verdict.
        comparisons = [
            Comparison(prompt, findings.responses[candidate][index].text, findings.responses[BASELINE][index].text)
            for index, prompt in enumerate(findings.prompts)
            for candidate in findings.candidates
        ]
        spent = self._folders.evaluation / f"spent-{name}"
        verdicts = llm.compare(
            judge,
            field,
            comparisons,
            cache=self.layout.verdicts,
            spent=spent,
            attempt=self.gang.attempt,
            advance=advance,
        )
        count = len(findings.candidates)
        findings.verdicts[name] = {
            candidate: verdicts[place::count] for place, candidate in enumerate(findings.candidates)
        }
        findings.costs[name] = llm.costs(spent, verdicts)


def held_out(folders: StageLayout) -> tuple[list[Messages], list[Pair]]:
    """The prompts of the held-out rows, each once, and the rows that are pairs."""
    rows = [row for row in store.read_rows(folders.data / store.EVAL) if isinstance(row, Pair | Prompt)]
    prompts = list({repr(row.prompt): row.prompt for row in rows}.values())
    return prompts, [row for row in rows if isinstance(row, Pair)]
