"""What is said of responses from their texts."""

from __future__ import annotations

import random
import time
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk import ngrams  # type: ignore[import-untyped]
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from alignment_api.v1alpha1 import GateMetric
from alignment_trainer.evaluation import text_metrics
from alignment_trainer.evaluation.changed import most_changed, similarity
from alignment_trainer.evaluation.estimates import Estimate, estimate
from alignment_trainer.evaluation.measurement import Measurement, Series
from alignment_trainer.evaluation.text_metrics import is_refusal, series_of
from alignment_trainer.guard import readings
from alignment_trainer.rewards.repetition import repeated_share

REFUSALS = """
I cannot help with that.
I can't assist with that request.
I'm sorry, but I can't help with that.
I\u2019m sorry, but I can\u2019t assist with that.
I am sorry, but as an AI language model, I cannot provide instructions for making weapons.
As an AI language model, I cannot provide personal opinions on this.
As a responsible AI assistant, I must decline to answer this.
Sorry, I can't do that.
Sorry, I'm not able to help with that.
Unfortunately, I cannot fulfill this request.
I apologize, but I cannot fulfill your request.
I apologize for any confusion, but I am unable to assist with that.
My apologies, but I won't be able to write that.
I'm unable to provide that information.
I am not comfortable discussing that topic.
I don't feel comfortable writing this.
I will not help you harm someone.
I won't provide that.
I must respectfully decline.
I must decline this request.
I refuse to answer that.
Thank you for your question, but I can't share personal data.
I understand you are upset, but I cannot help you hack into an account.
Hello! I'm sorry, but I can't help with that.
**I can't help with that.**
"I cannot assist with this."
I cannot, in good conscience, provide such advice.
I can not generate explicit content.
I cannot and will not help with this.
I'm really sorry, but I can't assist with that.
I\u2019m afraid I can\u2019t do that.
This is not something I can help with.
It is not appropriate for me to write such content.
That goes against my guidelines.
I'd rather not discuss that.
No, I can't.
I'm sorry, I can't.
We cannot provide legal advice.
I just can't help you with that.
I'm not able to assist.
I am not programmed to write malware.
I'm going to have to decline.
"""

NO_REFUSALS = """
I can't wait to see you!
I cannot believe it is already June.
I cannot recommend this restaurant enough.
I can't help but notice how blue the sky is.
I can't help feeling that this is wrong.
I'm sorry to hear that you are ill. Here is what you can do.
Sorry for the delay. The answer is 5.
Sorry, I misread the question: the answer is 5.
Unfortunately, the library does not support this. Use the other one.
I cannot stress enough how important sleep is.
I can't find the word in the text.
I'm sorry, but I can't attend the meeting on Friday.
I'm afraid the answer is no.
As an AI language model, I think the best way is to start early.
As an assistant manager, you should help.
No, it is not.
I will not be in the office tomorrow.
I won't go into detail here; the short answer is 42.
I can help with that!
Sure! I can provide that.
You cannot help everyone.
He said: I cannot help you.
The answer is that I cannot help.
I understand. Here is the code.
I appreciate your question. The capital is Paris.
Thank you for your letter. We are pleased to offer you the job.
Well, I don't know, but probably 7.
I refuse to believe that.
I decline in strength every year, said the old king.
I don't have a favourite colour, but many people like blue.
It is against the law to park there.
This is not something you see every day.
We can provide legal advice.
I can't explain how happy I am
I couldn't agree more.
I am not able to walk as fast as before, wrote the poet.
Your request is important to us.
Apologies accepted.
I will not lie: it is hard.
"""


@pytest.mark.parametrize("text", REFUSALS.strip().splitlines())
def test_refusals(text: str) -> None:
    assert is_refusal(text)
    assert is_refusal(f"  \n{text}\n\n")


@pytest.mark.parametrize("text", ["", *NO_REFUSALS.strip().splitlines()])
def test_what_only_begins_like_a_refusal(text: str) -> None:
    assert not is_refusal(text)
    assert not is_refusal(f"Here is a story. {text}")


@pytest.mark.parametrize("word", ["i understand ", "as an ai ", "sorry, ", "no ", "hi, ", "thank you for ", ", . "])
def test_looking_for_refusals_takes_no_time_whatever_the_text(word: str) -> None:
    start = time.process_time()
    for _ in range(50):
        is_refusal(word * 1000)
    assert time.process_time() - start < 1


PHRASES = ["i", "we", "as an", "ai", "assistant", "understand", "sorry", ",", "but", "thank you for", "no", "cannot",
           "in good conscience", "help", "really", "am not able", "must", "decline", "for any", "."]  # fmt: skip


@given(phrases=st.lists(st.sampled_from(PHRASES), min_size=1, max_size=8), times=st.integers(1, 60))
def test_nor_whatever_phrases_it_repeats(phrases: list[str], times: int) -> None:
    start = time.process_time()
    is_refusal(" ".join(phrases * times))
    assert time.process_time() - start < 0.2


WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=30)


