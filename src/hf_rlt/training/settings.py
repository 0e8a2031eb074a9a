# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Collect the settings that a training's result depends on, and compare them with those of an earlier start."""

import json
import os
import re
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from ..data import ClipStream, VideoList
from ..errors import truncate
from .arguments import DataArguments, Groups, ModelArguments, RecipeArguments
from .checkpoints import file_digest, json_digest

Settings = dict[str, Any]

# Settings that may change when a training is resumed: where it runs, how fast, what it logs, keeps and pushes. All
# others affect the result, even how often it evaluates: that advances the random numbers of drop path and mixing.
_FREE = """
    output_dir resume_from_checkpoint ignore_data_skip restore_callback_states_from_checkpoint do_train do_eval do_predict
    logging_dir logging_strategy logging_steps logging_first_step logging_nan_inf_filter log_level log_level_replica
    log_on_each_node disable_tqdm report_to run_name project trackio_space_id trackio_bucket_id trackio_static_space_id
    include_num_input_tokens_seen include_for_metrics skip_memory_metrics debug
    save_strategy save_steps save_total_limit save_on_each_node save_only_model enable_jit_checkpoint
    hub_token hub_private_repo hub_strategy hub_always_push hub_revision
    dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers dataloader_prefetch_factor
    dataloader_multiprocessing_context cache_megabytes on_bad_video
    per_device_train_batch_size gradient_accumulation_steps per_device_eval_batch_size eval_accumulation_steps
    eval_do_concat_batches eval_use_gather_object batch_eval_metrics prediction_loss_only
    gradient_checkpointing gradient_checkpointing_kwargs activation_checkpointing activation_checkpointing_kwargs
    torch_empty_cache_steps use_cpu local_rank remove_unused_columns
    ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph ddp_backend ddp_timeout
    max_steps num_train_epochs
"""
FREE = frozenset(_FREE.split())
# Settings that matter only at the end, and may change until then.
LATE = frozenset({"num_clips", "num_crops", "push_to_hub", "hub_model_id", "bf16_full_eval", "fp16_full_eval"})
# Settings that say where videos and weights lie, which may be moved, e.g. to another machine.
TRAIN = ("train_dir", "train_file", "dataset_name", "dataset_config_name", "train_split", "streaming")
VALIDATION = ("validation_dir", "validation_file", "validation_split", "validation_fraction")
PLACES = {
    "training_videos": (*TRAIN, "video_dir", "label_file", "digits_dir", "validation_fraction"),
    "validation_videos": (*VALIDATION, "dataset_name", "dataset_config_name", "video_dir", "label_file", "digits_dir"),
    "starting_weights": ("model_name_or_path",),
}
OURS = {f.name: f.default for group in (ModelArguments, DataArguments, RecipeArguments) for f in fields(group)}
HOW_IT_RUNS = {"accelerator_config", "deepspeed", "fsdp", "fsdp_config"}  # not what it trains
ALWAYS_TOLD = ("learning_rate", "optim", "lr_scheduler_type", "weight_decay", "seed")
SPLIT = ("per_device_train_batch_size", "processes", "gradient_accumulation_steps")


def training_settings(groups: Groups, train: VideoList | ClipStream, validation: VideoList) -> Settings:
    """Collect what a training's result depends on, in the form that JSON gives back.

    The names, sizes and classes of video files count, not where they are.
    """
    model, data, recipe, args = groups
    given = {**asdict(model), **asdict(data), **asdict(recipe), **args.to_dict()}
    found = {name: value for name, value in given.items() if name not in FREE}
    found |= model.rule_changes  # numbers, however they were written
    if recipe.base_learning_rate is not None:
        del found["learning_rate"]
    if data.streaming:  # loading processes divide the stream's files among themselves
        found["dataloader_num_workers"] = args.dataloader_num_workers
    batches = args.world_size * args.gradient_accumulation_steps
    if data.max_tokens_per_batch is None:
        found["clips_per_step"] = args.train_batch_size * batches
    else:
        found["batches_per_step"] = batches
    split = (args.train_batch_size, args.world_size, args.gradient_accumulation_steps)
    found["split"] = dict(zip(SPLIT, split, strict=True))
    unit = "max_steps" if args.max_steps > 0 else "num_train_epochs"
    found["length"] = {unit: getattr(args, unit)}
    found["classes"] = list(train.names)
    hub = data.source == "hub"
    found["training_videos"] = _videos(train, hub and [given[name] for name in TRAIN])
    found["validation_videos"] = _videos(validation, hub and [data.dataset_name, data.validation_split])
    found["starting_weights"] = _weights(model.model_name_or_path, args.output_dir)
    return json.loads(json.dumps(found, default=str))


