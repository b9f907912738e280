"""PPO against the last TRL that had it (1.12, `trl.experimental.ppo`): the same numbers from the same responses.

TRL 1.12 lies in a folder of its own, in front of the rest of the environment, and trains in another process. Both get
the model, the reward model and, for each batch, responses that were drawn beforehand: what is compared is everything
that follows from them. All responses are of full length without an end, since TRL pays the score one position after
the token that ends a response.

    python -m tests.bench ppo_peer
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

TRL_1_12: Final = Path("~/.cache/alignment-operator/trl-1.12").expanduser()
PROMPTS: Final = 32
TOKENS: Final = 16
BATCHES: Final = 6
PASSES: Final = 4
TOLERANCE: Final = 1e-4
"""Relative: both add up the same numbers in another order, over optimizer steps of Adam."""

SHARED: Final[dict[str, Any]] = {
    "per_device_train_batch_size": PROMPTS,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "constant",
    "gradient_checkpointing": False,
    "gamma": 0.99,
    "lam": 0.95,
    "cliprange_value": 0.2,
    "vf_coef": 0.1,
    "whiten_rewards": True,
    "temperature": 1.0,
    "bf16": False,
    "use_cpu": True,
    "report_to": "none",
    "disable_tqdm": True,
    "save_strategy": "no",
    "seed": 0,
}
COMPARED: Final = (
    "objective/kl",
    "objective/entropy",
    "objective/non_score_reward",
    "objective/rlhf_reward",
    "objective/scores",
    "policy/approxkl_avg",
    "policy/clipfrac_avg",
    "loss/policy_avg",
    "loss/value_avg",
    "val/clipfrac_avg",
    "val/ratio",
)


def main() -> None:
    """Run both and print a table of the largest relative differences."""
    if not TRL_1_12.is_dir():
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(TRL_1_12)]
        subprocess.run([*install, "trl==1.12.0"], check=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        ours, theirs = run("ours", folder, []), run("peer", folder, [str(TRL_1_12)])
    print(f"PPO, {BATCHES} batches of {PROMPTS} responses of {TOKENS} tokens, {PASSES} passes over each, one process")
    print(f"  {'':<28}{'ours, last':>14}{'TRL 1.12, last':>16}{'largest difference':>20}")
    for metric in COMPARED:
        pairs = [(mine[metric], other[metric]) for mine, other in zip(ours["batches"], theirs["batches"], strict=True)]
        scale = max(abs(other) for _, other in pairs)
        difference = max(abs(mine - other) for mine, other in pairs) / max(scale, 1e-3)
        print(f"  {metric:<28}{pairs[-1][0]:>14.6f}{pairs[-1][1]:>16.6f}{difference:>20.1e}")
        assert difference < TOLERANCE, metric
    print(f"  seconds without generation: {ours['seconds']:.1f} ours, {theirs['seconds']:.1f} TRL 1.12")


def prepare(folder: Path) -> None:
    """Write the models, the prompts and the responses of each batch into ``folder``."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from tests.trainer import tiny

    model = folder / "model"
    model.mkdir()
    tiny.save_model(model)
    torch.manual_seed(1)
    AutoModelForSequenceClassification.from_pretrained(model, num_labels=1).save_pretrained(folder / "reward")
    generator = random.Random(0)
    prompts = [f"say {tiny.WORDS[i % 13]} {'very ' * (i % 4)}{i}" for i in range(PROMPTS)]
    responses = [
        {prompt: [generator.randrange(10, 300) for _ in range(TOKENS)] for prompt in prompts} for _ in range(BATCHES)
    ]
    (folder / "responses.json").write_text(json.dumps(responses))


