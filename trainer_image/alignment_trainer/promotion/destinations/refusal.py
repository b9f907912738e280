"""What people are told when a place does not take a model."""

from __future__ import annotations

import os

from alignment_api.contract import Problem, token_variable
from alignment_api.v1alpha1.model import SecretKeyReference

from ...exceptions import ConfigurationError, UnavailableError


def refused(field: str, message: str) -> ConfigurationError:
    """The manifest, or what it names, must be changed.

    Args:
        field: path in the manifest.
        message: what is wrong, and the way out.
    """
    return ConfigurationError(message, [Problem(field=field, message=message)])


def unreachable(field: str, message: str) -> UnavailableError:
    """Nobody answers at a place, which may pass."""
    return UnavailableError(message, [Problem(field=field, message=message)])


def secret_value(reference: SecretKeyReference, field: str) -> str:
    """The value of a key of a Secret, which the operator has put into the environment.

    Raises:
        ConfigurationError: there is none.
    """
    value = os.environ.get(token_variable(reference), "").strip()
    if not value:
        raise refused(field, f"Secret {reference.name} has no key {reference.key}: add it")
    return value
