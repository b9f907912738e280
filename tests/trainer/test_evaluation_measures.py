"""Perplexity and classifiers: numbers against plain computations with transformers."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from alignment_api.v1alpha1 import Tokenizer
from alignment_api.v1alpha1.evaluation import TextCorpus
from alignment_trainer.evaluation.language_model import LanguageModel
from alignment_trainer.evaluation.measurement import Transform
from alignment_trainer.evaluation.measures import classifier as classifier_measure
from alignment_trainer.evaluation.measures import perplexity
from alignment_trainer.exceptions import ConfigurationError
from alignment_trainer.models.classifier import Classifier, check

from . import tiny

DOCUMENTS = [
    "the red river and the green garden are large and happy " * 6,
    "kind",
    "a cloud, small and round, over a blue river " * 3,
    "r",
    "sad and curt",
]
TEXT = TextCorpus.model_validate({"name": "prose", "inline": {"rows": [{"text": "a"}]}})


def plain_loss(folder: Path, text: str, window: int, start: list[int]) -> tuple[float, int]:
    """Summed loss and tokens of a document, window by window, as transformers computes a language model's loss."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    total, count = 0.0, 0
    step = window - len(start)
    for begin in range(0, len(ids), step):
        row = torch.tensor([start + ids[begin : begin + step]])
        if row.shape[1] > 1:
            with torch.no_grad():
                total += model(row, labels=row).loss.item() * (row.shape[1] - 1)
            count += row.shape[1] - 1
    return total, count


@pytest.fixture(scope="module")
def with_bos(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a tokenizer that puts a token before every text."""
    folder = tmp_path_factory.mktemp("bos") / "model"
    shutil.copytree(tiny_model, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (bos,) = (token for token in tokenizer["added_tokens"] if token["content"] == "<|system|>")
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|system|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|system|>": {"id": "<|system|>", "ids": [bos["id"]], "tokens": ["<|system|>"]}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    options = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(options | {"bos_token": "<|system|>"}))
    return folder


class TestPerplexity:
    """Windows of documents."""

    @pytest.mark.parametrize("window", [8, 33, 1024])
    @pytest.mark.parametrize("bos", [False, True])
    def test_it_is_the_models_own_loss(self, tiny_model: Path, with_bos: Path, window: int, bos: bool) -> None:
        folder = with_bos if bos else tiny_model
        model = LanguageModel(str(folder), Tokenizer(), "cpu")
        start = [model.tokenizer.bos_token_id] if bos else []
        expected = [plain_loss(folder, text, min(window, 256), start) for text in DOCUMENTS]
        found = perplexity.score(model, DOCUMENTS, window, batch_size=3)
        for (loss, count), (plain, tokens) in zip(found, expected, strict=True):
            assert count == tokens
            assert loss == pytest.approx(plain, rel=1e-4, abs=1e-4)
        assert found[3][1] == (1 if bos else 0), "a single token can only be predicted from one before it"
        assert json.loads(json.dumps(found)) == found

    def test_batches_change_nothing(self, tiny_model: Path) -> None:
        model = LanguageModel(str(tiny_model), Tokenizer(), "cpu")
        together = perplexity.score(model, DOCUMENTS, 16, batch_size=64)
        for text, unit in zip(DOCUMENTS, together, strict=True):
            assert perplexity.score(model, [text], 16, batch_size=1)[0] == pytest.approx(unit, abs=1e-4)

    def test_the_measurement_is_of_all_tokens(self) -> None:
        found = perplexity.measurement(TEXT, "new", [[6.0, 2], [3.0, 1]], [[1.0, 2], [2.0, 1]])
        assert (found.of, found.candidate, found.transform, found.problem) == ("prose", "new", Transform.EXP, None)
        assert found.own is not None
        assert found.baseline is not None
        assert math.exp(sum(found.own.numerators) / sum(found.own.denominators)) == pytest.approx(math.exp(3))

    def test_other_tokens_cannot_be_compared(self) -> None:
        found = perplexity.measurement(TEXT, "new", [[6.0, 2], [3.0, 1]], [[1.0, 2], [2.0, 2]])
        assert found.own is not None
        assert found.baseline is None
        assert "different tokens" in str(found.problem)

    def test_nothing_to_measure(self) -> None:
        found = perplexity.measurement(TEXT, "new", [[0.0, 0]], [[0.0, 0]])
        assert found.own is None
        assert found.baseline is None
        assert found.problem == "prose: nothing to measure of new and the baseline"


RESPONSES = ["a kind and happy answer", "curt", "", "the garden is large " * 5]
LABELS = ["harmless", "toxic", "rude"]


def save_classifier(folder: Path, **config: Any) -> Path:
    """A classifier with random weights that differ enough for labels to differ."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny.save_tokenizer(folder)
    torch.manual_seed(7)
    labels = config.pop("labels", LABELS)
    settings = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        pad_token_id=tokenizer.pad_token_id, initializer_range=0.4, id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)}, **config,
    )  # fmt: skip
    LlamaForSequenceClassification(settings).save_pretrained(folder)
    return folder


