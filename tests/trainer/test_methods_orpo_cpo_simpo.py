"""ORPO, CPO and SimPO: losses against the papers' formulas, tokens against the chat template, one model in memory."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alignment_api.v1alpha1 import Method, Stage
from alignment_trainer.exceptions import DataError
from alignment_trainer.methods.tokenized_pairs import IGNORED, tokenize
from alignment_trainer.registry import check_options

from . import tiny
from .conftest import TRAINING, stage_of
from .in_process import RUNTIME, make_trainer

ROWS = tiny.preference_rows(2)
"""As many as a micro batch."""

LOSSES: list[tuple[Method, dict[str, Any]]] = [
    (Method.ORPO, {"beta": 0.3}),
    (Method.CPO, {"beta": 0.2}),
    (Method.CPO, {"beta": 0.2, "labelSmoothing": 0.1, "sftWeight": 0.5}),
    (Method.CPO, {"beta": 0.2, "loss": "hinge", "sftWeight": 0}),
    (Method.CPO, {"beta": 0.2, "loss": "ipo"}),
    (Method.SIMPO, {"beta": 2.5, "gamma": 1.5}),
    (Method.SIMPO, {"sftWeight": 0.1}),
]


def log_probabilities(model: Any, ids: list[int]) -> NDArray[np.float64]:
    """Log-probability of each token but the first, by a forward pass of its own."""
    import torch

    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1].double().numpy()
    normalized = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return np.asarray(normalized[np.arange(len(ids) - 1), ids[1:]])


def log_sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-np.log1p(np.exp(-x)))


def expected_loss(method: Method, options: dict[str, Any], model: Any, tokenizer: Any) -> float:
    """The loss of `ROWS` by the formulas of the papers."""
    sides: dict[str, list[NDArray[np.float64]]] = {"chosen": [], "rejected": []}
    whole = []
    for row in ROWS:
        prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)["input_ids"]
        for side, answers in sides.items():
            values = log_probabilities(model, tokenizer.apply_chat_template(row["prompt"] + row[side])["input_ids"])
            answers.append(values[len(prompt) - 1 :])
            if side == "chosen":
                whole.append(values)
    stage = Stage.model_validate(stage_of(method, **{method.value: options}))
    mean = {side: np.array([values.mean() for values in answers]) for side, answers in sides.items()}
    if stage.orpo is not None:  # arXiv:2403.07691, eq. 6 and 7; the SFT term is over the prompt too, as its authors do
        odds = {side: values - np.log1p(-np.exp(values)) for side, values in mean.items()}
        ratio = log_sigmoid(odds["chosen"] - odds["rejected"])
        return float(-np.concatenate(whole).mean() - stage.orpo.beta * ratio.mean())
    nll = float(-np.concatenate(sides["chosen"]).mean())
    if stage.simpo is not None:  # arXiv:2405.14734, eq. 6
        margin = stage.simpo.beta * (mean["chosen"] - mean["rejected"]) - stage.simpo.gamma
        return float(-log_sigmoid(margin).mean()) + stage.simpo.sft_weight * nll
    cpo = stage.cpo
    assert cpo is not None
    total = {side: np.array([values.sum() for values in answers]) for side, answers in sides.items()}
    difference = total["chosen"] - total["rejected"]
    if cpo.loss == "ipo":  # arXiv:2310.12036, eq. 17, on means of tokens
        terms = (mean["chosen"] - mean["rejected"] - 1 / (2 * cpo.beta)) ** 2
    elif cpo.loss == "hinge":  # arXiv:2305.10425
        terms = np.maximum(0, 1 - cpo.beta * difference)
    else:  # arXiv:2401.08417, eq. 3, with conservative labels
        right, wrong = log_sigmoid(cpo.beta * difference), log_sigmoid(-cpo.beta * difference)
        terms = -(1 - cpo.label_smoothing) * right - cpo.label_smoothing * wrong
    return float(terms.mean()) + cpo.sft_weight * nll


@pytest.mark.parametrize(("method", "options"), LOSSES)
def test_loss_is_the_papers(tiny_model: Path, tmp_path: Path, method: Method, options: dict[str, Any]) -> None:
    fields: dict[str, Any] = {method.value: options}
    trainer = make_trainer(method, ROWS, tiny_model, tmp_path, **fields)
    batch = next(iter(trainer.get_train_dataloader()))
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in trainer.model.parameters())
    trainer.model.eval()
    expected = expected_loss(method, options, trainer.model, trainer.processing_class)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("method", [Method.ORPO, Method.CPO, Method.SIMPO])
@pytest.mark.parametrize("adapter", [None, {"lora": {"rank": 2}}])
def test_no_reference_model_is_loaded(
    tiny_model: Path, tmp_path: Path, method: Method, adapter: dict[str, Any] | None
) -> None:
    from transformers import AutoModelForCausalLM, LlamaForCausalLM

    def loaded() -> dict[int, Any]:
        return {id(found): found for found in gc.get_objects() if isinstance(found, LlamaForCausalLM)}

    size = AutoModelForCausalLM.from_pretrained(tiny_model).num_parameters()
    before = loaded()
    trainer = make_trainer(method, ROWS, tiny_model, tmp_path, adapter=adapter)
    new = [model for key, model in loaded().items() if key not in before]
    adapted = sum(parameter.numel() for name, parameter in new[0].named_parameters() if "lora_" in name)
    assert [model.num_parameters() for model in new] == [size + adapted]
    assert bool(adapted) == bool(adapter)
    assert not hasattr(trainer, "ref_model")


@pytest.mark.parametrize(
    ("method", "quantization"), [(Method.ORPO, None), (Method.CPO, None), (Method.SIMPO, {"type": "nf4"})]
)
def test_adapters_train(tiny_model: Path, tmp_path: Path, method: Method, quantization: dict[str, Any] | None) -> None:
    adapter = {"lora": {"rank": 2}, "quantization": quantization}
    training = TRAINING | {"maxSteps": 2, "gradientCheckpointing": True}
    trainer = make_trainer(method, ROWS, tiny_model, tmp_path, adapter=adapter, training=training)
    trained = {name: parameter for name, parameter in trainer.model.named_parameters() if parameter.requires_grad}
    before = {name: parameter.detach().clone() for name, parameter in trained.items()}
    trainer.train()
    assert before
    assert all("lora_" in name for name in before)
    assert not any(parameter.equal(before[name]) for name, parameter in trained.items())
    kinds = {type(module).__name__ for module in trainer.model.modules()}
    assert ("Linear4bit" in kinds) == bool(quantization)


@pytest.mark.parametrize(("arguments", "dtype"), [({}, "float32"), ({"dtype": "bfloat16"}, "bfloat16")])
def test_precision_of_the_weights(tiny_model: Path, tmp_path: Path, arguments: dict[str, Any], dtype: str) -> None:
    """Updates of a small learning rate are lost in weights of 16 bits: files in them are loaded in float32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = tmp_path / "half"
    AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16).save_pretrained(model)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(model)
    options = {"model_init_kwargs": arguments} if arguments else {}
    trainer = make_trainer(Method.ORPO, ROWS, model, tmp_path, trainerArgs=options)
    assert trainer.model.dtype is getattr(torch, dtype)
    assert trainer.args.model_init_kwargs == (arguments or None)


