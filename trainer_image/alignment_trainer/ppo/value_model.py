"""Values of states: a linear head on the policy's hidden states, or a model of their own with one.

A model of its own is a backbone and a head. From a reward model it takes both; from a language model it takes the
backbone, and the head begins at zero, so that the first advantages are the returns themselves. With an adapter, the
backbone is frozen too and gets an adapter of the same kind; the head is always trained whole.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from .. import trl_imports
from ..models import remote_code
from ..models.reward_model import is_classifier

_PEFT_TASK: Final = "FEATURE_EXTRACTION"


class ValueModel(nn.Module):  # type: ignore[misc]
    """A linear head on hidden states.

    Args:
        head: from the hidden size to 1.
        backbone: the model whose hidden states these are; None if they are the policy's.
    """

    def __init__(self, head: nn.Linear, backbone: nn.Module | None = None) -> None:
        super().__init__()
        self.head = head
        self.backbone: Any | None = backbone

    def forward(self, hidden_states: Tensor, **inputs: Tensor) -> Tensor:
        """Value of the state after each token.

        Args:
            hidden_states: the policy's last ones, [batch, tokens, hidden]; a backbone makes its own.
            inputs: ``input_ids`` and ``attention_mask``, [batch, tokens], for the backbone.

        Returns:
            [batch, tokens], float32.
        """
        if self.backbone is not None:
            hidden_states = self.backbone(**inputs, use_cache=False).last_hidden_state
        values: Tensor = self.head(hidden_states.to(self.head.weight.dtype)).squeeze(-1).float()
        return values


def make_value_model(
    policy: Any, folder: str, args: Any, *, peft_config: Any | None, quantization_config: Any | None, zero3: bool
) -> ValueModel:
    """The value model for ``policy``, ready to become a part of it.

    Args:
        policy: the model that is trained.
        folder: the model that values start from, unless they share the policy's backbone.
        args: the PPOConfig.
        peft_config: a copy of the policy's adapter, if it has one; changed in place.
        quantization_config: how the policy's frozen base is quantized, if it is.
        zero3: whether ZeRO-3 trains them.
    """
    if args.share_backbone:
        return ValueModel(_zero_head(policy.config, policy.dtype).to(args.device))
    model = _load(folder, policy.dtype, quantization_config)
    backbone: Any = model.backbone
    if args.disable_dropout:
        trl_imports.disable_dropout(backbone)
    if peft_config is not None:
        from peft import get_peft_model

        peft_config.task_type = _PEFT_TASK
        # Under ZeRO-3 all weights must have one type; TRL does the same with the policy's adapter.
        model.backbone = backbone = get_peft_model(backbone, peft_config, autocast_adapter_dtype=not zero3)
    if args.gradient_checkpointing:
        backbone.gradient_checkpointing_enable(args.gradient_checkpointing_kwargs)
        if peft_config is not None:
            backbone.enable_input_require_grads()
    if quantization_config is None:
        return model.to(args.device)  # type: ignore[no-any-return]
    for parameter in model.parameters():  # what is quantized lies on the device already
        if parameter.requires_grad:
            parameter.data = parameter.data.to(args.device, torch.bfloat16)  # the type of the policy's adapter
    return model


def _load(folder: str, dtype: torch.dtype, quantization_config: Any | None) -> ValueModel:
    """The value model that starts from the reward model or language model in ``folder``; Prepare has checked it.

    Args:
        folder: as written by ``save_pretrained``.
        dtype: of its weights; ZeRO-3 gathers them together with the policy's, which must have the same.
        quantization_config: how the backbone is quantized, if it is.
    """
    code = remote_code.options(folder)
    options = {"dtype": dtype, "quantization_config": quantization_config, **code}
    config = AutoConfig.from_pretrained(folder, **code)
    if not is_classifier(config):
        return ValueModel(_zero_head(config, dtype), AutoModel.from_pretrained(folder, **options))
    classifier = AutoModelForSequenceClassification.from_pretrained(folder, **options)
    return ValueModel(classifier.score, classifier.base_model)


def _zero_head(config: Any, dtype: torch.dtype) -> nn.Linear:
    head = nn.Linear(config.get_text_config().hidden_size, 1, bias=False, dtype=dtype)
    nn.init.zeros_(head.weight)
    return head
