# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Fine-tunes (or trains from scratch) RLT-VideoMAE for video classification with `Trainer`.

accelerate launch examples/finetune.py                                        # a small set, rendered offline
accelerate launch examples/finetune.py --train_dir a --validation_dir b --model_name_or_path MCG-NJU/videomae-base
accelerate launch examples/finetune.py --train_file train.csv --validation_file validation.csv     # path,label
accelerate launch examples/finetune.py --dataset_name user/videos
accelerate launch examples/finetune.py settings.json                          # the same arguments as JSON

Kinetics with VideoMAE's recipe on 8 GPUs (docs/fine_tuning.md has the rest):

accelerate launch --config_file examples/accelerate_configs/eight_gpus.yaml examples/finetune.py --recipe videomae \
    --model_name_or_path MCG-NJU/videomae-base --train_file k400/train.csv --validation_file k400/val.csv \
    --video_dir k400/videos --on_bad_video skip --train_sampling_strategy batch_rebalance --bf16 True
"""

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from tqdm.auto import tqdm
from transformers import TrainingArguments, set_seed
from transformers.utils import check_min_version

from ..baselines import ToMeVideoMAEForVideoClassification
from ..data import (
    ClipStream,
    EvalDataset,
    TrainDataset,
    TrainStream,
    UnreadableClipError,
    VideoList,
    from_file,
    from_folder,
    from_hub,
    render_digits,
    split_clips,
)
from ..errors import HfRltError, one_line
from ..hub import write_card
from ..hub.repo_config import read_config
from ..inference.evaluate import IGNORED_OUTPUTS, ClipMetrics, logits_and_tokens, write_per_class
from ..models.configuration_rlt_videomae import RLTVideoMAEConfig
from ..models.modeling_rlt_videomae import RLTVideoMAEForVideoClassification
from ..models.video_processing_rlt import RLTVideoProcessor
from ..tokens import count_tokens
from .arguments import DataArguments, ModelArguments, RecipeArguments, given_names, parse
from .checkpoints import CheckpointError, check_output_dir
from .recipes import DIGITS, make_augmentation, make_collator, platform, recipe, settle
from .resume import FinishedError, begin, find_start, finish
from .settings import Settings, training_settings
from .trainer import TOKEN_BALANCED_STRATEGIES, RLTTrainer, scaled_learning_rate, sync_unreadable

check_min_version("5.18.0")
logger = logging.getLogger("finetune")

SMALL_MODEL = {
    "image_size": 64,
    "patch_size": 8,
    "num_frames": 16,
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "initializer_range": 0.06,  # narrow layers: with VideoMAE's 0.02 the first epochs learn nothing
}


def defaults(get: Any, given: set[str]) -> dict[str, Any]:
    """Return this job's defaults; `get(name)` is the user's value of our arguments, `given` all names the user set."""
    model, own_videos = get("model_name_or_path"), any(map(get, ("train_dir", "train_file", "dataset_name")))
    if model:
        read_config(model)  # fail early, with a clear error, if there is no such model
    name = get("recipe") or "none"
    width = RLTVideoMAEConfig.from_pretrained(model).hidden_size if model and name != "none" else 768
    settings = {**platform(), **recipe(name, width)}
    if "learning_rate" in given:
        settings.pop("base_learning_rate", None)
    if model or own_videos:
        return {"output_dir": "outputs/finetuned", **settings}
    dense = str(get("threshold") or "").lower() == "none"
    return {"output_dir": "outputs/digits-dense" if dense else "outputs/digits", **DIGITS, **settings}


def read_arguments(argv: list[str]) -> tuple[ModelArguments, DataArguments, RecipeArguments, TrainingArguments]:
    """Return the argument groups of a command line; the user's override the recipe's, and these override Trainer's."""
    given = given_names(argv)
    return parse(argv, lambda get: defaults(get, given), stop)


