"""Adapters: LoRA and the quantization of the frozen base under it."""

from __future__ import annotations

from typing import Any, Final

from alignment_api.contract import Problem
from alignment_api.v1alpha1 import Adapter

ALL_LINEAR: Final = "all-linear"
OUTPUT_HEAD: Final = "lm_head"


def check(adapter: Adapter, path: str) -> list[Problem]:
    """Refuse an adapter on the output head, whose weight TRL multiplies with directly, past any adapter.

    Args:
        adapter: the API's adapter.
        path: its path in the manifest.
    """
    return [
        Problem(field=f"{path}.lora.targetModules", message=f"{name} is the output head, which takes none: remove it")
        for name in adapter.lora.target_modules or ()
        if name.split(".")[-1] == OUTPUT_HEAD
    ]


def peft_config(adapter: Adapter, task: str) -> Any:
    """PEFT's configuration of ``adapter``.

    Args:
        adapter: the API's adapter.
        task: PEFT task type; ``SEQ_CLS`` also trains the score head.
    """
    from peft import LoraConfig

    lora = adapter.lora
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        use_dora=lora.dora,
        use_rslora=lora.rank_stabilized,
        target_modules=lora.target_modules or ALL_LINEAR,
        task_type=task,
    )


def quantization_config(adapter: Adapter) -> Any | None:
    """How transformers quantizes the frozen base, or None.

    The 4-bit weights are stored as bfloat16 elements: ZeRO-3 partitions parameters of floating-point types only.
    """
    if adapter.quantization is None:
        return None
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=adapter.quantization.type,
        bnb_4bit_use_double_quant=adapter.quantization.double_quantization,
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_quant_storage=torch.bfloat16,
    )
