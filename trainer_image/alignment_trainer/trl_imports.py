"""The only place that names TRL's paths. Each function imports one class and no more: imports cost seconds."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any


def sft_config() -> type[Any]:
    """TRL's ``SFTConfig``."""
    from trl.trainer.sft_config import SFTConfig

    return SFTConfig  # type: ignore[no-any-return]


def sft_trainer() -> type[Any]:
    """TRL's ``SFTTrainer``."""
    from trl.trainer.sft_trainer import SFTTrainer

    return SFTTrainer  # type: ignore[no-any-return]


def reward_config() -> type[Any]:
    """TRL's ``RewardConfig``."""
    from trl.trainer.reward_config import RewardConfig

    return RewardConfig  # type: ignore[no-any-return]


def reward_trainer() -> type[Any]:
    """TRL's ``RewardTrainer``."""
    from trl.trainer.reward_trainer import RewardTrainer

    return RewardTrainer  # type: ignore[no-any-return]


def dpo_config() -> type[Any]:
    """TRL's ``DPOConfig``."""
    from trl.trainer.dpo_config import DPOConfig

    return DPOConfig  # type: ignore[no-any-return]


def dpo_trainer() -> type[Any]:
    """TRL's ``DPOTrainer``."""
    from trl.trainer.dpo_trainer import DPOTrainer

    return DPOTrainer  # type: ignore[no-any-return]


def kto_config() -> type[Any]:
    """TRL's ``KTOConfig``."""
    from trl.trainer.kto_config import KTOConfig

    return KTOConfig  # type: ignore[no-any-return]


def kto_trainer() -> type[Any]:
    """TRL's ``KTOTrainer``."""
    from trl.trainer.kto_trainer import KTOTrainer

    return KTOTrainer  # type: ignore[no-any-return]


def orpo_config() -> type[Any]:
    """TRL's ``ORPOConfig``."""
    with _experimental():
        from trl.experimental.orpo import ORPOConfig

    return ORPOConfig  # type: ignore[no-any-return]


def orpo_trainer() -> type[Any]:
    """TRL's ``ORPOTrainer``."""
    with _experimental():
        from trl.experimental.orpo import ORPOTrainer

    return ORPOTrainer  # type: ignore[no-any-return]


def cpo_config() -> type[Any]:
    """TRL's ``CPOConfig``, of CPO and of SimPO."""
    with _experimental():
        from trl.experimental.cpo import CPOConfig

    return CPOConfig  # type: ignore[no-any-return]


def cpo_trainer() -> type[Any]:
    """TRL's ``CPOTrainer``, of CPO and of SimPO."""
    with _experimental():
        from trl.experimental.cpo import CPOTrainer

    return CPOTrainer  # type: ignore[no-any-return]


def grpo_config() -> type[Any]:
    """TRL's ``GRPOConfig``."""
    from trl.trainer.grpo_config import GRPOConfig

    return GRPOConfig  # type: ignore[no-any-return]


def grpo_trainer() -> type[Any]:
    """TRL's ``GRPOTrainer``."""
    from trl.trainer.grpo_trainer import GRPOTrainer

    return GRPOTrainer  # type: ignore[no-any-return]


def rloo_config() -> type[Any]:
    """TRL's ``RLOOConfig``."""
    from trl.trainer.rloo_config import RLOOConfig

    return RLOOConfig  # type: ignore[no-any-return]


def rloo_trainer() -> type[Any]:
    """TRL's ``RLOOTrainer``."""
    from trl.trainer.rloo_trainer import RLOOTrainer

    return RLOOTrainer  # type: ignore[no-any-return]


def sync_ref_model_callback() -> type[Any]:
    """TRL's ``SyncRefModelCallback``."""
    from trl.trainer.callbacks import SyncRefModelCallback

    return SyncRefModelCallback  # type: ignore[no-any-return]


def _experimental() -> AbstractContextManager[None]:
    """Without the notice that these modules may change: the version of TRL is pinned, and tests hold its results."""
    from trl.import_utils import suppress_experimental_warning

    return suppress_experimental_warning()  # type: ignore[no-any-return]


def load_language_model(folder: str, **options: Any) -> Any:
    """The language model in ``folder``, as TRL's stable trainers load the one they train: in float32 by default."""
    from trl.trainer.utils import create_model_from_path

    return create_model_from_path(folder, **options)


def disable_dropout(model: Any) -> None:
    """Set every dropout in ``model`` to 0."""
    from trl.trainer.utils import disable_dropout_in_model

    disable_dropout_in_model(model)


def pad(rows: list[Any], value: int, side: str, multiple: int | None) -> Any:
    """One tensor of ``rows`` of different lengths, [rows, longest].

    Args:
        rows: one-dimensional tensors.
        value: what fills the gaps.
        side: ``left`` or ``right``.
        multiple: number of which the length is made a multiple; None to leave it.
    """
    from trl.trainer.utils import pad as pad_rows

    return pad_rows(rows, padding_value=value, padding_side=side, pad_to_multiple_of=multiple)


def common_prefix_length(ids: list[int], other_ids: list[int]) -> int:
    """How many tokens two sequences begin with alike: where TRL lets a response start."""
    from trl.data_utils import common_prefix_length as length

    return int(length(ids, other_ids))


def trained_tokens(trainer: Any) -> int:
    """Tokens the trainer has counted over all processes."""
    return int(trainer._total_train_tokens)


def set_trained_tokens(trainer: Any, tokens: int) -> None:
    """Let the trainer's token count go on from ``tokens``; TRL itself starts at 0 when it resumes."""
    trainer._total_train_tokens = tokens


def sampled_responses(trainer: Any) -> list[str]:
    """Texts of the responses that an online trainer sampled last, over all processes; none for other trainers."""
    logged = getattr(trainer, "_logs", {}).get("completion", ())
    return [
        response if isinstance(response, str) else "".join(str(message.get("content") or "") for message in response)
        for response in logged
    ]
