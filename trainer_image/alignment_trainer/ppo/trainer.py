"""PPO on TRL's RLOOTrainer, which samples, buffers, calls the reward functions and logs.

What differs is what is learnt from a response: each token has a value, an advantage and a ratio of its own.
"""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather_object, set_seed
from torch import Tensor

from .. import trl_imports
from . import checkpoint, metrics, policy_and_values
from .experience import Experience, Responses, learn_from
from .kl_control import KlControl
from .losses import policy_losses, value_losses
from .token_rewards import last_tokens
from .value_model import make_value_model

_RLOOTrainer: Any = trl_imports.rloo_trainer()
_IGNORED = -100


class _Outputs(NamedTuple):
    """Log-probabilities and entropies of a response's tokens, values before them, [batch, tokens] each."""

    log_probs: Tensor
    entropy: Tensor
    values: Tensor
    aux_loss: Tensor | None


class PPOTrainer(_RLOOTrainer):  # type: ignore[misc]
    """Proximal policy optimization (Schulman et al., 2017, arXiv:1707.06347) as in Ziegler et al. (2019).

    Args:
        value_model: folder of the model that values start from, with the policy's tokens; None for the policy's.
        **options: what RLOOTrainer takes; ``model`` is a folder and ``args`` a PPOConfig.
    """

    _tag_names = ["trl", "ppo"]
    _name = "PPO"
    _paper = {"title": "Fine-Tuning Language Models from Human Preferences", "id": "1909.08593"}
    loss_is_scaled_for_ga = True

    def __init__(self, value_model: str | None = None, **options: Any) -> None:
        peft_config = copy.deepcopy(options.get("peft_config"))  # PEFT writes what it finds in the policy into its own
        super().__init__(**options)
        self.kl_control = KlControl(self.args.beta, self.args.kl_target, self.args.kl_horizon)
        set_seed(self.args.seed)  # a new adapter must be the same on every process
        self.value_model = make_value_model(
            self.model,
            value_model or options["model"],
            self.args,
            peft_config=peft_config,
            quantization_config=options.get("quantization_config"),
            zero3=self._dist.is_zero3,
        )
        set_seed(self.args.seed, device_specific=True)  # as RLOOTrainer left it: processes sample on their own
        language_model = self.model if peft_config is None else self.model.get_base_model()
        policy_and_values.attach(self.model, self.value_model, language_model)

    # Sampling

    def _generate_single_turn(self, *args: Any) -> Any:
        gathering: AbstractContextManager[None] = nullcontext()
        if self._dist.is_zero3 and self.value_model.backbone is not None:
            gathering = policy_and_values.gathering_the_policy_alone(self.model_wrapped, self.model)
        with gathering:
            return super()._generate_single_turn(*args)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        mode = "train" if self.model.training else "eval"
        prompts = [row["prompt"] for row in inputs]
        prompt_ids, completion_ids, completions = self._generate(prompts)
        batch = self._padded(prompt_ids, "prompt", "left") | self._padded(completion_ids, "completion", "right")
        mask = batch["completion_mask"]
        with torch.no_grad():
            sampled = self._policy_and_values(self.model, batch, self.args.train_batch_size)
            reference_log_probs = self._reference_log_probs(batch)
        by_function = self._calculate_rewards(inputs, prompts, completions, completion_ids)  # of all processes
        scores = (by_function * self.reward_weights.to(by_function.device)).nansum(dim=1)
        scores[by_function.isnan().all(dim=1)] = torch.nan
        own = slice(self.accelerator.process_index * len(inputs), (self.accelerator.process_index + 1) * len(inputs))
        ended = torch.isin(
            last_tokens(batch["completion_ids"], mask), torch.tensor(self.eos_token_ids, device=mask.device)
        )
        responses = Responses(scores[own], ended, mask, sampled.log_probs, sampled.values, reference_log_probs)
        experience = learn_from(responses, self.kl_control.coefficient, self.args, self._sum)
        self._report(mode, metrics.of_rewards(by_function, scores, self.reward_func_names))
        self._report_experience(mode, responses, experience)
        self._log_table(prompts, completions, by_function, experience)
        return batch | {
            "mask": experience.mask,
            "old_log_probs": sampled.log_probs,
            "old_values": sampled.values,
            "advantages": experience.advantages,
            "returns": experience.returns,
            "num_items_in_batch": self._sum(experience.mask.sum()),
        }

    def _padded(self, ids: list[list[int]], name: str, side: str) -> dict[str, Tensor]:
        """``<name>_ids`` and ``<name>_mask``, [batch, tokens] each."""
        device, multiple = self.accelerator.device, self.pad_to_multiple_of
        rows = [torch.tensor(row) for row in ids]
        ones = [torch.ones_like(row) for row in rows]
        return {
            f"{name}_ids": trl_imports.pad(rows, self._tokenizer.pad_token_id, side, multiple).to(device),
            f"{name}_mask": trl_imports.pad(ones, 0, side, multiple).to(device),
        }

    def _reference_log_probs(self, batch: dict[str, Tensor]) -> Tensor | None:
        """Log-probabilities of the responses' tokens under the reference, [batch, tokens]; None if there is none."""
        if self.beta == 0:
            return None
        without_adapter: AbstractContextManager[Any] = nullcontext()
        if self.ref_model is None:
            without_adapter = self.accelerator.unwrap_model(self.model).disable_adapter()
        with without_adapter:
            log_probs, _, _ = self._get_per_token_logps_and_entropies(
                self.model if self.ref_model is None else self.ref_model,
                *_whole(batch),
                batch["completion_ids"].size(1),
                self.args.train_batch_size,
            )
        return log_probs

    # Learning

    def _policy_and_values(self, model: Any, batch: dict[str, Tensor], rows: int | None = None) -> _Outputs:
        """Forward of ``batch``, ``rows`` at a time."""
        input_ids, attention_mask = _whole(batch)
        length = batch["completion_ids"].size(1)
        labels = input_ids.masked_fill(attention_mask == 0, _IGNORED)
        labels[:, :-length] = _IGNORED
        parts = []
        for start in range(0, len(input_ids), rows or len(input_ids)):
            part = slice(start, start + (rows or len(input_ids)))
            options = {"output_router_logits": True} if self.aux_loss_enabled else {}
            with self.accelerator.autocast():
                parts.append(
                    model(
                        input_ids=input_ids[part],
                        attention_mask=attention_mask[part],
                        labels=labels[part],
                        fused_lm_head=True,
                        with_values=True,
                        **options,
                    )
                )
        return _Outputs(
            log_probs=torch.cat([part["log_probs"][:, -length:] for part in parts]),
            entropy=torch.cat([part["entropy"][:, -length:] for part in parts]),
            values=torch.cat([part["values"][:, -length - 1 : -1] for part in parts]),
            aux_loss=torch.stack([part["aux_loss"] for part in parts]).mean() if self.aux_loss_enabled else None,
        )

    def _compute_loss(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        mode = "train" if self.model.training else "eval"
        outputs = self._policy_and_values(model, inputs)
        mask = inputs["mask"]
        log_ratio = (outputs.log_probs - inputs["old_log_probs"]) * mask
        policy = policy_losses(log_ratio, inputs["advantages"], self.epsilon_low, self.epsilon_high)
        value = value_losses(outputs.values, inputs["old_values"], inputs["returns"], self.args.cliprange_value)
        # Tokens that a forward pass has on average; means are over those of an optimizer step, however they are dealt
        # out to its forward passes. The count is of the generated batch, of which each pass sees a part.
        passes, accumulated = 1, 1
        if mode == "train":
            passes, accumulated = self.args.steps_per_generation, self.current_gradient_accumulation_steps
        tokens = inputs["num_items_in_batch"].clamp(min=1) / passes / self.accelerator.num_processes
        loss = ((policy.losses + self.args.vf_coef * value.losses) * mask).sum() / tokens / accumulated
        shares = metrics.of_losses(policy, value, log_ratio, outputs.entropy, mask, tokens)
        if outputs.aux_loss is not None:
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss / accumulated
            shares["aux_loss"] = outputs.aux_loss, torch.ones_like(outputs.aux_loss)
        self._report(mode, metrics.means(shares, self._sum))
        return loss

    # Reports

    def _report_experience(self, mode: str, responses: Responses, experience: Experience) -> None:
        """Also tells the KL to its controller, which heeds it from the next batch on."""
        reported = metrics.means(metrics.of_experience(responses, experience), self._sum)
        ended, total = self._sum(torch.tensor([responses.ended.sum(), len(responses.ended)], device=self.args.device))
        reported |= {"val/num_eos_tokens": ended.item(), "kl_coef": self.kl_control.coefficient}
        self._report(mode, reported)
        if mode == "train" and "objective/kl" in reported:
            self.kl_control.update(reported["objective/kl"], int(total))

    def _log_table(self, prompts: Any, completions: Any, by_function: Tensor, experience: Experience) -> None:
        """Rows of the table that TRL prints with ``log_completions``."""
        advantages = experience.advantages.sum(dim=1) / experience.mask.sum(dim=1).clamp(min=1)
        self._logs["prompt"].extend(gather_object(prompts))
        self._logs["completion"].extend(gather_object(completions))
        self._logs["advantages"].extend(self.accelerator.gather(advantages).tolist())
        for i, name in enumerate(self.reward_func_names):
            self._logs["rewards"][name].extend(by_function[:, i].tolist())

    def _report(self, mode: str, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._metrics[mode][name].append(value)

    def _sum(self, tensor: Tensor) -> Tensor:
        return self.accelerator.reduce(tensor, reduction="sum")

    # Saving

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        weights = self.model.state_dict() if state_dict is None else state_dict
        super()._save(output_dir, state_dict=policy_and_values.policy_alone(weights))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            checkpoint.save_kl(folder, self.kl_control)
            if not self.is_deepspeed_enabled:
                checkpoint.save_values(folder, self.value_model)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        checkpoint.load_values(Path(resume_from_checkpoint), self.value_model)

    def _load_optimizer_and_scheduler(self, checkpoint_folder: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint_folder)
        if checkpoint_folder is not None:
            checkpoint.load_kl(Path(checkpoint_folder), self.kl_control)


def _whole(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Ids and attention mask of prompts and responses, [batch, prompt + response] each."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    return ids, torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