def chosen_settings(settings: Settings, args: Any) -> Settings:
    """Return the settings for the card: the usual ones and all that differ from the defaults, without paths."""
    defaults = {f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(args)}
    defaults = json.loads(json.dumps({**defaults, **OURS}, default=str))
    private = {*LATE, *HOW_IT_RUNS, *(name for place, names in PLACES.items() for name in (place, *names))}
    chosen = {name: value for name, value in settings.items() if name in defaults and value != defaults[name]}
    told = {name: getattr(args, name) for name in ALWAYS_TOLD} | chosen
    batch = {name: settings[name] for name in ("clips_per_step", "batches_per_step") if name in settings}
    told = json.loads(json.dumps(told | batch | settings.get("length", {}), default=str))
    return {name: value for name, value in told.items() if name not in private and not re.search(r"[/\\]", str(value))}


def changes(found: Settings, wanted: Settings, finished: bool = False) -> list[str]:
    """Name the settings that differ, each with its old and new value, except the length and the split.

    If the earlier training has `finished`, settings that matter at the end count, too.
    """
    places = {name for group in PLACES.values() for name in group}
    left_out = {"split", "length", *places, *(() if finished else LATE)}
    differing: list[str] = []
    for name in wanted:
        # A setting that only one of them has is new: its default is what was before, or it is from another transformers.
        if name not in left_out and found.get(name, OURS.get(name, wanted[name])) != wanted[name]:
            differing += [place for place in PLACES.get(name, ()) if found.get(place) != wanted.get(place)] + [name]
    return [_change(name, found.get(name, OURS.get(name)), wanted.get(name)) for name in dict.fromkeys(differing)]


def _change(name: str, was: Any, now: Any) -> str:
    if name == "classes" and set(was) != set(now):  # there may be hundreds: name only those that differ
        gone, come = [one for one in was if one not in now], [one for one in now if one not in was]
        return f"{name} was with {truncate(gone, 500)}, is with {truncate(come, 500)}"
    return f"{name} was {truncate(was, 500)}, is {truncate(now, 500)}"


def length_change(found: Settings, wanted: Settings, steps: int | None = None) -> tuple[str | None, bool]:
    """Describe the change in a training's length, if any, and say whether it is to be longer.

    If the earlier training has ended, `steps` says after how many.
    """
    ((unit, was),), ((other, now),) = found["length"].items(), wanted["length"].items()
    if unit == other:
        return (None if was == now else f"{unit} was {was}, is {now}"), now > was
    return f"{unit} was {was}, {other} is {now}", other == "max_steps" and steps is not None and now > steps


def split_change(found: Settings, wanted: Settings) -> str | None:
    """Describe how the clips of a step are split up, if that has changed; else return None."""
    was, now = (" x ".join(str(of["split"][name]) for name in SPLIT) for of in (found, wanted))
    return None if was == now else f"{' x '.join(SPLIT)} was {was}, is {now}"


def _videos(clips: VideoList | ClipStream, hub: Any) -> str:
    """Return the number of videos and a digest that identifies them."""
    if isinstance(clips, ClipStream):
        return f"a stream ({json_digest(hub)[:16]})"
    told: list[Any] = [hub, clips.labels]
    if not hub:
        paths = [os.path.abspath(source) for source in clips.sources]
        above = os.path.commonpath([os.path.dirname(path) for path in paths])
        told += [[os.path.relpath(path, above), _size(path)] for path in paths]
    return f"{len(clips)} videos ({json_digest(told)[:16]})"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # missing ones are skipped or reported when they are read
        return -1


def _weights(name: str | None, output_dir: str | None) -> str | None:
    """Return a digest of a model folder's files, a Hub id as it is, and no digest of a folder that is trained in place."""
    if name is None or not Path(name).is_dir():
        return name
    if output_dir and Path(output_dir).is_dir() and os.path.samefile(name, output_dir):
        return "the output folder"
    files = [path for end in ("safetensors", "bin", "json") for path in sorted(Path(name).glob(f"*.{end}"))]
    counting = [path for path in files if path.suffix != ".json" or "config" in path.name]
    return f"files ({json_digest([[path.name, file_digest(path)] for path in counting])[:16]})"
