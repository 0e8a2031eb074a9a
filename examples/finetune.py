# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Fine-tunes (or trains from scratch) RLT-VideoMAE for video classification with `Trainer`.

accelerate launch examples/finetune.py                                        # a small set, rendered offline
accelerate launch examples/finetune.py --train_dir a --validation_dir b --model_name_or_path MCG-NJU/videomae-base
accelerate launch examples/finetune.py --train_csv train.csv --validation_csv validation.csv     # path,label
accelerate launch examples/finetune.py --dataset_name user/videos
accelerate launch examples/finetune.py settings.json                          # the same arguments as JSON
"""

import json
import logging
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import EvalPrediction, HfArgumentParser, Trainer, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import check_min_version

from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, RLTVideoProcessor
from hf_rlt.data import (
    ClipDataset,
    ClipList,
    UnreadableClipError,
    from_csv,
    from_folder,
    from_hub,
    render_digits,
    split_clips,
)

check_min_version("5.18.0")
logger = logging.getLogger("finetune")

# The recipe of the job without arguments. Whatever the user says goes before it.
DIGITS_RECIPE = {
    "num_train_epochs": 5,
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 32,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 50,
    "weight_decay": 0.05,
    "adam_beta2": 0.98,
    "logging_steps": 50,
    "save_strategy": "no",
    "dataloader_num_workers": 1,
    "dataloader_persistent_workers": True,
    "dataloader_pin_memory": torch.cuda.is_available(),
}


@dataclass
class ModelArguments:
    """Which model."""

    model_name_or_path: str | None = field(
        default=None,
        metadata={"help": "VideoMAE or RLT-VideoMAE to start from; a small one from scratch if not given."},
    )
    threshold: str = field(default="0.1", metadata={"help": "RLT's threshold, or none to compute every token."})
    length_embedding: bool = field(default=False, metadata={"help": "Learn an embedding of the run length."})
    frame_stride: int | None = field(
        default=None, metadata={"help": "Distance of a clip's frames; the processor's own, or 2 from scratch."}
    )


@dataclass
class DataArguments:
    """Which videos. Without any, a small set is rendered."""

    train_dir: str | None = field(default=None, metadata={"help": "Training videos, one subfolder per class."})
    validation_dir: str | None = field(default=None, metadata={"help": "Validation videos, one subfolder per class."})
    train_csv: str | None = field(default=None, metadata={"help": "CSV file with the header path,label."})
    validation_csv: str | None = field(default=None, metadata={"help": "CSV file with the header path,label."})
    dataset_name: str | None = field(default=None, metadata={"help": "Data set on the Hub with a Video column."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Its configuration, if it has several."})
    train_split: str = field(default="train", metadata={"help": "Its split to train on."})
    validation_split: str | None = field(default=None, metadata={"help": "Its split to evaluate on."})
    validation_fraction: float = field(
        default=0.15, metadata={"help": "Share of the training videos held out if no validation videos are given."}
    )
    digits_dir: str | None = field(default=None, metadata={"help": "Where the rendered set is kept."})
    cache_megabytes: int = field(default=512, metadata={"help": "Decoded frames kept in memory per loading process."})

    @property
    def source(self) -> str:
        """Which of the four ways to get videos was chosen."""
        given = {"folder": self.train_dir, "csv": self.train_csv, "hub": self.dataset_name}
        chosen = [name for name, value in given.items() if value]
        if len(chosen) > 1 or (chosen and self.digits_dir):
            raise ValueError("Expected one of --train_dir, --train_csv, --dataset_name, --digits_dir: leave one.")
        if not chosen and (self.validation_dir or self.validation_csv):
            raise ValueError("Received validation videos only: add --train_dir or --train_csv.")
        return chosen[0] if chosen else "digits"


def parse(argv: list[str]) -> tuple[ModelArguments, DataArguments, TrainingArguments]:
    """Returns the three groups of arguments from a command line, or from a JSON file if that is the only argument."""
    parser = HfArgumentParser((ModelArguments, DataArguments, TrainingArguments), allow_abbrev=False)
    parser.error = stop  # type: ignore[method-assign]  # argparse would print hundreds of lines of usage
    if len(argv) == 1 and argv[0].endswith(".json"):
        given = json.loads(Path(argv[0]).read_text())
        return parser.parse_dict({**defaults(given.get), **given})
    first = HfArgumentParser((ModelArguments, DataArguments), allow_abbrev=False)
    first.error, first.print_help = stop, lambda: None  # type: ignore[method-assign]
    known = vars(first.parse_known_args([a for a in argv if a not in ("-h", "--help")])[0])
    ours = [text for name, value in defaults(known.get).items() for text in (f"--{name}", str(value))]
    return parser.parse_args_into_dataclasses([*ours, *argv])  # the last one given wins


def defaults(get) -> dict:
    """Returns our defaults for a job; `get(name)` is what the user gave for an argument."""
    if any(get(name) for name in ("model_name_or_path", "train_dir", "train_csv", "dataset_name")):
        return {"output_dir": "outputs/finetuned"}
    dense = str(get("threshold") or "").lower() == "none"
    return {"output_dir": "outputs/digits-dense" if dense else "outputs/digits", **DIGITS_RECIPE}


def load_clips(args: DataArguments, training_args: TrainingArguments) -> tuple[ClipList, ClipList, str]:
    """Returns training clips, validation clips and the data set's name."""
    if args.source == "hub":
        train = from_hub(args.dataset_name, args.train_split, args.dataset_config_name)
        name, held = args.dataset_name, args.validation_split
        load = lambda where: from_hub(args.dataset_name, where, args.dataset_config_name, train.names)  # noqa: E731
    elif args.source == "csv":
        train, name, held = from_csv(args.train_csv), Path(args.train_csv).stem, args.validation_csv
        load = lambda where: from_csv(where, train.names)  # noqa: E731
    else:
        folder, held = args.train_dir, args.validation_dir
        if args.source == "digits":
            folder, held = render(args.digits_dir, training_args)
        train, name = from_folder(folder), "digits" if args.source == "digits" else Path(folder).name
        load = lambda where: from_folder(where, train.names)  # noqa: E731
    if held:
        return train, load(held), name
    logger.warning(f"No validation videos given: {args.validation_fraction:.0%} of the training videos are held out.")
    return *split_clips(train, args.validation_fraction, training_args.seed), name