def load_clips(args: DataArguments, training_args: TrainingArguments) -> tuple[VideoList | ClipStream, VideoList, str]:
    """Return training clips, validation clips and the data set's name."""
    if args.source == "hub":
        hub = partial(from_hub, args.dataset_name, config_name=args.dataset_config_name)
        if args.streaming:
            if not args.validation_split or training_args.max_steps <= 0:
                raise HfRltError(
                    "--streaming needs --validation_split and --max_steps: a stream has no end to plan by."
                )
            train: Any = ClipStream(
                args.dataset_name,
                args.train_split,
                args.dataset_config_name,
                shuffle_buffer=256,
                seed=training_args.seed,
            )
        else:
            train = hub(args.train_split)
        name, held, load = args.dataset_name, args.validation_split, hub
    elif args.source == "file":
        read = partial(from_file, video_dir=args.video_dir, label_file=args.label_file)
        train, name, held, load = read(args.train_file), set_name(args.train_file), args.validation_file, read
    else:
        folder, held = args.train_dir, args.validation_dir
        if args.source == "digits":
            folder, held = render(args.digits_dir, training_args)
        name = "digits" if args.source == "digits" else set_name(folder)
        train, load = from_folder(folder), from_folder
    if held:
        return train, load(held, names=train.names), name
    logger.warning(f"No validation videos given: {args.validation_fraction:.0%} of the training videos are held out.")
    return *split_clips(train, args.validation_fraction, training_args.seed), name


def set_name(source: str) -> str:
    """Return a data set's name: that of its training folder or file, or of the parent folder if that is "train"."""
    path = Path(source).resolve()
    return path.parent.name if path.stem.lower() in ("train", "training") and path.parent.name else path.stem


def render(folder: str | None, training_args: TrainingArguments) -> tuple[str, str]:
    """Return the training and validation folders of the built-in set, rendered once."""
    first = training_args.main_process_first(desc="rendering the digits")
    with first, progress_bar("Rendering the digits", training_args) as show:
        path = render_digits(folder, progress=show)
    return str(path / "train"), str(path / "validation")


class progress_bar:
    """Context that gives a function of (done, total), and shows a bar if it takes more than a second."""

    def __init__(self, title: str, training_args: TrainingArguments) -> None:
        self.bar = tqdm(desc=title, unit=" clips", disable=training_args.disable_tqdm, delay=1)

    def __enter__(self) -> Any:
        return self.show

    def show(self, done: int, total: int) -> None:
        self.bar.total = total
        self.bar.update(done - self.bar.n)

    def __exit__(self, *error: Any) -> None:
        self.bar.close()


def load_model(args: ModelArguments, names: list[str]) -> tuple[RLTVideoMAEForVideoClassification, RLTVideoProcessor]:
    """Return model and processor, agreeing on labels, clip, patches and threshold."""
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}
    rlt: dict[str, Any] = {"threshold": args.threshold_value, "drop_path_rate": args.drop_path_rate}
    for name in ("length_embedding", "proportional_attention"):
        if getattr(args, name) is not None:
            rlt[name] = getattr(args, name)
    kind = RLTVideoMAEForVideoClassification
    if args.tome_r:
        kind, rlt["r"] = ToMeVideoMAEForVideoClassification, args.tome_r
    if args.model_name_or_path:
        path = args.model_name_or_path
        config = kind.config_class.from_pretrained(path, **rlt, **labels)
        model, new_head = load_weights(kind, path, config)
        if new_head and not config.use_mean_pooling:
            # The published pre-trained checkpoints say so of their own task. For a new classifier it would mean the token
            # of the first corner; VideoMAE's and RLT's authors fine-tune on the mean.
            logger.info(f"{path} pools nothing: the new classifier gets the mean of the tokens.")
            config.use_mean_pooling = True
            model, _ = load_weights(kind, path, config)
        settings = RLTVideoProcessor.from_pretrained(path).to_dict()
    else:
        config = kind.config_class(**SMALL_MODEL, **rlt, **labels)
        model, new_head = kind(config), True
        side = config.image_size
        settings = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}, "frame_stride": 2}
    if new_head:
        with torch.no_grad():
            model.classifier.weight.mul_(args.head_init_scale)
    shape = {name: getattr(config, name) for name in ("num_frames", "tubelet_size", "patch_size", "threshold")}
    clip = {"frame_stride": args.frame_stride, "sampling": args.sampling}
    asked = {name: value for name, value in clip.items() if value is not None}
    return model, RLTVideoProcessor(**{**settings, **shape, **asked})


