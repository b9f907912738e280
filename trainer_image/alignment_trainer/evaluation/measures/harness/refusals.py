"""What a task may not do: run code that nobody allowed, or that is downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from jinja2 import BaseLoader, StrictUndefined, Template
from jinja2.sandbox import SandboxedEnvironment
from lm_eval import utils
from lm_eval.api import metrics as metrics  # which registers them
from lm_eval.api.registry import metric_registry

from alignment_api.contract import Problem

from ....exceptions import ConfigurationError

_KINDS_OF_CODE: Final = ("class", "use_prompt", "custom_dataset")
"""Keys of a task that name Python code, or files elsewhere."""

_GENERATION: Final = frozenset(
    {
        *("until", "do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "num_beams", "length_penalty"),
        *("repetition_penalty", "no_repeat_ngram_size"),
        *("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"),
    }
)
"""Settings of generation that name no code; others of transformers' do, such as ``custom_generate``."""


class Refused(Exception):
    """A task cannot be run; the text says why, and the way out."""


@contextmanager
def explained(field: str) -> Iterator[None]:
    """Turn what is refused into an error of the configuration.

    Args:
        field: path of the task in the manifest.

    Raises:
        ConfigurationError: something is refused.
    """
    try:
        yield
    except Refused as error:
        raise ConfigurationError(str(error), [Problem(field=f"{field}.task", message=str(error))]) from error


class Function:
    """Stands for a Python function that a YAML file names."""

    def __init__(self, name: str) -> None:
        self.name = name


def refuse_code(name: str, config: Mapping[str, Any], *, own: bool) -> None:
    """Refuse a task that runs code it should not.

    Functions of the harness's own tasks are part of the trainer image, as its other libraries are.

    Args:
        name: the task.
        config: its YAML.
        own: whether it is the user's own.

    Raises:
        Refused: it runs answers of the model as programs, brings Python code, or downloads a metric, which is code.
    """
    if config.get("unsafe_code"):
        raise Refused(f"task {name} runs what the model answers as a program, which is not supported: name another")
    for metric in config.get("metric_list") or ():
        wanted = metric.get("metric") if isinstance(metric, Mapping) else metric
        computed = config.get("process_results") is not None or not isinstance(wanted, str)
        if (isinstance(metric, Mapping) and metric.get("hf_evaluate")) or not (computed or wanted in metric_registry):
            known = f"; metrics of the harness are {', '.join(sorted(metric_registry))}" if own else ""
            raise Refused(f"task {name} is scored by {wanted}, which would be downloaded and run as code{known}")
    if own:
        for path, value in _functions(config):
            raise Refused(
                f"task {name} names the Python function {value.name} ({path}): tasks of your own are YAML and data "
                "alone; write it as a template, or prepare the data so that it is not needed"
            )
        unknown = sorted(set(config.get("generation_kwargs") or ()) - _GENERATION)
        for key in [key for key in _KINDS_OF_CODE if key in config] + [f"generation_kwargs.{key}" for key in unknown]:
            raise Refused(f"task {name} sets {key}, which tasks of your own cannot: remove it")


def _functions(value: Any, path: str = "") -> list[tuple[str, Function]]:
    match value:
        case Function():
            return [(path, value)]
        case dict():
            return [found for key, below in value.items() for found in _functions(below, f"{path}.{key}".strip("."))]
        case list():
            return [found for number, below in enumerate(value) for found in _functions(below, f"{path}[{number}]")]
        case _:
            return []


class _Templates(SandboxedEnvironment):  # type: ignore[misc]
    """Templates that do no more than templates should, each compiled once."""

    def __init__(self) -> None:
        super().__init__(loader=BaseLoader(), undefined=StrictUndefined, keep_trailing_newline=True)
        self.filters.update(utils.env.filters)
        self._compiled = cache(super().from_string)

    def from_string(self, source: Any, *arguments: Any, **options: Any) -> Template:
        """The template with this text."""
        return self._compiled(source, *arguments, **options)


def sandbox_templates() -> None:
    """Put them in the place of the harness's own, which may run any code and are compiled for every question."""
    if not isinstance(utils.env, _Templates):
        utils.env = _Templates()
