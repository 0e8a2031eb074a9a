# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`Trainer` with layer-wise learning rates, batches balanced by tokens and complete checkpoints."""

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler, SequentialSampler
from transformers import Trainer, TrainerCallback, TrainingArguments

from ..data import VideoList
from ..data.token_budget import TokenBudgetSampler
from ..data.token_samplers import TokenGroupedSampler, TokenRebalanceSampler, TokenTally, quadratic_cost
from ..errors import HfRltError
from .checkpoints import complete_checkpoint, delete_old_checkpoints, saving
from .parsing import TOKEN_BALANCED_STRATEGIES, library_refusals


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], decayed: set[str], args: Any, layer_decay: float, num_layers: int
) -> list[dict[str, Any]]:
    """Return optimiser groups whose learning rate falls by `layer_decay` with each block away from the head.

    Block i (from 0) gets `args.learning_rate * layer_decay ** (num_layers - i)`, the embeddings one power more, everything
    behind the blocks the full rate. Frozen parameters are left out; those in `decayed` get `args.weight_decay`.

    Source: VideoMAE's optim_factory.py.
    """
    if not 0 < layer_decay <= 1:
        raise HfRltError(f"Expected layer_decay in (0, 1], received {layer_decay}: VideoMAE uses 0.75, 1 turns it off.")
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        block = re.search(r"\b(?:layers?|blocks?)\.(\d+)\.", name)
        depth = int(block[1]) + 1 if block else 0 if "embed" in name else num_layers + 1
        key = (depth, name in decayed)
        rate = args.learning_rate * layer_decay ** (num_layers + 1 - depth)
        group = {"params": [], "lr": rate, "weight_decay": args.weight_decay if name in decayed else 0.0}
        groups.setdefault(key, group)["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


class RLTTrainer(Trainer):
    """`Trainer` with what fine-tuning with RLT adds.

    The training log gets `tokens_computed` (share of the tokens) and, on several ranks, `tokens_waited` (share of their
    work lost to waiting for the one with the most tokens); with `max_tokens` also `budget_used` and `budget_highest`, the
    mean and the fullest batch as a share of it. The latter can exceed 1: augmentation changes token counts.

    Args:
        layer_decay: see `parameter_groups`; None keeps Trainer's two groups.
        token_counts: computed tokens of each training clip, with all repeats, for `TOKEN_BALANCED_STRATEGIES` and
            `max_tokens`.
        max_tokens: of a training batch on each rank, instead of a number of clips, see `TokenBudgetSampler`.
        settings: of the training, see `training_settings`, to be recorded in its checkpoints.
        *args, **kwargs: Trainer's.
    """

    optimizer: Any

    def __init__(
        self,
        *args,
        layer_decay: float | None = None,
        token_counts: Sequence[int] | None = None,
        max_tokens: int | None = None,
        settings: dict[str, Any] | None = None,
        **kwargs,
    ) -> None:
        self.layer_decay, self.settings = layer_decay, settings
        self.token_counts, self.max_tokens = token_counts, max_tokens
        self._tally = TokenTally()
        self._token_sampler: Any = None
        self._evaluated: Any = None
        super().__init__(*args, **kwargs)
        self.add_callback(_EpochCallback(self))

    def create_optimizer(self, *args) -> torch.optim.Optimizer:
        """Return the optimiser; the groups are `parameter_groups` if there is a layer decay."""
        if self.layer_decay is None or self.optimizer is not None:
            with library_refusals():
                return super().create_optimizer(*args)
        target = args[0] if args else self.model
        kind, options = self.optimizer_cls_and_kwargs or self.get_optimizer_cls_and_kwargs(self.args, target)
        decayed, layers = set(self.get_decay_parameter_names(target)), self.model.config.num_hidden_layers
        groups = parameter_groups(target.named_parameters(), decayed, self.args, self.layer_decay, layers)
        with library_refusals():
            self.optimizer = kind(groups, **options)
        return self.optimizer

    def create_scheduler(self, *args, **kwargs) -> Any:
        """Return Trainer's schedule of learning rates."""
        with library_refusals():
            return super().create_scheduler(*args, **kwargs)

    def _determine_best_metric(self, *args, **kwargs) -> bool:
        with library_refusals():  # a KeyError for a metric that there is not
            return super()._determine_best_metric(*args, **kwargs)

    @property
    def budget_sampler(self) -> TokenBudgetSampler:
        """The sampler of `max_tokens`, made once: planning takes a while."""
        if self._token_sampler is None:
            self._get_train_sampler()
        return self._token_sampler

    def get_total_train_batch_size(self, args: TrainingArguments) -> int:
        """Return the clips of an optimiser step on all ranks; with `max_tokens`, on average, rounded."""
        own = super().get_total_train_batch_size(args)
        return own if self.max_tokens is None else round(self.budget_sampler.clips_per_step)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler | None:
        strategy = "max_tokens" if self.max_tokens is not None else self.args.train_sampling_strategy
        if strategy not in ("max_tokens", *TOKEN_BALANCED_STRATEGIES):
            return super()._get_train_sampler(train_dataset)
        counts, args, config = list(self.token_counts or ()), self.args, self.model.config
        seed, accumulation = args.data_seed or args.seed, args.gradient_accumulation_steps
        place = {"ranks": args.world_size, "rank": args.process_index, "seed": seed, "accumulation": accumulation}
        if self.max_tokens is not None:
            self._token_sampler = self._token_sampler or TokenBudgetSampler(counts, self.max_tokens, **place)
        elif strategy == "group_by_length":
            self._token_sampler = TokenGroupedSampler(counts, args.train_batch_size * accumulation, seed)
        else:
            place["quadratic"] = quadratic_cost(config.hidden_size, config.intermediate_size)
            place["drop_last"] = args.dataloader_drop_last
            self._token_sampler = TokenRebalanceSampler(counts, args.train_batch_size, **place)
        return self._token_sampler

    def _get_eval_sampler(self, eval_dataset: Any) -> Sampler | None:
        return SequentialSampler(eval_dataset) if self.args.world_size <= 1 else None

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Return Trainer's loader of this data set, always with its last batch."""
        if eval_dataset is not self._evaluated:  # with persistent loading processes Trainer would keep the other's
            self.__dict__.pop("_eval_dataloaders", None)
        self._evaluated = eval_dataset
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = drop_last

    def compute_loss(self, model: nn.Module, inputs: dict, return_outputs: bool = False, **kwargs) -> Any:
        """Return the loss; count the tokens that were used on the device, without waiting for it."""
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        if model.training:
            self._tally.add(self.state.global_step, outputs["run_lengths"])
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        """Log, adding the share of tokens since the last time."""
        if self._tally and "loss" in logs:
            logs.update(self._tally.shares(self.accelerator.gather, self.max_tokens))
        super().log(logs, *args, **kwargs)

    def save_model(self, *args, **kwargs) -> None:
        """Write model and processor; raise CheckpointError, which says what is safe, if that fails."""
        with saving(self.args.output_dir, self.state.global_step):
            super().save_model(*args, **kwargs)

    def _save_checkpoint(self, *args, **kwargs) -> None:
        """Write a checkpoint, then the record that marks it as complete, and only then delete older ones."""
        limit, save_state = self.args.save_total_limit, self.state.save_to_json

        def save_last_file(path: str) -> None:
            save_state(path)
            folder = Path(path).parent
            complete_checkpoint(folder, self.settings, self.state.global_step)
            delete_old_checkpoints(folder, limit, self.state.best_model_checkpoint)
            self.args.save_total_limit = None  # Trainer has nothing left to delete

        self.state.save_to_json = save_last_file  # type: ignore[method-assign]
        try:
            with saving(self.args.output_dir, self.state.global_step):
                super()._save_checkpoint(*args, **kwargs)
        finally:
            del self.state.save_to_json
            self.args.save_total_limit = limit

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        # The base class copies config and weights into the folder it pushes, and not the code that the config names.
        if self.is_world_process_zero():
            for file in Path(checkpoint_folder).glob("*.py"):
                shutil.copy(file, self.args.output_dir)
        super()._push_from_checkpoint(checkpoint_folder)

    def _save_rng_state(self, *args, **kwargs) -> None:
        super()._save_rng_state(*args, **kwargs)
        self.accelerator.wait_for_everyone()  # the record covers the files of all ranks

    def _run_epoch(self, *args, **kwargs) -> None:
        if self.state.global_step < self.state.max_steps:  # otherwise resuming a finished training takes one more step
            super()._run_epoch(*args, **kwargs)

    def create_model_card(self, *args, **kwargs) -> None:
        """Write nothing: Trainer's card does not support video classification; `hf_rlt.hub.write_card` does."""


class _EpochCallback(TrainerCallback):
    """Set the epoch of data set and sampler; share which videos are unreadable.

    Accelerate tells the epoch to the sampler *or* to the data set, and to neither through the batch samplers of a
    training that is resumed on several ranks.
    """

    def __init__(self, trainer: RLTTrainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs) -> None:
        for target in (self.trainer.train_dataset, self.trainer._token_sampler):
            if hasattr(target, "set_epoch"):
                target.set_epoch(int(state.epoch or 0))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs) -> None:
        sync_unreadable(self.trainer.train_dataset, args)

    on_train_end = on_epoch_end


def sync_unreadable(dataset: Any, args: Any) -> None:
    """Share with all ranks which videos any of them could not read, so that none is reported again."""
    clips = getattr(dataset, "clips", None)
    if args.world_size > 1 and isinstance(clips, VideoList):
        from accelerate.utils import gather

        clips.unreadable_mask.copy_(gather(clips.unreadable_mask.to(args.device)[None]).any(0).cpu())
