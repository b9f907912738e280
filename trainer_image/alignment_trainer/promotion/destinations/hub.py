"""A model repository on the Hugging Face hub, written as one commit.

Large files are sent first, and belong to nothing until the commit names them. Weights of an earlier model that this one
has no file for are deleted in the same commit, for a loader would prefer some of them; other files stay.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Final

from alignment_api.v1alpha1.promotion import HubDestination

from ... import hub
from ...exceptions import StorageError
from ..artifact import Artifact
from .refusal import secret_value

_WEIGHTS: Final = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "adapter_config.json")


def put(artifact: Artifact, place: HubDestination, field: str) -> str:
    """Commit the model; the address of the commit.

    Raises:
        ConfigurationError: the hub refuses the token or the repository.
        UnavailableError: it cannot be reached.
        StorageError: the repository does not hold what was sent.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    token = secret_value(place.token_secret_ref, f"{field}.tokenSecretRef")
    with hub.errors_explained(field, f"model {place.repository}", has_token=True):
        api = HfApi(token=token)
        # The name may lack the account, which the hub adds.
        repository = api.create_repo(place.repository, private=place.private, exist_ok=True).repo_id
        if place.revision != "main":
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
                *(
                    CommitOperationAdd(file.name, file.source if isinstance(file.source, bytes) else str(file.source))
                    for file in artifact.files
                ),
            ],
            commit_message=f"{artifact.name}, {artifact.short_digest}",
            commit_description=artifact.description,
            revision=place.revision,
            parent_commit=head,  # what was found to be stale is so of this one
        ).oid
        _verify(api, repository, commit, artifact)
    return f"{api.endpoint}/{repository}/tree/{commit}"


def _verify(api: Any, repository: str, commit: str, artifact: Artifact) -> None:
    """See that the commit has every file: the hub names the SHA-256 of large ones, and git's digest of small ones."""
    found = {
        info.path: info for info in api.get_paths_info(repository, [f.name for f in artifact.files], revision=commit)
    }
    for file in artifact.files:
        info = found.get(file.name)
        if info is None:
            raise StorageError(f"commit {commit} of {repository} lacks {file.name}: see its .gitignore")
        same = info.size == file.size if info.lfs is None else info.lfs.sha256 == file.sha256
        if not same:
            raise StorageError(f"{file.name} in commit {commit} of {repository} is not what was sent")
