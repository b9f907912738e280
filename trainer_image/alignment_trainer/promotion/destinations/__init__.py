"""Where a model can be put. Every destination can be tried again after any interruption, and ends in the same state.

Each has one step after which readers find the new model, and takes it last: `volume` replaces a link, `s3` an object,
`hub` makes one commit, `oci` moves a tag.
"""

from __future__ import annotations

from alignment_api.contract import JobLayout
from alignment_api.v1alpha1.promotion import Destination

from ..artifact import Artifact
from . import hub, oci, s3, volume


def check(place: Destination, field: str, layout: JobLayout) -> None:
    """Refuse what can be seen to be wrong without the place's credentials, which the promotion alone gets.

    Raises:
        ConfigurationError: the place holds something else.
    """
    if place.volume is not None:
        volume.check(place.volume, f"{field}.volume", layout)


def put(artifact: Artifact, place: Destination, field: str, layout: JobLayout, attempt: int) -> str:
    """Put a model in one place and see that it is there.

    Args:
        artifact: the model.
        place: where to.
        field: path of ``place`` in the manifest.
        layout: folders of the job.
        attempt: number of the attempt at the promotion.

    Returns:
        Where it is: a path in the workspace or an address, with what pins this very model.

    Raises:
        ConfigurationError: the place refuses, or holds something else.
        UnavailableError: it cannot be reached.
        StorageError: the workspace cannot be written, or a model that was written reads differently.
    """
    if place.volume is not None:
        return volume.put(artifact, place.volume, f"{field}.volume", layout, attempt)
    if place.s3 is not None:
        return s3.put(artifact, place.s3, f"{field}.s3")
    if place.hugging_face is not None:
        return hub.put(artifact, place.hugging_face, f"{field}.huggingFace")
    assert place.oci is not None  # noqa: S101 - a Destination has exactly one member
    return oci.put(artifact, place.oci, f"{field}.oci")
