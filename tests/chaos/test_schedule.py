"""Plans follow from their seed alone, and every kind of fault has a moment, a blow and words."""

from __future__ import annotations

from collections import Counter

from .faults import BY_NAME, FAULTS, Effect, When
from .schedule import CHECKPOINT_EVERY, STEPS, plan_suite
from .strikes import BLOWS


def test_the_same_seed_plans_the_same() -> None:
    assert plan_suite(7, 100) == plan_suite(7, 100)
    assert plan_suite(7, 100) != plan_suite(8, 100)


def test_a_plan_has_as_many_faults_as_asked_for_and_nearly_every_kind() -> None:
    for seed in range(20):
        strikes = [strike for plan in plan_suite(seed, 100) for strike in plan.strikes]
        assert len(strikes) == 100
        struck = Counter(strike.fault for strike in strikes)
        assert all(struck[fault.name] <= fault.share for fault in FAULTS), "the first hundred are drawn without repeats"
        assert len(struck) >= len(FAULTS) - 4


def test_strikes_come_in_the_order_in_which_their_moments_come() -> None:
    for plan in plan_suite(3, 400):
        for stage in plan.stages:
            mine = [strike for strike in plan.strikes if strike.stage == stage and strike.when is not When.LOADING]
            stepping = [strike for strike in mine if strike.when is not When.EXPORTING]
            assert mine[: len(stepping)] == stepping, "exporting comes last"
            steps = [strike.step for strike in stepping]
            assert steps == sorted(steps)
            assert all(0 < step <= STEPS[stage] - CHECKPOINT_EVERY for step in steps)
        preparing = [strike.when is When.PREPARING for strike in plan.strikes]
        assert preparing == sorted(preparing, reverse=True)


def test_a_strike_while_loading_or_exporting_follows_what_makes_the_gang_do_so() -> None:
    """Or it would wait for a moment that never comes."""
    seen = set()
    for plan in plan_suite(5, 400):
        for stage in plan.stages:
            before = None
            for strike in (strike for strike in plan.strikes if strike.stage == stage):
                again = before is None or before.kind.effect is Effect.RESTART
                if strike.when is When.LOADING:
                    assert again, plan
                if strike.when is When.EXPORTING and before is not None and before.when is When.EXPORTING:
                    assert again, plan
                seen.add(strike.when)
                before = strike
    assert seen == {When.LOADING, When.TRAINING, When.CHECKPOINTING, When.EXPORTING}


def test_one_node_has_no_faults_of_a_whole_node() -> None:
    assert not any(strike.kind.second_node for plan in plan_suite(1, 300, nodes=1) for strike in plan.strikes)


def test_every_kind_is_carried_out_and_explained() -> None:
    assert set(BLOWS) == set(BY_NAME)
    assert len(BY_NAME) == len(FAULTS)
    for fault in FAULTS:
        assert fault.moments
        # A fault that ends attempts says how it may be told; one that must not has nothing to tell.
        assert bool(fault.reasons) == (fault.effect is not Effect.NONE) or fault.name == "suspended and resumed"