def test_tokens_are_counted_without_padding(tiny_model: Path, tmp_path: Path) -> None:
    trainer = make_trainer(Method.CPO, ROWS, tiny_model, tmp_path)
    trainer.compute_loss(trainer.model, next(iter(trainer.get_train_dataloader())))
    conversations = [row["prompt"] + row[side] for row in ROWS for side in ("chosen", "rejected")]
    ids = trainer.processing_class.apply_chat_template(conversations)["input_ids"]
    assert trainer._total_train_tokens == sum(map(len, ids))


NEWLINE_AFTER_TURN = tiny.CHAT_TEMPLATE.replace("'<|end|>'", "'<|end|>\n'")
"""As ChatML does it: the last token of a conversation is not the one that ends a turn."""


@pytest.mark.parametrize("template", [tiny.CHAT_TEMPLATE, NEWLINE_AFTER_TURN])
@pytest.mark.parametrize("bos", [None, "<|system|>"])
def test_tokens_are_those_of_the_chat_template(tmp_path: Path, template: str, bos: str | None) -> None:
    tokenizer = tiny.save_tokenizer(tmp_path)
    tokenizer.chat_template, tokenizer.bos_token = template, bos
    rows = tiny.preference_rows(5)
    columns = tokenize({name: [row[name] for row in rows] for name in rows[0]}, tokenizer, max_length=1024)
    for number, row in enumerate(rows):
        for side in ("chosen", "rejected"):
            ids, labels = columns[f"{side}_input_ids"][number], columns[f"{side}_labels"][number]
            assert ids == tokenizer.apply_chat_template(row["prompt"] + row[side])["input_ids"]
            assert columns[f"{side}_attention_mask"][number] == [1] * len(ids)
            learnt = [token for token, label in zip(ids, labels, strict=True) if label != IGNORED]
            assert all(label in (token, IGNORED) for token, label in zip(ids, labels, strict=True))
            assert tokenizer.decode(learnt).strip() == row[side][0]["content"] + "<|end|>"


