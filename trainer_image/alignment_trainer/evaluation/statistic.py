"""The functions of means that metrics are, on scales on which intervals are symmetric. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

from alignment_api.v1alpha1.evaluation import RelativeTo

from .bootstrap import Floats, Statistic
from .measurement import Transform


def statistic_of(transform: Transform, relative_to: RelativeTo | None, *, log: bool) -> Statistic:
    """The statistic of a metric.

    Its columns are numerators and denominators of the candidate and, with ``relative_to``, of the baseline.

    Args:
        transform: what is made of each model's ratio of sums.
        relative_to: how the models are set against each other.
        log: take the logarithm of a ratio of ratios; all sums must be positive.
    """
    if relative_to is None:
        return Statistic(_ratio, _ratio_gradient, np.exp if transform is Transform.EXP else _same)
    if relative_to is RelativeTo.DIFFERENCE:
        if transform is Transform.EXP:
            return Statistic(_difference_of_exponentials, _difference_of_exponentials_gradient, _same)
        return Statistic(_difference, _difference_gradient, _same)
    if transform is Transform.EXP:
        return Statistic(_difference, _difference_gradient, np.exp)
    if log:
        return Statistic(_log_ratio, _log_ratio_gradient, np.exp)
    return Statistic(_ratio_of_ratios, _ratio_of_ratios_gradient, _same)


def _same(values: Any) -> Any:
    return values


def _ratio(means: Floats) -> Floats:
    return means[..., 0] / means[..., 1]


def _ratio_gradient(means: Floats) -> Floats:
    size = means[..., 1]
    return np.stack([1 / size, -means[..., 0] / size**2], axis=-1)


def _difference(means: Floats) -> Floats:
    return _ratio(means[..., :2]) - _ratio(means[..., 2:])


def _difference_gradient(means: Floats) -> Floats:
    return np.concatenate([_ratio_gradient(means[..., :2]), -_ratio_gradient(means[..., 2:])], axis=-1)


def _difference_of_exponentials(means: Floats) -> Floats:
    return np.asarray(np.exp(_ratio(means[..., :2])) - np.exp(_ratio(means[..., 2:])))


def _difference_of_exponentials_gradient(means: Floats) -> Floats:
    own, baseline = means[..., :2], means[..., 2:]
    return np.concatenate(
        [
            np.exp(_ratio(own))[..., None] * _ratio_gradient(own),
            -np.exp(_ratio(baseline))[..., None] * _ratio_gradient(baseline),
        ],
        axis=-1,
    )


def _log_ratio(means: Floats) -> Floats:
    return np.asarray(np.log(_ratio_of_ratios(means)))


def _log_ratio_gradient(means: Floats) -> Floats:
    return np.array([1.0, -1.0, -1.0, 1.0]) / means


def _ratio_of_ratios(means: Floats) -> Floats:
    return _ratio(means[..., :2]) / _ratio(means[..., 2:])


def _ratio_of_ratios_gradient(means: Floats) -> Floats:
    own, size, baseline, its_size = (means[..., column] for column in range(4))
    over = its_size / (size * baseline)
    return np.stack([over, -own * over / size, -own * over / baseline, own / (size * baseline)], axis=-1)