def load_weights(kind: Any, path: str, config: RLTVideoMAEConfig) -> tuple[RLTVideoMAEForVideoClassification, bool]:
    """Return a model with all weights that fit, and whether its classifier is new."""
    model, loading = kind.from_pretrained(path, config=config, ignore_mismatched_sizes=True, output_loading_info=True)
    changed = {*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])}
    return model, "classifier.weight" in changed


def from_first_process(args: TrainingArguments, find: Callable[[], Any]) -> Any:
    """Call `find` in the first process only, and return its result, or exit, in all processes."""
    if args.world_size == 1:
        return find()
    found, code = None, None
    if args.process_index == 0:
        try:
            found = find()
        except FinishedError as finished:
            print(one_line(finished), flush=True)
            code = 0
        except (ValueError, OSError) as error:
            code = complain(one_line(error))
    box = [found, code]
    broadcast_object_list(box)
    if box[1] is not None:
        PartialState().destroy_process_group()
        sys.exit(box[1])
    return box[0]


def find_job(
    groups: tuple[ModelArguments, DataArguments, RecipeArguments, TrainingArguments],
    train: VideoList | ClipStream,
    validation: VideoList,
    label_smoothing: float,
) -> Settings:
    """Return the settings that the result depends on, and set `resume_from_checkpoint` to the checkpoint found."""
    args = groups[-1]

    def find() -> tuple[Settings, str | None]:  # reads whole models and checkpoints: once, not in each process
        settings = training_settings(*groups, train, validation, label_smoothing)
        found = find_start(args.output_dir, settings, args.resume_from_checkpoint)
        return settings, found and str(found)

    settings, args.resume_from_checkpoint = from_first_process(args, find)
    return settings


def count(clips: VideoList, processor: RLTVideoProcessor, data: DataArguments, args: TrainingArguments) -> np.ndarray:
    """Return the tokens of each training clip."""
    workers = max(args.dataloader_num_workers, 1) * int(os.environ.get("LOCAL_WORLD_SIZE", 1))

    def find() -> np.ndarray:
        with progress_bar("Counting tokens", args) as show:
            return count_tokens(clips, processor, workers, data.on_bad_video, progress=show)

    tokens = from_first_process(args, find)
    clips.unreadable_mask.copy_(torch.from_numpy(tokens == 0))
    return tokens


def check_batches(data: DataArguments, recipe_args: RecipeArguments, given: set[str]) -> None:
    """Raise ValueError if a token budget is combined with options that contradict it."""
    if data.max_tokens_per_batch is None:
        return
    if "per_device_train_batch_size" in given:
        raise HfRltError(
            "Received --per_device_train_batch_size, a number of clips, and --max_tokens_per_batch, which takes as many as "
            "fit: leave one out."
        )
    if recipe_args.threshold_range is not None:
        raise HfRltError(
            "--max_tokens_per_batch goes by the tokens at one threshold, --threshold_range draws another for each clip: "
            "leave one out."
        )


def in_batch(tokens: np.ndarray, args: RecipeArguments) -> np.ndarray:
    """Return the tokens that each clip, with all its repeats, adds to a batch; 0 for one that cannot be read."""
    kept = tokens if args.token_keep_ratio is None else np.round(tokens * args.token_keep_ratio).clip(1)
    return np.where(tokens > 0, kept * args.repeated_augmentation, 0).astype(np.int64)


def report_batches(trainer: RLTTrainer) -> None:
    """Report what the token budget amounts to."""
    sampler = trainer.budget_sampler
    logger.info(
        f"Batches of {sampler.fill:.1%} of {sampler.max_tokens} tokens on average, {len(sampler)} per process and epoch; "
        f"{sampler.clips_per_step:.1f} clips per step"
    )
    if not_read := len(sampler.sizes) - len(sampler.clips):
        logger.warning(f"{not_read} of {len(sampler.sizes)} training videos cannot be read: they are left out.")