def plain_logits(folder: Path, text: str) -> torch.Tensor:
    """All labels' logits for one text."""
    from transformers import AutoModelForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits: torch.Tensor = (
            AutoModelForSequenceClassification.from_pretrained(folder)
            .eval()(**tokenizer(text, return_tensors="pt"))
            .logits[0]
        )
    return logits


class TestClassifier:
    """Probabilities of a label."""

    @pytest.mark.parametrize(
        ("config", "label", "probability"),
        [
            ({}, "toxic", lambda logits: logits.softmax(0)[1]),
            ({"problem_type": "multi_label_classification"}, "rude", lambda logits: logits.sigmoid()[2]),
            ({"labels": ["toxicity"]}, "toxicity", lambda logits: logits.sigmoid()[0]),
        ],
    )
    def test_each_response_alone_gives_the_same(
        self, tmp_path: Path, config: dict[str, Any], label: str, probability: Any
    ) -> None:
        folder = save_classifier(tmp_path / "classifier", **config)
        found = classifier_measure.score(Classifier(str(folder), label, "cpu", "c"), RESPONSES)
        expected = [probability(plain_logits(folder, text)).item() for text in RESPONSES if text]
        assert [unit[0] for unit in found if unit[1]] == pytest.approx(expected, abs=1e-5)
        assert found[2] == [0.0, 0], "an empty response says nothing"
        assert len({round(value, 3) for value in expected}) == 3

    def test_without_padding_token(self, tmp_path: Path) -> None:
        folder = save_classifier(tmp_path / "classifier")
        options = json.loads((folder / "tokenizer_config.json").read_text())
        del options["pad_token"]
        (folder / "tokenizer_config.json").write_text(json.dumps(options))
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": None}))
        found = classifier_measure.score(Classifier(str(folder), "toxic", "cpu", "c"), RESPONSES)
        expected = [plain_logits(folder, text).softmax(0)[1].item() for text in RESPONSES if text]
        assert [unit[0] for unit in found if unit[1]] == pytest.approx(expected, abs=1e-5)

    def test_longer_responses_are_judged_by_their_beginning(self, tmp_path: Path) -> None:
        tokenizer = tiny.save_tokenizer(tmp_path)
        torch.manual_seed(3)
        settings = RobertaConfig(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
            num_attention_heads=2, pad_token_id=tokenizer.pad_token_id, bos_token_id=None, eos_token_id=None,
            max_position_embeddings=20, id2label=dict(enumerate(LABELS)),
        )  # fmt: skip
        RobertaForSequenceClassification(settings).save_pretrained(tmp_path)
        model = Classifier(str(tmp_path), "toxic", "cpu", "c")
        one, two = model.probabilities(["happy " * 30 + "sad", "happy " * 30 + "curt and red"])
        assert one == pytest.approx(two)

    def test_a_label_that_is_not_there(self, tmp_path: Path) -> None:
        folder = save_classifier(tmp_path / "classifier")
        with pytest.raises(ConfigurationError) as caught:
            check(folder, "toxik", "spec.c")
        (problem,) = caught.value.problems
        assert problem.field == "spec.c.label"
        assert "no label 'toxik', but harmless, toxic, rude: name one" in problem.message

    def test_a_language_model_is_none(self, tiny_model: Path) -> None:
        with pytest.raises(ConfigurationError) as caught:
            check(tiny_model, "toxic", "spec.c")
        assert caught.value.problems[0].field == "spec.c.model"
        assert "LlamaForCausalLM" in caught.value.problems[0].message

    def test_a_regression_is_none(self, tmp_path: Path) -> None:
        folder = save_classifier(tmp_path / "classifier", labels=["score"], problem_type="regression")
        with pytest.raises(ConfigurationError, match="regression"):
            check(folder, "score", "spec.c")
