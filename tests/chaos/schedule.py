"""Which faults strike when: a pure function of the seed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from .faults import BY_NAME, FAULTS, Effect, Fault, When

STEPS: Final = {"sft": 120, "dpo": 60}
"""Steps of each stage that a job can have, in the order of the stages; an outage of seconds leaves some of them."""

CHECKPOINT_EVERY: Final = 10
_FEWEST, _MOST = 4, 7
_TWO_STAGES: Final = 0.3
_LONG_DELAY: Final = 3.0
_SHORT_DELAY: Final = 0.1


@dataclass(frozen=True)
class Strike:
    """A fault at a moment.

    Attributes:
        fault: name of its kind.
        stage: the stage it strikes; empty for Prepare.
        when: what the stage is doing then.
        step: steps the stage has done, at least.
        delay: seconds to wait from then on.
        rank: the Pod it strikes, where it strikes one.
        amount: from 0 to 1: how long or how far, where that is the question.
    """

    fault: str
    stage: str
    when: When
    step: int
    delay: float
    rank: int
    amount: float

    @property
    def kind(self) -> Fault:
        return BY_NAME[self.fault]


@dataclass(frozen=True)
class RunPlan:
    """One job and what happens to it.

    Attributes:
        seed: makes this plan again: the seed of the whole suite and the number of the run.
        stages: names of its stages.
        strikes: in the order in which they happen.
    """

    seed: str
    stages: tuple[str, ...]
    strikes: tuple[Strike, ...]


def plan_suite(seed: int, faults: int, *, nodes: int = 2) -> list[RunPlan]:
    """Runs with ``faults`` faults in all; every kind comes up in the proportion of its share."""
    deck = _deck(random.Random(seed), [fault for fault in FAULTS if nodes > 1 or not fault.second_node])
    sizes = _sizes(random.Random(f"{seed}/sizes"), faults)
    dealt = [[next(deck) for _ in range(size)] for size in sizes]
    return [plan_run(f"{seed}/{number}", kinds) for number, kinds in enumerate(dealt, start=1)]


def plan_run(seed: str, kinds: Iterable[Fault]) -> RunPlan:
    """A run in which faults of these kinds strike at moments drawn from the seed."""
    draw = random.Random(seed)
    stages = tuple(STEPS) if draw.random() < _TWO_STAGES else tuple(STEPS)[:1]
    preparing: list[Strike] = []
    chosen: dict[str, list[tuple[Fault, When]]] = {stage: [] for stage in stages}
    for fault in kinds:
        when = draw.choice(fault.moments)
        if when is When.PREPARING:
            preparing.append(_strike(draw, fault, "", when))
        else:
            chosen[draw.choice(stages)].append((fault, when))
    strikes = [strike for stage in stages for strike in _in_stage(draw, stage, chosen[stage])]
    return RunPlan(seed, stages, (*preparing, *strikes))


def _in_stage(draw: random.Random, stage: str, chosen: list[tuple[Fault, When]]) -> list[Strike]:
    """Strikes of one stage, in an order in which the moment of each comes.

    A gang loads at the start of its stage and after a fault that made it start again, and exports once unless the
    fault made it start again. What finds no such moment strikes while training.
    """
    by_effect = sorted(chosen, key=lambda choice: choice[0].effect is not Effect.RESTART)  # those first
    exporting: list[Strike] = []
    stepping: list[Strike] = []
    loading: list[Fault] = []
    for fault, when in by_effect:
        if when is When.LOADING:
            loading.append(fault)
        elif when is When.EXPORTING and (not exporting or _restarts(exporting[-1])):
            exporting.append(_strike(draw, fault, stage, when))
        else:
            stepping.append(_strike(draw, fault, stage, When.TRAINING if when is When.EXPORTING else when))
    strikes = [*sorted(stepping, key=lambda strike: strike.step), *exporting]
    for fault in loading:
        places = [place for place in range(len(strikes) + 1) if _loads_at(strikes, place, fault)]
        if places:
            strikes.insert(draw.choice(places), _strike(draw, fault, stage, When.LOADING))
        else:
            _insert_by_step(strikes, _strike(draw, fault, stage, When.TRAINING))
    return strikes


def _insert_by_step(strikes: list[Strike], strike: Strike) -> None:
    """Put a strike behind those of earlier steps, and behind those that strike while the gang loads after them."""
    place = 0
    for number, other in enumerate(strikes, start=1):
        if other.when is When.LOADING or (other.when is not When.EXPORTING and other.step <= strike.step):
            place = number
    strikes.insert(place, strike)


def _loads_at(strikes: list[Strike], place: int, fault: Fault) -> bool:
    """Whether the gang loads between two strikes, and after the fault still for the later one if that needs it."""
    needed = place < len(strikes) and strikes[place].when is When.LOADING
    if needed and fault.effect is not Effect.RESTART:
        return False
    return place == 0 or _restarts(strikes[place - 1])


def _strike(draw: random.Random, fault: Fault, stage: str, when: When) -> Strike:
    last = STEPS[stage] - CHECKPOINT_EVERY if stage else 0
    step = 0
    if when is When.TRAINING:
        step = draw.randint(2, last)
    elif when is When.CHECKPOINTING:
        step = draw.randrange(CHECKPOINT_EVERY, last + 1, CHECKPOINT_EVERY)
    longest = _LONG_DELAY if when in (When.PREPARING, When.LOADING) else _SHORT_DELAY
    return Strike(
        fault=fault.name,
        stage=stage,
        when=when,
        step=step,
        delay=round(draw.random() * longest, 3),
        rank=draw.randrange(2),
        amount=round(draw.random(), 3),
    )


def _restarts(strike: Strike) -> bool:
    return strike.kind.effect is Effect.RESTART


def _deck(draw: random.Random, kinds: list[Fault]) -> Iterator[Fault]:
    """Every kind as often as its share says, shuffled, again and again."""
    while True:
        cards = [fault for fault in kinds for _ in range(fault.share)]
        draw.shuffle(cards)
        yield from cards


def _sizes(draw: random.Random, faults: int) -> list[int]:
    sizes: list[int] = []
    while faults > 0:
        size = min(draw.randint(_FEWEST, _MOST), faults)
        sizes.append(size)
        faults -= size
    return sizes