def make_trainer(argv: list[str]) -> tuple[RLTTrainer, EvalDataset, str, ModelArguments]:
    """Return the trainer, the final evaluation's data set, the set's name and the model arguments.

    Users' mistakes show here, before anything is trained.
    """
    groups = read_arguments(argv)
    model_args, data_args, recipe_args, args = groups
    check_batches(data_args, recipe_args, given_names(argv))
    smoothing = settle(recipe_args, args)
    set_seed(args.seed)
    train, validation, name = load_clips(data_args, args)
    settings = find_job(groups, train, validation, smoothing)
    model, processor = load_model(model_args, train.names)
    check_output_dir(args.output_dir, model.num_parameters())
    bad, cache = data_args.on_bad_video, data_args.cache_megabytes * 2**20
    augmentation = make_augmentation(recipe_args, processor)
    changes = (augmentation, recipe_args.random_clips, recipe_args.repeated_augmentation, args.seed, bad)
    budget = data_args.max_tokens_per_batch
    balanced = args.train_sampling_strategy in TOKEN_BALANCED_STRATEGIES
    total = args.train_batch_size * args.world_size
    if isinstance(train, ClipStream):
        if balanced:
            raise HfRltError(
                f"--train_sampling_strategy {args.train_sampling_strategy} cannot balance a stream: leave it out."
            )
        if budget is not None:
            raise HfRltError("--max_tokens_per_batch needs the tokens of each clip, a stream tells none: leave it out.")
        train_data: Any = TrainStream(train, processor, *changes)
    else:
        if args.dataloader_drop_last and budget is None and len(train) < total:
            raise HfRltError(
                f"Expected at least {total} training clips for one batch per process, found {len(train)}: pass a smaller "
                "--per_device_train_batch_size or --dataloader_drop_last False."
            )
        train_data = TrainDataset(train, processor, *changes, cache_bytes=cache)
    views = (data_args.num_clips, data_args.num_crops)
    eval_data = EvalDataset(validation, processor, on_bad_video=bad, cache_bytes=cache)
    final_data = eval_data if views == (1, 1) else EvalDataset(validation, processor, *views, on_bad_video=bad)
    tokens = None
    if balanced or budget is not None:
        tokens = count(train, processor, data_args, args)
    if tokens is not None and budget is not None:
        tokens = in_batch(tokens, recipe_args)
    trainer = RLTTrainer(
        model=model,
        args=args,
        data_collator=make_collator(recipe_args, processor, len(train.names), smoothing),
        train_dataset=train_data,
        eval_dataset=eval_data,
        processing_class=processor,
        compute_metrics=ClipMetrics(train.names),
        preprocess_logits_for_metrics=logits_and_tokens,
        layer_decay=recipe_args.layer_decay,
        token_counts=tokens,
        max_tokens=budget,
        settings=settings,
    )
    if budget is not None:
        report_batches(trainer)
        if recipe_args.base_learning_rate is not None:
            clips = trainer.get_total_train_batch_size(args)
            args.learning_rate = scaled_learning_rate(recipe_args.base_learning_rate, clips)
    size = "a stream of" if isinstance(train, ClipStream) else len(train)
    logger.info(f"{size} training and {len(validation)} validation clips in {len(train.names)} classes")
    return trainer, final_data, name, model_args


