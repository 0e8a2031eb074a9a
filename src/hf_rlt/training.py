# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What `Trainer` lacks for fine-tuning with RLT: layer-wise learning rates, batches balanced by tokens, token counts in
the log, and errors that say which checkpoint is safe."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler, SequentialSampler
from transformers import Trainer, TrainerCallback

from .checkpoints import CheckpointError, newest_checkpoint
from .data import ClipList, one_line
from .data.balance import TokenGroupedSampler, TokenRebalanceSampler, quadratic_cost, waited_share

BY_TOKENS = ("group_by_length", "batch_rebalance")


def scaled_learning_rate(base: float, total_batch: int) -> float:
    """Returns the learning rate for `total_batch` clips per optimiser step: `base * total_batch / 256`.

    Args:
        base: learning rate at 256 clips.
        total_batch: clips per device x devices x accumulation steps; repeated augmentation does not count.

    Source: VideoMAE's run_class_finetuning.py (linear scaling).
    """
    return base * total_batch / 256


def parameter_groups(
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    decayed: Iterable[str],
    learning_rate: float,
    weight_decay: float,
    layer_decay: float,
    num_layers: int,
) -> list[dict[str, Any]]:
    """Returns optimiser groups whose learning rate falls by `layer_decay` with each block away from the head.

    Block i (from 0) gets `learning_rate * layer_decay ** (num_layers - i)`, the embeddings one power more, everything
    behind the blocks the full rate. Frozen parameters are left out.

    Args:
        named_parameters: of the model, wrapped or not.
        decayed: names of the parameters that get weight decay.
        learning_rate: of the head.
        weight_decay: for the decayed parameters; the others get none.
        layer_decay: factor per block, in (0, 1].
        num_layers: number of blocks.

    Raises:
        ValueError: if `layer_decay` is out of range.

    Source: VideoMAE's optim_factory.py.
    """
    if not 0 < layer_decay <= 1:
        raise ValueError(f"Expected layer_decay in (0, 1], received {layer_decay}: VideoMAE uses 0.75, 1 turns it off.")
    decayed = set(decayed)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in named_parameters:
        if not parameter.requires_grad:
            continue
        block = re.search(r"encoder\.layer\.(\d+)\.", name)
        depth = int(block.group(1)) + 1 if block else 0 if ".embeddings." in f".{name}" else num_layers + 1
        key = (depth, name in decayed)
        rate = learning_rate * layer_decay ** (num_layers + 1 - depth)
        group = {"params": [], "lr": rate, "weight_decay": weight_decay if name in decayed else 0.0}
        groups.setdefault(key, group)["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


class RLTTrainer(Trainer):
    """`Trainer` with layer-wise learning-rate decay and batches balanced by computed tokens.

    Args:
        layer_decay: see `parameter_groups`; None keeps Trainer's two groups.
        token_counts: computed tokens of each training clip, from `count_tokens`; needed by the sampling strategies
            `batch_rebalance` (equal work for all ranks) and `group_by_length`.
        *args, **kwargs: Trainer's.

    The training log gets `tokens_computed` (share of the tokens) and, on several ranks, `tokens_waited` (share of the
    ranks' time that goes into waiting for the one with the most tokens, if time goes with tokens).
    """

    optimizer: Any

    def __init__(
        self, *args, layer_decay: float | None = None, token_counts: Sequence[int] | None = None, **kwargs
    ) -> None:
        self.layer_decay = layer_decay
        self.token_counts = token_counts
        self._tokens: dict[int, Tensor] = {}  # optimiser step -> (computed, all) on the device
        self._token_sampler: Any = None
        self._evaluated: Any = None
        super().__init__(*args, **kwargs)
        self.add_callback(_EpochCallback(self))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Returns the optimiser; the groups are `parameter_groups` if there is a layer decay."""
        if self.layer_decay is None or self.optimizer is not None:
            return super().create_optimizer() if model is None else super().create_optimizer(model)
        target = self.model if model is None else model
        kind, options = self.optimizer_cls_and_kwargs or self.get_optimizer_cls_and_kwargs(self.args, target)
        groups = parameter_groups(
            target.named_parameters(),
            self.get_decay_parameter_names(target),
            self.args.learning_rate,
            self.args.weight_decay,
            self.layer_decay,
            self.model.config.num_hidden_layers,
        )
        self.optimizer = kind(groups, **options)
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler | None:
        strategy = self.args.train_sampling_strategy
        if strategy not in BY_TOKENS:
            return super()._get_train_sampler(train_dataset)
        if self.token_counts is None:
            raise ValueError(
                f"train_sampling_strategy={strategy!r} needs the tokens of each clip: pass token_counts=count_tokens(...)."
            )
        counts, seed = [int(count) for count in self.token_counts], self.args.data_seed or self.args.seed
        args, config = self.args, self.model.config
        if strategy == "group_by_length":
            size = args.train_batch_size * args.gradient_accumulation_steps
            self._token_sampler = TokenGroupedSampler(counts, size, seed)
        else:
            self._token_sampler = TokenRebalanceSampler(
                counts,
                args.train_batch_size,
                ranks=args.world_size,
                rank=args.process_index,
                accumulation=args.gradient_accumulation_steps,
                quadratic=quadratic_cost(config.hidden_size, config.intermediate_size),
                seed=seed,
                drop_last=args.dataloader_drop_last,
            )
        return self._token_sampler

    def _get_eval_sampler(self, eval_dataset: Any) -> Sampler | None:
        return SequentialSampler(eval_dataset) if self.args.world_size <= 1 else None

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Returns Trainer's, with the last batch (`dataloader_drop_last` is meant for training), and of this data set.

        With persistent loading processes Trainer keeps one loader, whatever it is asked to evaluate on.
        """
        if eval_dataset is not self._evaluated:
            self.__dict__.pop("_eval_dataloaders", None)
        self._evaluated = eval_dataset
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = drop_last

    def compute_loss(self, model: nn.Module, inputs: dict, *args, **kwargs) -> Any:
        """Returns the loss; counts the tokens on the device, without waiting for it."""
        if model.training and "run_lengths" in inputs:
            lengths = inputs["run_lengths"]
            seen = torch.stack([(lengths > 0).sum(), torch.tensor(lengths.numel(), device=lengths.device)])
            step = self.state.global_step
            self._tokens[step] = self._tokens[step] + seen if step in self._tokens else seen
        return super().compute_loss(model, inputs, *args, **kwargs)

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        """Returns nothing; logs, with the share of tokens since the last time."""
        if self._tokens and "loss" in logs:
            seen = self.accelerator.gather(torch.stack(list(self._tokens.values()))[None])  # (ranks, steps, 2)
            computed, total = seen.double().unbind(-1)
            logs["tokens_computed"] = round(float(computed.sum() / total.sum()), 4)
            if len(seen) > 1:
                logs["tokens_waited"] = round(waited_share(computed), 4)
            self._tokens.clear()
        super().log(logs, *args, **kwargs)

    def save_model(self, *args, **kwargs) -> None:
        """Returns nothing; writes model and processor.

        Raises:
            CheckpointError: if they cannot be written; it says which checkpoint is safe.
        """
        with self.saving():
            super().save_model(*args, **kwargs)

    def _save_checkpoint(self, *args, **kwargs) -> None:
        with self.saving():
            super()._save_checkpoint(*args, **kwargs)

    def create_model_card(self, *args, **kwargs) -> None:
        """Returns nothing; writes nothing: Trainer's card knows no video classification, `hf_rlt.hub.write_card` does."""

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Context in which a file that cannot be written raises a `CheckpointError` that says which checkpoint is safe."""
        step = self.state.global_step
        try:
            yield
        except (OSError, RuntimeError, SafetensorError) as error:  # torch.save raises RuntimeError on a full disk
            safe = newest_checkpoint(self.args.output_dir)
            raise CheckpointError(
                f"Step {step} could not be saved to {self.args.output_dir} ({one_line(error)}). "
                f"{f'{safe} is whole' if safe else 'There is no whole checkpoint'}: make room or make the folder writable, "
                "and start the same command again."
            ) from error


class _EpochCallback(TrainerCallback):
    """Tells data set and sampler the epoch, and gathers from all ranks which videos could not be read.

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
        gather_bad(self.trainer.train_dataset, args)

    on_train_end = on_epoch_end


def gather_bad(dataset: Any, args: Any) -> None:
    """Returns nothing; from now on each rank knows the bad videos that any rank met, and reports none of them again."""
    clips = getattr(dataset, "clips", None)
    if args.world_size > 1 and isinstance(clips, ClipList):
        from accelerate.utils import gather

        clips.bad.copy_(gather(clips.bad.to(args.device)[None]).any(0).cpu())
