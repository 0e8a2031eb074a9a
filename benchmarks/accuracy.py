# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Accuracy of every method on one trained model: curves, RLT's thresholds, the paper's inference table."""

import math
from collections.abc import Callable
from typing import Annotated

import typer

from hf_rlt.data import EvalDataset
from hf_rlt.data.hub_datasets import load_videos
from hf_rlt.hub.repo_config import read_config

from .common import options as opt
from .common.accuracy import Setting, curve, equal_token_settings, evaluate, mean_tokens, rlt_settings
from .common.methods import STANDARD
from .common.record import report, save

THRESHOLDS = [0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2]


def _command(name: str, text: str) -> Callable[..., None]:
    """Make the command `name`."""

    def command(
        data: Annotated[str, typer.Argument(help="Folder with a subfolder per class, annotation file, or Hub id.")],
        model: Annotated[str, typer.Option("--model", "-m", help="Folder or Hub id of a trained classifier.")],
        num_clips: Annotated[int, typer.Option(help="Temporal clips per video.", min=1)] = 1,
        num_crops: Annotated[int, typer.Option(help="Crops per temporal clip.", min=1)] = 1,
        threshold: opt.Threshold = 0.1,
        sweep: Annotated[list[float], typer.Option(help="Thresholds of `thresholds`. May be repeated.")] = THRESHOLDS,
        video_dir: opt.VideoDir = None,
        split: Annotated[str, typer.Option(help="Split of a Hub data set.")] = "validation",
        batch_size: Annotated[int, typer.Option(help="Videos per batch.", min=1)] = 8,
        num_workers: opt.NumWorkers = 2,
        on_bad_video: opt.OnBadVideo = "raise",
        seed: Annotated[int, typer.Option(help="Seed of random masking.")] = 0,
        attention: opt.Attention = "sdpa",
        dtype: opt.Dtype = "float32",
        device: opt.Device = "auto",
        output: opt.Output = opt.OUTPUT,
    ) -> None:
        base, processor = opt.model_and_processor("", model, attention, dtype, device)
        dense = read_config(model)["model_type"] == "videomae" or base.config.threshold is None
        names = [base.config.id2label[index] for index in range(base.config.num_labels)]
        views = EvalDataset(load_videos(data, names, video_dir, split), processor, num_clips, num_crops, on_bad_video)
        options = {"batch_size": batch_size, "workers": num_workers}
        tokens = math.prod(base.config.grid)
        if name == "accuracy":
            chosen = curve(base.config, tokens, threshold)
        elif name == "thresholds":
            chosen = [Setting(STANDARD, "dense"), *rlt_settings(sweep), *rlt_settings(sweep, "RLT, proportional")]
        else:
            target = round(mean_tokens(views, threshold, **options))
            chosen = equal_token_settings(base.config, tokens, target, threshold)
        rows = evaluate(base, views, chosen, seed=seed, **options)
        fields = ("hidden_size", "num_hidden_layers", "num_frames", "image_size")
        settings = {"checkpoint": model, "data": data, "num_clips": num_clips, "num_crops": num_crops, "seed": seed}
        settings["trained"] = "trained dense, as VideoMAE" if dense else "trained with RLT"
        settings |= {"device": base.device.type, "dtype": dtype, "attention": attention, "batch_size": batch_size}
        settings |= {"threshold": threshold, "model": {key: getattr(base.config, key) for key in fields}}
        report(save(output, name, rows, settings))

    command.__name__, command.__doc__ = name, text
    return command


accuracy = _command("accuracy", "Accuracy of every method, nothing trained for it, over its tokens.")
thresholds = _command("thresholds", "RLT's accuracy and speed over thresholds.")
inference = _command("inference", "The paper's inference table: every method at RLT's number of tokens.")
