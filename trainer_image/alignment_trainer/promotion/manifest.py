"""The job's manifest as everybody may read it: it is published with the model."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Final

from alignment_api.contract import RunConfig
from alignment_api.v1alpha1.alignment_job import GROUP, KIND, VERSION

_LOGIN: Final = re.compile(r"(://)[^/@\s]+@")
_HIDDEN: Final = "***"


def public_manifest(config: RunConfig, *, brief: bool = False) -> dict[str, Any]:
    """The manifest without what is nobody else's business.

    Values of variables in Pod templates are hidden, for people write secrets there, and so are logins in addresses.
    Rows written in the manifest are told by their digest: a model may be public though its data is not. Nor is it said
    where else the model was put, so that it is the same everywhere.

    Args:
        config: the job.
        brief: leave out what is as it is by default.
    """
    metadata = {"name": config.job.name, "namespace": config.job.namespace}
    spec = config.spec.model_copy(update={"promotion": None})
    content = spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=brief)
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": metadata, "spec": _public(content)}


def _public(value: Any, name: str = "") -> Any:
    match value:
        case {"name": str(), "value": _} if name == "env":
            return {**value, "value": _HIDDEN}
        case {"rows": list(rows)} if name == "inline":
            digest = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
            return {"rows": f"{len(rows)} rows, sha256:{digest}"}
        case dict():
            return {key: _public(item, key) for key, item in value.items()}
        case list():
            return [_public(item, name) for item in value]
        case str():
            return _LOGIN.sub(r"\1", value)
        case _:
            return value