def test_long_pairs_are_cut_and_those_without_a_response_left_out(tmp_path: Path) -> None:
    tokenizer = tiny.save_tokenizer(tmp_path)
    short, long = tiny.preference_rows(2)
    long["prompt"][0]["content"] *= 5
    rows = {name: [short[name], long[name]] for name in short}
    prompt = len(tokenizer.apply_chat_template(short["prompt"], add_generation_prompt=True)["input_ids"])
    columns = tokenize(rows, tokenizer, max_length=prompt + 1)
    assert [len(ids) for ids in columns["chosen_input_ids"]] == [prompt + 1]
    assert [label != IGNORED for label in columns["rejected_labels"][0]] == [False] * prompt + [True]


def test_a_max_length_that_leaves_nothing_is_an_error_naming_it(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        make_trainer(Method.SIMPO, ROWS, tiny_model, tmp_path, simpo={"maxLength": 8})
    assert str(caught.value.problems[0]) == (
        "spec.stages[simpo].simpo.maxLength: no prompt of 2 pairs leaves room for a response within 8 tokens: raise it"
    )


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        (Method.ORPO, {"beta": 0.2}, "set orpo.beta instead"),
        (Method.ORPO, {"padding_value": 0}, "set spec.tokenizer.padToken instead"),
        (Method.ORPO, {"label_smoothing": 0.1}, "ORPOConfig has no option label_smoothing"),
        (Method.CPO, {"loss_type": "simpo"}, "set cpo.loss instead"),
        (Method.CPO, {"simpo_gamma": 1.0}, "make this a simpo stage"),
        (Method.SIMPO, {"loss_type": "sigmoid"}, "make this a cpo stage"),
        (Method.SIMPO, {"cpo_alpha": 1.0}, "set simpo.sftWeight instead"),
        (Method.SIMPO, {"generate_during_eval": True}, "add an evaluate stage instead"),
        (Method.ORPO, {"max_completion_length": 8}, "remove it"),
    ],
)
def test_wrong_options_are_named(method: Method, arguments: dict[str, Any], message: str) -> None:
    stage = Stage.model_validate(stage_of(method, trainerArgs=arguments))
    problems = check_options(stage, RUNTIME, path="spec.stages[0]")
    assert [problem.field for problem in problems] == [f"spec.stages[0].trainerArgs.{next(iter(arguments))}"]
    assert message in problems[0].message


def test_options_of_trl_pass() -> None:
    for method, arguments in ((Method.ORPO, {"dataset_num_proc": 2}), (Method.SIMPO, {"alpha": 0.1})):
        stage = Stage.model_validate(stage_of(method, trainerArgs=arguments))
        assert check_options(stage, RUNTIME, path="spec.stages[0]") == []