def run(which: str, folder: Path, path: list[str]) -> dict[str, Any]:
    """Train in a process of its own with ``path`` in front of the import path; its result."""
    result = folder / f"{which}.json"
    search = os.pathsep.join([*path, *filter(None, [os.environ.get("PYTHONPATH"), os.getcwd()])])
    subprocess.run(
        [sys.executable, "-m", "tests.bench.ppo_peer", which, str(folder), str(result)],
        env=os.environ | {"PYTHONPATH": search, "CUDA_VISIBLE_DEVICES": "", "TRL_EXPERIMENTAL_SILENCE": "1"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    content: dict[str, Any] = json.loads(result.read_text())
    return content


class Responses:
    """The responses that were drawn beforehand: a batch of them each time all prompts are asked for."""

    def __init__(self, folder: Path, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._batches = json.loads((folder / "responses.json").read_text())
        self.prompts = list(self._batches[0])
        self._batch = -1

    def to(self, prompt_ids: list[list[int]]) -> list[list[int]]:
        """The next batch's responses to all prompts, in the order of ``prompt_ids``."""
        self._batch += 1
        return [self._batches[self._batch][self._tokenizer.decode(ids)] for ids in prompt_ids]


def train_ours(folder: Path) -> dict[str, Any]:
    """Our trainer; each batch's metrics, averaged over its passes as TRL does."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from alignment_trainer.ppo.config import PPOConfig
    from alignment_trainer.ppo.trainer import PPOTrainer

    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "reward")
    responses = Responses(folder, tokenizer)
    judge = AutoModelForSequenceClassification.from_pretrained(folder / "reward").eval()

    def reward(prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        whole = [tokenizer(prompt)["input_ids"] + ids for prompt, ids in zip(prompts, completion_ids, strict=True)]
        inputs = tokenizer.pad({"input_ids": whole}, padding_side="right", return_tensors="pt")
        with torch.no_grad():
            rewards: list[float] = judge(**inputs).logits[:, 0].tolist()
        return rewards

    class Trainer(PPOTrainer):
        def _generate_single_turn(self, prompt_ids: list[list[int]], *_: Any) -> list[list[int]]:
            return responses.to(prompt_ids)

    config = PPOConfig(
        **SHARED, output_dir=str(folder / "out-ours"), beta=0.05, epsilon=0.2, num_iterations=PASSES,
        generation_batch_size=PROMPTS, max_completion_length=TOKENS, max_steps=BATCHES * PASSES, logging_steps=1,
        max_grad_norm=1e9, disable_dropout=True,
    )  # fmt: skip
    trainer = Trainer(
        model=str(folder / "model"), args=config, processing_class=tokenizer, reward_funcs=[reward],
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in responses.prompts]),
        value_model=str(folder / "reward"),
    )  # fmt: skip
    began = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - began
    entries = [entry for entry in trainer.state.log_history if "loss" in entry]
    batches = []
    for first in range(0, len(entries), PASSES):
        passes = entries[first : first + PASSES]
        means = {name: sum(entry[name] for entry in passes) / PASSES for name in COMPARED if name in passes[-1]}
        batches.append({name: passes[0][name] for name in COMPARED if name not in means} | means)
    return {"batches": batches, "seconds": seconds}


def train_peer(folder: Path) -> dict[str, Any]:
    """TRL 1.12's trainer."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

    tokenizer = AutoTokenizer.from_pretrained(folder / "model", padding_side="left")
    responses = Responses(folder, tokenizer)

    def fixed(model: Any, queries: Any, _rows: int, pad_token_id: int, _config: Any) -> tuple[Any, Any]:
        prompt_ids = [[token for token in row if token != pad_token_id] for row in queries.tolist()]
        ids = torch.cat([queries, torch.tensor(responses.to(prompt_ids))], dim=1)
        with torch.no_grad():
            return ids, ppo_trainer.forward(model, ids, pad_token_id).logits[:, queries.shape[1] - 1 : -1]

    ppo_trainer.batch_generation = fixed
    config = PPOConfig(
        **SHARED, output_dir=str(folder / "out-peer"), kl_coef=0.05, cliprange=0.2, num_ppo_epochs=PASSES,
        num_mini_batches=1, response_length=TOKENS, total_episodes=BATCHES * PROMPTS, num_sample_generations=0,
        eval_strategy="no",
    )  # fmt: skip
    rows = [{"input_ids": tokenizer(prompt)["input_ids"]} for prompt in responses.prompts]
    policy, reference = (AutoModelForCausalLM.from_pretrained(folder / "model") for _ in range(2))
    judge, values = (AutoModelForSequenceClassification.from_pretrained(folder / "reward") for _ in range(2))
    trainer = PPOTrainer(
        args=config, processing_class=tokenizer, model=policy, ref_model=reference, reward_model=judge,
        value_model=values, train_dataset=Dataset.from_list(rows), eval_dataset=Dataset.from_list(rows),
    )  # fmt: skip
    history: list[dict[str, float]] = []
    trainer.log = lambda metrics, *_: history.append(dict(metrics))
    began = time.monotonic()
    trainer.train()
    return {"batches": history, "seconds": time.monotonic() - began}


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        train = {"ours": train_ours, "peer": train_peer}[sys.argv[1]]
        Path(sys.argv[3]).write_text(json.dumps(train(Path(sys.argv[2]))))
