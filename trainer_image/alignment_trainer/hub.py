"""The Hugging Face hub's errors in words a person can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alignment_api.contract import Problem

from .exceptions import ConfigurationError, DataError, TrainerError, UnavailableError

_UNREACHABLE = (
    "the hub cannot be reached: check the cluster's network and HF_ENDPOINT (spec.prepare.podTemplate.env), or put a "
    "copy into the workspace and use volume.path"
)


@contextmanager
def errors_explained(field: str, what: str, *, has_token: bool) -> Iterator[None]:
    """Turn what hub clients raise into errors that name the field and the way out.

    Args:
        field: path in the manifest.
        what: what is loaded, such as ``model meta-llama/Llama-3.1-8B``.
        has_token: whether a hub token was given.
    """
    try:
        yield
    except TrainerError:
        raise
    except Exception as error:
        explained = _explain(error, has_token)
        if explained is None:
            raise
        kind, message = explained
        text = f"{what}: {message}"
        raise kind(text, [Problem(field=field, message=text)]) from error


def _explain(error: Exception, has_token: bool) -> tuple[type[TrainerError], str] | None:
    """The trainer's error class and message for a hub client's error; None for one that is none."""
    import httpx2
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub import errors

    secret = (
        "the token's account must be granted access" if has_token else "set tokenSecretRef to a Secret with a token"
    )
    # In order: subclasses before their bases.
    match error:
        case errors.GatedRepoError():
            return ConfigurationError, f"the repository is gated: {secret}"
        case errors.RevisionNotFoundError():
            return ConfigurationError, "there is no such revision: name a branch, tag or commit of the repository"
        case errors.LocalEntryNotFoundError() | errors.OfflineModeIsEnabled():
            return UnavailableError, f"not in the cache, and {_UNREACHABLE}"
        case errors.RepositoryNotFoundError():
            return ConfigurationError, f"there is no such repository, or it is private: correct the name, or {secret}"
        case errors.HfHubHTTPError() if error.response is not None and error.response.status_code < 500:
            return ConfigurationError, f"the hub refuses: {error}"
        case DatasetNotFoundError():
            return DataError, f"no such dataset, or it is gated or private: correct the name, or {secret}"
        case ConnectionError() | httpx2.TransportError() | errors.HfHubHTTPError():
            return UnavailableError, _UNREACHABLE
        case ValueError() | FileNotFoundError():  # unknown split or subset, files in no known format
            return DataError, str(error)
        case _:
            return None
