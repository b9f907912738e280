"""Who decides which of two responses is better."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from ..base import INT32_MAX, ApiModel, CelRule, DnsLabel
from ..model import ModelSource, SecretKeyReference


class HeuristicJudge(ApiModel):
    """Judges by form: a response loses for being empty, cut off at the length limit, repetitive, a refusal, or not in
    the form that is asked for."""

    repetition_limit: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.3,
        description="A response is repetitive when more than this fraction of its 4-grams occurred before in it.",
    )
    refusals: bool = Field(
        default=False, description="A response that begins by refusing (`I cannot help with ...`) loses."
    )
    max_characters: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = Field(
        default=None, description="A response loses for being longer than this."
    )
    pattern: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None,
        description="Regular expression (Python) that the whole response must match; `.` matches newlines.",
    )


class Rubric(StrEnum):
    """What a language model judges by."""

    OVERALL = "overall"
    HELPFULNESS = "helpfulness"
    HARMLESSNESS = "harmlessness"
    HONESTY = "honesty"
    CUSTOM = "custom"


class LlmJudge(ApiModel):
    """A language model behind an OpenAI-compatible endpoint (`POST <url>/chat/completions`).

    It sees a prompt and both responses, in both orders so that a preference for the first or second place cancels, and
    answers with a verdict and a reason. Verdicts are kept in the workspace by a digest of all that decides them: an
    evaluation that goes on, and one that is repeated, pays for none twice.
    """

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "(self.rubric == 'custom') == has(self.instructions)",
            "instructions and rubric custom belong together: set both or neither",
        ),
    )

    url: Annotated[str, Field(min_length=8, max_length=1024, pattern=r"^https?://[^\s]+$")] = Field(
        description="Base address of the API, such as `https://api.openai.com/v1`."
    )
    model: Annotated[str, Field(min_length=1, max_length=200)] = Field(description="Name of the model there.")
    token_secret_ref: SecretKeyReference | None = Field(default=None, description="Secret with the API key.")
    rubric: Rubric = Field(default=Rubric.OVERALL, description="What it judges by; `custom`: by `instructions`.")
    instructions: Annotated[str, Field(min_length=1, max_length=16384)] | None = Field(
        default=None, description="What makes a response better, in words for the judge."
    )
    both_orders: bool = Field(default=True, description="Ask twice, with the responses exchanged.")
    temperature: Annotated[float, Field(ge=0, le=5)] | None = Field(
        default=0.0, description="Sampling temperature of the judge."
    )
    max_response_tokens: Annotated[int, Field(ge=16, le=65536)] = Field(
        default=512, description="Longest answer of the judge."
    )
    concurrency: Annotated[int, Field(ge=1, le=256)] = Field(
        default=8, description="Requests under way at once, over the whole gang."
    )
    requests_per_minute: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = Field(
        default=None, description="Most requests in a minute. Unset: as many as the endpoint takes."
    )
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(default=60, description="Longest wait for an answer.")
    retries: Annotated[int, Field(ge=0, le=100)] = Field(
        default=6,
        description="How often a request is repeated after 408, 409, 429, 5xx, a timeout, a lost connection or an "
        "answer that is no verdict.",
    )
    max_calls: Annotated[int, Field(ge=1, le=INT32_MAX)] | None = Field(
        default=None,
        description="Most requests that may be sent for one evaluation. Comparisons beyond it have no verdict.",
    )
    max_tokens: Annotated[int, Field(ge=1, le=2**53)] | None = Field(
        default=None,
        description="Most tokens, of requests and answers as the endpoint counts them, for one evaluation.",
    )


class Judge(ApiModel):
    """Decides which of two responses to a prompt is better, or that they tie."""

    one_of: ClassVar[tuple[str, ...]] = ("reward_model", "llm", "heuristic")
    list_map_key: ClassVar[str | None] = "name"

    name: DnsLabel = Field(description="Name by which gates and reports refer to the judge.")
    reward_model: ModelSource | None = Field(
        default=None, description="A reward model: the response with the higher score wins."
    )
    llm: LlmJudge | None = Field(default=None, description="A language model behind an endpoint.")
    heuristic: HeuristicJudge | None = Field(default=None, description="Simple rules on the form of the responses.")
    tie_margin: Annotated[float, Field(ge=0, le=1_000_000)] = Field(
        default=0.0, description="Scores that differ by no more than this are a tie."
    )
