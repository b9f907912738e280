"""What online methods optimize: a weighted sum of rewards."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from ..base import ApiModel, CelRule, DataKey, DnsLabel, ObjectName
from ..dataset import ColumnName
from ..model import ModelSource, SecretKeyReference

Pattern = Annotated[str, Field(min_length=1, max_length=1024)]


class FormatReward(ApiModel):
    """1 if the whole response has a form, else 0."""

    one_of: ClassVar[tuple[str, ...]] = ("pattern", "xml_tags")

    pattern: Pattern | None = Field(
        default=None,
        description="Regular expression (Python) that the whole response must match; `.` matches newlines.",
    )
    xml_tags: Annotated[list[DnsLabel], Field(min_length=1, max_length=16)] | None = Field(
        default=None,
        description="Elements that make up the response, each there once and in this order, such as "
        "`[think, answer]`; only white space may be around them.",
    )


class ExactAnswerReward(ApiModel):
    """1 if the answer in the response is the one in a column of the dataset, else 0; case and spaces do not count.

    Rows without a right answer are left out.
    """

    column: ColumnName = Field(default="answer", description="Column with the right answer.")
    extract: Pattern | None = Field(
        default=None,
        description="Regular expression whose first group (or whole match) is the answer; its last match counts. "
        "Unset: the whole response.",
    )


class MathAnswerReward(ApiModel):
    """1 if the response's final mathematical expression equals the one in a column, else 0; by math-verify.

    What an `<answer>` element holds counts alone, and a boxed expression before others. Rows whose right answer holds
    no mathematics are left out.
    """

    column: ColumnName = Field(
        default="answer",
        description="Column with the right answer: LaTeX, plain, or a solution that ends in `#### 72`.",
    )


class LengthReward(ApiModel):
    """0 within a range of lengths, falling linearly to -1 outside of it."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.minTokens <= self.maxTokens", "minTokens is above maxTokens: lower minTokens, or raise maxTokens"
        ),
    )

    min_tokens: Annotated[int, Field(ge=0, le=2**20)] = Field(default=0, description="Shorter responses are penalized.")
    max_tokens: Annotated[int, Field(ge=1, le=2**20)] = Field(description="Longer responses are penalized.")
    slack: Annotated[int, Field(ge=1, le=2**20)] = Field(
        default=64, description="Tokens outside the range at which the penalty reaches -1."
    )


class RepetitionReward(ApiModel):
    """Minus the share of the response's n-grams that occurred in it before: 0 to -1 (arXiv:2502.03373)."""

    ngram: Annotated[int, Field(ge=1, le=100)] = Field(default=3, description="Words in an n-gram.")


class JsonSchemaReward(ApiModel):
    """1 if the response is JSON that a schema accepts, else 0; a fenced code block around it is taken off."""

    json_schema: dict[str, Any] = Field(alias="schema", description="JSON Schema, draft 2020-12.")


class PythonReward(ApiModel):
    """A function of the user's: ``def reward(prompts, completions, **columns) -> list[float | None]``.

    `prompts` (the last user turns) and `completions` are texts, `conversations` the prompts as lists of messages;
    columns of the dataset come as lists by name. The function gets those that it has parameters for. None leaves a row
    out of this reward. It runs in a process of its own, without credentials and GPUs.
    """

    config_map: ObjectName = Field(description="ConfigMap with the Python file, in the job's namespace.")
    key: DataKey = Field(default="reward.py", description="Its key.")
    function: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = Field(
        default="reward", description="Name of the function."
    )


class HttpReward(ApiModel):
    """A service: POST `{"prompts": [...], "completions": [...], "columns": {...}}`, answered `{"rewards": [...]}`.

    The request also holds `conversations`, the prompts as lists of messages. A reward of null leaves a row out. While
    the service is down or busy (429, 5xx) it is asked again until `timeoutSeconds` are over.
    """

    url: Annotated[str, Field(min_length=8, max_length=1024, pattern=r"^https?://[^\s]+$")] = Field(
        description="Address of the service."
    )
    token_secret_ref: SecretKeyReference | None = Field(
        default=None, description="Secret with a bearer token for the service."
    )


class Reward(ApiModel):
    """One term of the reward."""

    one_of: ClassVar[tuple[str, ...]] = (
        "format",
        "exact_answer",
        "math_answer",
        "length",
        "repetition",
        "json_schema",
        "python",
        "reward_model",
        "http",
    )
    list_map_key: ClassVar[str | None] = "name"
    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule("self.weight != 0.0", "a weight of 0 switches the reward off: remove it, or give it a weight"),
    )

    name: DnsLabel = Field(description="Name of the reward in metrics and messages.")
    weight: Annotated[float, Field(ge=-1000, le=1000)] = Field(default=1.0, description="Weight in the sum.")
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=60, description="Longest time that scoring one batch may take, of a reward that is no reward model."
    )
    format: FormatReward | None = Field(default=None, description="The form of the response.")
    exact_answer: ExactAnswerReward | None = Field(default=None, description="The right answer, literally.")
    math_answer: MathAnswerReward | None = Field(default=None, description="The right answer, mathematically.")
    length: LengthReward | None = Field(default=None, description="A penalty on the length.")
    repetition: RepetitionReward | None = Field(default=None, description="A penalty on repetition.")
    json_schema: JsonSchemaReward | None = Field(default=None, description="Valid JSON.")
    python: PythonReward | None = Field(default=None, description="A Python function in a ConfigMap.")
    reward_model: ModelSource | None = Field(
        default=None,
        description="The score of a reward model. Each process of the gang holds all of it, so it must fit beside the "
        "share of what is trained.",
    )
    http: HttpReward | None = Field(default=None, description="The answer of a service.")


Rewards = Annotated[list[Reward], Field(min_length=1, max_length=16)]
