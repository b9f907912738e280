"""A model repository on the Hugging Face hub, written as one commit.

Large files are sent first, and belong to nothing until the commit names them. Weights of an earlier model that this one
has no file for are deleted in the same commit, for a loader would prefer some of them; other files stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any, Final

from alignment_api.v1alpha1.promotion import HubDestination

from ...exceptions import StorageError, TrainerError
from ..artifact import Artifact, ArtifactFile
from .refusal import refused, secret_value, unreachable

_MAIN: Final = "main"
_WEIGHTS: Final = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "adapter_config.json")
_PASSING: Final = frozenset({408, 409, 412, 425, 429})
"""Refusals that pass, besides those from 500 on; 409 and 412: somebody else commits at the same time."""


def put(artifact: Artifact, place: HubDestination, field: str) -> str:
    """Commit the model; the address of the commit.

    Raises:
        ConfigurationError: the hub refuses the token or the repository.
        UnavailableError: it cannot be reached, or the branch moved meanwhile.
        StorageError: the commit does not hold what was sent.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    token = secret_value(place.token_secret_ref, f"{field}.tokenSecretRef")
    with _errors_explained(place, field):
        api = HfApi(token=token)
        # The name may lack the account, which the hub adds.
        repository = api.create_repo(place.repository, private=place.private, exist_ok=True).repo_id
        if place.revision != _MAIN:
            api.create_branch(repository, branch=place.revision, exist_ok=True)
        head = api.model_info(repository, revision=place.revision).sha
        names = {file.name for file in artifact.files}
        stale = [
            name
            for name in api.list_repo_files(repository, revision=head)
            if name not in names and any(fnmatchcase(name, pattern) for pattern in _WEIGHTS)
        ]
        commit = api.create_commit(
            repository,
            operations=[
                *(CommitOperationDelete(name) for name in stale),
                *(CommitOperationAdd(file.name, file.source) for file in artifact.files),
            ],
            commit_message=f"{artifact.name}, {artifact.short_digest}",
            commit_description=artifact.description,
            revision=place.revision,
            parent_commit=head,  # what was found to be stale is so of this one
        ).oid
        _verify(api, repository, commit, artifact)
    return f"{api.endpoint}/{repository}/tree/{commit}"


def _verify(api: Any, repository: str, commit: str, artifact: Artifact) -> None:
    """See that the commit has every file, by the digests that the hub gives."""
    names = [file.name for file in artifact.files]
    found = {info.path: info for info in api.get_paths_info(repository, names, revision=commit)}
    for file in artifact.files:
        info = found.get(file.name)
        if info is None:
            raise StorageError(f"commit {commit} of {repository} lacks {file.name}: see its .gitignore")
        if (info.blob_id != _git_digest(file)) if info.lfs is None else (info.lfs.sha256 != file.sha256):
            raise StorageError(f"{file.name} in commit {commit} of {repository} is not what was sent")


def _git_digest(file: ArtifactFile) -> str:
    """What git calls the content of a file."""
    digest = hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
    for block in file.blocks():
        digest.update(block)
    return digest.hexdigest()


@contextmanager
def _errors_explained(place: HubDestination, field: str) -> Iterator[None]:
    try:
        yield
    except TrainerError:
        raise
    except Exception as error:
        explained = _explained(error, place, field)
        if explained is None:
            raise
        raise explained from error


def _explained(error: BaseException, place: HubDestination, field: str) -> TrainerError | None:
    import httpx2
    from huggingface_hub import errors

    match error:
        case errors.HfHubHTTPError() if error.response is not None:
            return _of_status(error.response.status_code, error, place, field)
        case RuntimeError() if error.__cause__ is not None:  # which upload failed, of several
            return _explained(error.__cause__, place, field)
        case ConnectionError() | httpx2.TransportError() | errors.OfflineModeIsEnabled() | errors.HfHubHTTPError():
            message = f"the hub cannot be reached: check the cluster's network and HF_ENDPOINT ({error})"
            return unreachable(field, message)
        case ValueError():  # a name that is none, a card that the hub does not take
            return refused(field, f"the hub does not take the model: {error}")
        case _:
            return None


def _of_status(status: int, error: Exception, place: HubDestination, field: str) -> TrainerError:
    if status in (401, 403):
        message = (
            f"the hub refuses the token in Secret {place.token_secret_ref.name}: it must be allowed to write to "
            f"{place.repository} ({error})"
        )
        return refused(f"{field}.tokenSecretRef", message)
    if status in _PASSING or status >= 500:
        return unreachable(field, f"the hub does not take {place.repository} now ({error})")
    return refused(f"{field}.repository", f"the hub refuses {place.repository}: {error}")