def run(trainer: RLTTrainer, final_data: EvalDataset, dataset: str, model_args: ModelArguments) -> None:
    """Train, evaluate, save and report."""
    args = trainer.args
    if trainer.is_world_process_zero():
        with trainer.saving():
            begin(args.output_dir, trainer.settings)
    checkpoint = args.resume_from_checkpoint
    result = trainer.train(resume_from_checkpoint=checkpoint, ignore_keys_for_eval=IGNORED_OUTPUTS)
    trained = trainer.state.global_step > trainer._initial_global_step
    if trainer.is_fsdp_enabled:  # checkpoints are sharded, the model is not
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    trainer.save_model()
    with trainer.saving():
        if trained:
            trainer.log_metrics("train", result.metrics)
            trainer.save_metrics("train", result.metrics)
        else:  # training had ended before, so its results are already there
            trainer.state.log_history.pop()
        trainer.save_state()
    metrics = trainer.evaluate(final_data, ignore_keys=IGNORED_OUTPUTS)
    trainer.log_metrics("eval", metrics)
    for data in (trainer.train_dataset, final_data):
        sync_unreadable(data, args)
    with trainer.saving():
        trainer.save_metrics("eval", metrics)
        if trainer.is_world_process_zero():
            write_per_class(trainer.compute_metrics.per_class, args.output_dir)
            make_card(trainer, final_data, dataset, metrics, model_args)
            finish(args.output_dir, trainer.settings, trainer.state.global_step)
    if args.push_to_hub:
        trainer.push_to_hub()
    if trainer.is_world_process_zero():
        report(result.metrics if trained else {}, metrics, trainer, final_data)
    trainer.accelerator.wait_for_everyone()  # a rank that leaves while another still works can take the job down
    trainer.end()


def make_card(
    trainer: RLTTrainer, final_data: EvalDataset, dataset: str, metrics: dict[str, float], model_args: ModelArguments
) -> None:
    """Write the model's card, unless there is one that we did not write."""
    views = {"num_clips": len(final_data.positions), "num_crops": final_data.num_crops}
    result = {**metrics, **views, "threshold": trainer.model.config.threshold, "split": "validation"}
    repo_id = trainer.args.hub_model_id if trainer.args.push_to_hub else None
    base, folder = model_args.model_name_or_path, trainer.args.output_dir
    try:
        write_card(folder, repo_id=repo_id, base_model=base, dataset=dataset, evaluations=[result])
    except (ValueError, OSError) as error:  # hours of training have been saved: no reason to fail
        logger.warning(f"The model is saved, its card is not: {one_line(error)}")


def report(train: dict[str, float], metrics: dict[str, float], trainer: RLTTrainer, final_data: EvalDataset) -> None:
    """Print a summary of the results."""
    folder, example = trainer.args.output_dir, final_data.clips.sources[0]
    views = f", {final_data.num_views} views each" if final_data.num_views > 1 else ""
    print(f"\nTop-1 accuracy on held-out clips  {metrics['eval_accuracy']:.1%} of {metrics['eval_clips']}{views}")
    print(f"Tokens computed                   {metrics['eval_tokens_computed']:.1%}")
    if train:
        print(f"Training speed                    {train['train_samples_per_second']:.1f} clips/s", end="")
        print(f", {1 / max(train['train_steps_per_second'], 1e-9):.3f} s/step")
    for title, data in {"training": trainer.train_dataset, "validation": final_data}.items():
        bad = data.unreadable() if isinstance(data, (TrainDataset, EvalDataset)) else []
        if isinstance(data, TrainStream) and data.unreadable_count:
            print(f"Skipped, cannot be read           {int(data.unreadable_count)} videos of the stream, named above")
        if bad:
            more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
            print(
                f"Skipped, cannot be read           {len(bad)} of {len(data)} {title} videos: {', '.join(bad[:5])}{more}"
            )
    print(f"Model, processor and card         {folder}")
    clip = example if isinstance(example, Path) else "CLIP"
    print(f"Try it                            hf-rlt classify {clip} --model {folder}")


def complain(message: str) -> int:
    """Print a user's mistake in one line and return the exit code for it."""
    print(f"finetune.py: error: {message}", file=sys.stderr, flush=True)
    return 2


def stop(message: str) -> NoReturn:
    """Print a user's mistake in one line and exit with code 2."""
    sys.exit(complain(message))


def main() -> None:
    """Run the job of the command line. A user's mistake prints one line and exits with 2, a finished job with 0."""
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        job = make_trainer(sys.argv[1:])
    except FinishedError as finished:
        print(one_line(finished))
        return
    except (ValueError, OSError, ImportError, StrictDataclassError, SafetensorError) as error:
        stop(one_line(error))
    try:
        run(*job)
    except (UnreadableClipError, CheckpointError) as error:
        stop(one_line(error))


if __name__ == "__main__":
    main()