def render(folder: str | None, training_args: TrainingArguments) -> tuple[str, str]:
    """Returns the training and validation folders of the built-in set, rendered once."""
    with training_args.main_process_first(desc="rendering the digits"):
        bar = tqdm(desc="Rendering the digits", unit=" clips", disable=training_args.disable_tqdm, delay=1)

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        path = render_digits(folder, progress=show)
        bar.close()
    return str(path / "train"), str(path / "validation")


def load_model(args: ModelArguments, names: list[str]) -> tuple[RLTVideoMAEForVideoClassification, RLTVideoProcessor]:
    """Returns model and processor, agreeing on labels, clip, patches and threshold."""
    try:
        threshold = None if args.threshold.lower() == "none" else float(args.threshold)
    except ValueError as error:
        raise ValueError(f"--threshold: expected a number or none, received {args.threshold!r}.") from error
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}
    rlt = {"threshold": threshold, "length_embedding": args.length_embedding, **labels}
    if args.model_name_or_path:
        path = args.model_name_or_path
        config = RLTVideoMAEConfig.from_pretrained(path, **rlt)
        model = RLTVideoMAEForVideoClassification.from_pretrained(path, config=config, ignore_mismatched_sizes=True)
        processor = RLTVideoProcessor.from_pretrained(path)
    else:
        config = RLTVideoMAEConfig(**SMALL_MODEL, **rlt)
        model = RLTVideoMAEForVideoClassification(config)
        side = config.image_size
        processor = RLTVideoProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    stride = args.frame_stride or (processor.frame_stride if args.model_name_or_path else 2)
    clip = {"num_frames": config.num_frames, "frame_stride": stride, "threshold": threshold}
    for key, value in {**clip, "tubelet_size": config.tubelet_size, "patch_size": config.patch_size}.items():
        setattr(processor, key, value)
    return model, processor


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


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    """Returns the top-1 accuracy."""
    return {"accuracy": float((np.argmax(prediction.predictions, axis=-1) == prediction.label_ids).mean())}


def share_computed(data: ClipDataset, limit: int = 128) -> float:
    """Returns the mean share of tokens that are computed, over at most `limit` clips spread over the set."""
    chosen = np.linspace(0, len(data) - 1, min(limit, len(data))).astype(int)
    return float(np.mean([(data[int(i)]["run_lengths"] > 0).float().mean() for i in chosen]))