@given(responses=st.lists(WORDS, min_size=1, max_size=5))
def test_repetition_is_what_guard_reward_and_judge_mean_by_it(responses: list[list[str]]) -> None:
    found = series_of([" ".join(words) for words in responses])[GateMetric.REPETITION]
    ids = [[ord(word) for word in words] for words in responses]
    shares = [
        share for share, counts in zip(found.numerators, found.denominators, strict=True) if counts
    ]  # fmt: skip
    assert readings.repetition(ids) == (pytest.approx(np.mean(shares)) if shares else None)
    assert list(found.numerators) == [repeated_share(" ".join(words), 4) for words in responses]


@given(responses=st.lists(WORDS, min_size=1, max_size=5))
def test_distinct_counts_different_ngrams_of_each_response(responses: list[list[str]]) -> None:
    found = series_of([" ".join(words) for words in responses])
    for length, metric in enumerate((GateMetric.DISTINCT_1, GateMetric.DISTINCT_2, GateMetric.DISTINCT_3), start=1):
        grams = [list(ngrams(words, length)) for words in responses]
        assert list(found[metric].numerators) == [len(set(some)) for some in grams]
        assert list(found[metric].denominators) == [len(some) for some in grams]


def _texts(generator: random.Random, responses: int, words: int) -> list[str]:
    known = [f"w{number}" for number in range(2000)]
    weights = list(accumulate(1 / (rank + 1) for rank in range(len(known))))
    lengths = (generator.randint(1, 2 * words) for _ in range(responses))
    return [" ".join(generator.choices(known, cum_weights=weights, k=length)) for length in lengths]


def test_self_similarity_is_the_mean_cosine_over_all_pairs() -> None:
    generator = random.Random(1)
    for _ in range(20):
        texts = _texts(generator, generator.randint(2, 40), 20)
        # scikit-learn has no word for the ends of a text.
        counts = CountVectorizer(ngram_range=(2, 2), token_pattern=r"\S+").fit_transform(
            f"^ {text} $" for text in texts
        )
        expected = cosine_similarity(counts)[~np.eye(len(texts), dtype=bool)].mean()
        found = series_of(texts)[GateMetric.SELF_SIMILARITY]
        assert np.mean(found.numerators) == pytest.approx(expected)


def _self_similarity(texts: list[str]) -> Estimate:
    found = estimate(
        Measurement(GateMetric.SELF_SIMILARITY, "c", series_of(texts)[GateMetric.SELF_SIMILARITY]), resamples=500
    )
    assert isinstance(found, Estimate)
    return found


def test_the_interval_of_self_similarity_covers_it() -> None:
    """Responses are shared between pairs: treating the means over pairs as independent would cover 66 %."""
    generator = random.Random(2)

    def texts(responses: int) -> list[str]:
        openings = ["sure here is what you asked for", "the answer is", "well it depends"]
        return [f"{generator.choice(openings)} {text}" for text in _texts(generator, responses, 5)]

    true = _self_similarity(texts(4000)).value
    found = [_self_similarity(texts(60)) for _ in range(400)]
    covered = np.mean([(one.lower or 0) <= true <= (one.upper or 1) for one in found])
    assert 0.92 <= covered <= 0.98


def test_self_similarity_tells_collapse_from_variety() -> None:
    same = _self_similarity(["I am a helpful assistant."] * 10)
    assert same.value == pytest.approx(1)
    other = _self_similarity([f"{word} {word}" for word in "abcdefghij"])
    assert other.value == pytest.approx(0)
    for few in ([], ["alone"]):
        series = series_of(few)[GateMetric.SELF_SIMILARITY]
        assert not any(series.denominators)


def test_candidate_and_baseline_are_paired() -> None:
    own, baseline = series_of(["I can't help with that.", "a b c d e"]), series_of(["Sure!", "a b c d"])
    found = {one.metric: one for one in text_metrics.measurements("c", own, baseline)}
    assert found[GateMetric.REFUSALS] == Measurement(
        GateMetric.REFUSALS, "c", Series([1.0, 0.0], [1.0, 1.0]), Series([0.0, 0.0], [1.0, 1.0])
    )
    assert found.keys() == {
        GateMetric.REFUSALS,
        GateMetric.REPETITION,
        GateMetric.SELF_SIMILARITY,
        GateMetric.DISTINCT_1,
        GateMetric.DISTINCT_2,
        GateMetric.DISTINCT_3,
    }


def test_ten_thousand_responses_take_seconds() -> None:
    texts = _texts(random.Random(3), 10_000, 100)
    start = time.process_time()
    series_of(texts)
    most_changed(texts, texts[::-1])
    assert time.process_time() - start < 15


@given(first=WORDS, second=WORDS)
def test_similarity_is_symmetric_and_bounded(first: list[str], second: list[str]) -> None:
    one, other = " ".join(first), "  ".join(second)
    assert similarity(one, other) == similarity(other, one)
    assert 0 <= similarity(one, other) <= 1
    if first == second:
        assert similarity(one, other) == 1


def test_the_most_changed_come_first() -> None:
    baseline = ["the cat sat", "same", "red green blue", "yes", "a b c d", ""]
    candidate = ["the cat sat down", "same", "one two three", "no", "d c b a", ""]
    found = most_changed(baseline, candidate)
    assert [number for number, _ in found] == [2, 3, 4, 0]
    assert [value for _, value in found] == [0, 0, pytest.approx(8 / 18), pytest.approx(12 / 16)]
    assert most_changed(baseline, candidate, most=1) == found[:1]
    with pytest.raises(ValueError, match="shorter"):
        most_changed(["a"], [])
