"""Models that bring Python code of their own (``auto_map``): loaded with it only where the manifest says so.

Which folders are trusted is said once in each process, from the manifest, and asked wherever a model is loaded; every
load says so explicitly, for transformers would ask at the terminal.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from alignment_api.contract import Problem

from ..exceptions import ConfigurationError

AUTO_MAP: Final = "auto_map"
_OF_OTHER_REPOSITORY: Final = "--"
_CONFIG: Final = "config.json"
_TOKENIZER_CONFIG: Final = "tokenizer_config.json"

_trusted: set[Path] = set()


def trust(folders: Iterable[Path]) -> None:
    """Let models in these folders bring their code, in this process.

    transformers copies code to a folder from which it imports; processes that shared one would read files that another
    is writing.
    """
    folders = {folder.resolve() for folder in folders} - _trusted
    if not folders:
        return
    if not _trusted:
        from transformers import dynamic_module_utils

        dynamic_module_utils.HF_MODULES_CACHE = tempfile.mkdtemp(prefix="modules-")
    _trusted.update(folders)


def options(folder: str | Path) -> dict[str, bool]:
    """Options with which anything is to be loaded from a model folder."""
    return {"trust_remote_code": is_trusted(folder)}


def is_trusted(folder: str | Path) -> bool:
    """Whether the model in the folder may bring code."""
    return Path(folder).resolve() in _trusted


def check(folder: Path, name: str, field: str, *, trusted: bool) -> None:
    """Refuse a model that cannot be loaded with what it may bring.

    Args:
        folder: the model.
        name: what it is called in messages.
        field: path of the model in the manifest.
        trusted: whether its code may be run.

    Raises:
        ConfigurationError: it needs code that is not trusted, or that lies elsewhere.
    """
    config, tokenizer = _read(folder / _CONFIG), _read(folder / _TOKENIZER_CONFIG)
    if trusted:
        _refuse_code_of_others({**_auto_map(config), **_auto_map(tokenizer)}, name, field)
    elif _model_needs_code(config) or _tokenizer_needs_code(tokenizer):
        from transformers import __version__

        raise _refused(
            f"{name} brings Python code of its own (auto_map in {_CONFIG}), without which transformers {__version__} "
            "cannot load it: set this to true (the operator's administrator must allow it, chart value "
            "allowances.trustRemoteCode), or name a model of an architecture that transformers knows",
            field,
        )


def _model_needs_code(config: dict[str, Any]) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return bool(_auto_map(config)) and config.get("model_type") not in CONFIG_MAPPING


def _tokenizer_needs_code(config: dict[str, Any]) -> bool:
    from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

    if not _auto_map(config):
        return False
    name = str(config.get("tokenizer_class") or "")
    return not name or tokenizer_class_from_name(name) is None


def _refuse_code_of_others(auto_map: dict[str, Any], name: str, field: str) -> None:
    """Gangs have no way to the hub, and nobody pinned that repository."""
    for entry in auto_map.values():
        for reference in entry if isinstance(entry, list) else [entry]:
            repository, found, _ = str(reference).rpartition(_OF_OTHER_REPOSITORY)
            if found:
                raise _refused(
                    f"the code of {name} is that of repository {repository} (auto_map in {_CONFIG}): copy its Python "
                    f"files into the model's folder and take {repository}{_OF_OTHER_REPOSITORY} off the entries",
                    field,
                )


def _auto_map(config: dict[str, Any]) -> dict[str, Any]:
    found = config.get(AUTO_MAP)
    if isinstance(found, list):  # an old form, of tokenizers
        return {"AutoTokenizer": found}
    return found if isinstance(found, dict) else {}


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _refused(message: str, field: str) -> ConfigurationError:
    return ConfigurationError(message, [Problem(field=f"{field}.trustRemoteCode", message=message)])