def write_card(folder: str, dataset: str, metrics: dict[str, float], model_args: ModelArguments) -> None:
    """Returns nothing; writes README.md with the metadata that the Hub reads."""
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    name = Path(folder).resolve().name
    result = EvalResult(
        task_type="video-classification",
        dataset_type=dataset,
        dataset_name=dataset,
        metric_type="accuracy",
        metric_value=metrics["eval_accuracy"],
    )
    data = ModelCardData(
        model_name=name,
        library_name="transformers",
        pipeline_tag="video-classification",
        base_model=model_args.model_name_or_path,
        tags=["video-classification", "rlt", "run-length-tokenization", "videomae"],
        metrics=["accuracy"],
        eval_results=[result],
    )
    text = f"""---
{data.to_yaml()}
---

# {name}

RLT-VideoMAE trained on `{dataset}` with threshold {model_args.threshold}: top-1 {metrics["eval_accuracy"]:.1%}, and
{metrics["eval_tokens_computed"]:.1%} of the tokens of a validation clip computed on average.

```python
import hf_rlt  # registers the Auto classes
from transformers import pipeline

pipeline("video-classification", model="{name}")("clip.mp4")
```
"""
    ModelCard(text).save(Path(folder) / "README.md")


def prepare(argv: list[str]) -> tuple[Trainer, str, ModelArguments]:
    """Returns the trainer, the data set's name and the model arguments. Users' mistakes show here."""
    model_args, data_args, training_args = parse(argv)
    set_seed(training_args.seed)
    train, validation, dataset = load_clips(data_args, training_args)
    model, processor = load_model(model_args, train.names)
    cache = data_args.cache_megabytes * 2**20
    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=ClipDataset(train, processor, cache),
        eval_dataset=ClipDataset(validation, processor, cache),
        processing_class=processor,
        compute_metrics=accuracy,
    )
    logger.info(f"{len(train)} training and {len(validation)} validation clips in {len(train.names)} classes")
    return trainer, dataset, model_args


def run(trainer: Trainer, dataset: str, model_args: ModelArguments) -> None:
    """Returns nothing; trains, evaluates, saves and reports."""
    training_args = trainer.args
    checkpoint = training_args.resume_from_checkpoint
    if checkpoint is None and os.path.isdir(training_args.output_dir):
        checkpoint = get_last_checkpoint(training_args.output_dir)
        if checkpoint is not None:
            logger.warning(f"Resuming from {checkpoint}; to start anew pass another --output_dir.")
    result = trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model()
    trainer.log_metrics("train", result.metrics)
    trainer.save_metrics("train", result.metrics)
    trainer.save_state()
    metrics = trainer.evaluate()
    metrics["eval_tokens_computed"] = share_computed(trainer.eval_dataset)
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)
    if trainer.is_world_process_zero():
        write_card(training_args.output_dir, dataset, metrics, model_args)
        if training_args.push_to_hub:
            trainer.push_to_hub()
        report(result.metrics, metrics, training_args.output_dir, trainer.eval_dataset.clips)
    if hasattr(trainer, "end"):
        trainer.end()


def report(train: dict[str, float], metrics: dict[str, float], folder: str, validation: ClipList) -> None:
    """Returns nothing; prints what a person wants to know."""
    example = validation.sources[0]
    clip = example if isinstance(example, Path) else "CLIP"
    print(f"\nTop-1 accuracy on held-out clips  {metrics['eval_accuracy']:.1%} of {len(validation)}")
    print(f"Tokens computed                   {metrics['eval_tokens_computed']:.1%}")
    print(f"Training speed                    {train['train_samples_per_second']:.1f} clips/s", end="")
    print(f", {1 / max(train['train_steps_per_second'], 1e-9):.3f} s/step")
    print(f"Model, processor and card         {folder}")
    print(f"Try it                            python examples/classify.py {clip} --model {folder}")


def stop(message: str) -> NoReturn:
    """Returns never; prints one line and exits with code 2."""
    print(f"finetune.py: error: {message}", file=sys.stderr)
    sys.exit(2)


def main() -> None:
    """Returns nothing; runs the job of the command line. A user's mistake ends in one line and exit code 2."""
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        job = prepare(sys.argv[1:])
    except (ValueError, OSError, ImportError) as error:
        stop(" ".join(str(error).split()))
    try:
        run(*job)
    except UnreadableClipError as error:
        stop(str(error).strip().splitlines()[-1].split("UnreadableClipError: ")[-1])  # of a worker's whole traceback


if __name__ == "__main__":
    main()
