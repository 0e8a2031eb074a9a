# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What fine-tuning saves beside Trainer's checkpoints; docs/fine_tuning.md lists the files."""

import json
import logging
from pathlib import Path
from typing import Any

from ..data import EvalDataset
from ..errors import HfRltError, one_line
from ..hub import write_card
from ..hub.model_facts import RUN_FILE
from ..inference.evaluate import write_per_class
from ..inference.measure import hardware_name, installed_versions
from ..jobs.atomic import write_text_atomic
from ..models.run_rule import rule_settings
from .checkpoints import saving
from .lora import merge_lora
from .resume import finish
from .settings import chosen_settings
from .trainer import RLTTrainer

logger = logging.getLogger("finetune")


def save_training(trainer: RLTTrainer, metrics: dict[str, float] | None) -> None:
    """Save model, processor, metrics and log; `metrics` are None if the training had ended at an earlier start."""
    if trainer.is_fsdp_enabled:  # checkpoints are sharded, the model is not
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    merge_lora(trainer.model)
    trainer.save_model()
    with saving(trainer.args.output_dir, trainer.state.global_step):
        if metrics is not None:
            trainer.log_metrics("train", metrics)
            trainer.save_metrics("train", metrics)
        else:  # the results are there; Trainer has logged a training without steps
            trainer.state.log_history.pop()
        trainer.save_state()
        if trainer.is_world_process_zero() and metrics is not None:
            run = {"settings": chosen_settings(trainer.settings or {}, trainer.args), **machine(trainer.args)}
            write_text_atomic(Path(trainer.args.output_dir) / RUN_FILE, json.dumps(run, indent=2) + "\n")


def machine(args: Any) -> dict[str, Any]:
    """Return what a training runs on: hardware and versions."""
    hardware, count = hardware_name(args.device), args.world_size * max(args.n_gpu, 1)
    if count > 1:
        hardware = f"{hardware}, {count} processes" if args.device.type == "cpu" else f"{count} x {hardware}"
    return {"hardware": hardware, "versions": installed_versions(("hf_rlt", "transformers", "torch"))}


def save_evaluation(
    trainer: RLTTrainer, data: EvalDataset, metrics: dict[str, float], dataset: str, base_model: str | None
) -> None:
    """Save the final evaluation and the card, then the record that says that the training is finished."""
    folder, step = trainer.args.output_dir, trainer.state.global_step
    trainer.log_metrics("eval", metrics)
    with saving(folder, step):
        trainer.save_metrics("eval", metrics)
        if trainer.is_world_process_zero():
            write_per_class(trainer.compute_metrics.per_class, folder)
            save_card(trainer, data, metrics, dataset, base_model)
            finish(folder, trainer.settings or {}, step)


def save_card(trainer: Any, data: Any, metrics: dict[str, float], dataset: str, base_model: str | None) -> None:
    """Write the model's card, unless there is one that we did not write."""
    args = trainer.args
    views = {"num_clips": len(data.positions), "num_crops": data.num_crops}
    result = {**metrics, **views, **rule_settings(trainer.model.config), "split": "validation"}
    repo_id = args.hub_model_id if args.push_to_hub else None
    try:
        write_card(args.output_dir, repo_id=repo_id, base_model=base_model, dataset=dataset, evaluations=[result])
    except (HfRltError, OSError) as error:  # hours of training have been saved: no reason to fail
        logger.warning(f"The model is saved, its card is not: {one_line(error)}")
