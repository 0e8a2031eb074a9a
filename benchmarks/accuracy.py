# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Accuracy of every method on one trained model: curves, RLT's thresholds, the paper's inference table."""

import math
from collections.abc import Callable
from typing import Annotated, Any

import typer

from hf_rlt.data import EvalDataset
from hf_rlt.errors import HfRltError
from hf_rlt.hub.repo_config import read_config
from hf_rlt.inference.loading import load, open_clips

from .common.accuracy import Setting, curve, equal_token_settings, evaluate, mean_tokens, rlt_settings
from .common.methods import STANDARD
from .common.options import OUTPUT, Attention, Device, Dtype, NumWorkers, OnBadVideo, Output, Threshold, VideoDir, place
from .common.record import report, save

THRESHOLDS = [0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2]
Choose = Callable[[Any, EvalDataset, float, list[float], dict[str, Any]], list[Setting]]


def _choose_curve(
    config: Any, data: EvalDataset, threshold: float, sweep: list[float], options: dict[str, Any]
) -> list[Setting]:
    return curve(config, math.prod(config.grid), threshold)


def _choose_thresholds(
    config: Any, data: EvalDataset, threshold: float, sweep: list[float], options: dict[str, Any]
) -> list[Setting]:
    proportional = rlt_settings(sweep, "RLT, proportional")
    return [Setting(STANDARD, "dense"), *rlt_settings(sweep), *proportional]


def _choose_equal(
    config: Any, data: EvalDataset, threshold: float, sweep: list[float], options: dict[str, Any]
) -> list[Setting]:
    target = round(mean_tokens(data, threshold, **options))
    return equal_token_settings(config, math.prod(config.grid), target, threshold)


def _command(name: str, text: str, choose: Choose) -> Callable[..., None]:
    """Make the command that evaluates the settings of `choose`."""

    def command(
        data: Annotated[str, typer.Argument(help="Folder with a subfolder per class, annotation file, or Hub id.")],
        model: Annotated[str, typer.Option("--model", "-m", help="Folder or Hub id of a trained classifier.")],
        num_clips: Annotated[int, typer.Option(help="Temporal clips per video.", min=1)] = 1,
        num_crops: Annotated[int, typer.Option(help="Crops per temporal clip.", min=1)] = 1,
        threshold: Threshold = 0.1,
        sweep: Annotated[list[float], typer.Option(help="Thresholds of `thresholds`. May be repeated.")] = THRESHOLDS,
        video_dir: VideoDir = None,
        split: Annotated[str, typer.Option(help="Split of a Hub data set.")] = "validation",
        batch_size: Annotated[int, typer.Option(help="Videos per batch.", min=1)] = 8,
        num_workers: NumWorkers = 2,
        on_bad_video: OnBadVideo = "raise",
        seed: Annotated[int, typer.Option(help="Seed of random masking.")] = 0,
        attention: Attention = "sdpa",
        dtype: Dtype = "float32",
        device: Device = "auto",
        output: Output = OUTPUT,
    ) -> None:
        network, processor = load(model, attn_implementation=attention)
        if network.config.model_type != "rlt_videomae":
            raise HfRltError(
                f"{model}: expected a VideoMAE or RLT-VideoMAE classifier, found {network.config.model_type}."
            )
        dense = read_config(model)["model_type"] == "videomae" or network.config.threshold is None
        base = place(network, dtype, device)
        names = [base.config.id2label[index] for index in range(base.config.num_labels)]
        views = EvalDataset(open_clips(data, names, video_dir, split), processor, num_clips, num_crops, on_bad_video)
        options = {"batch_size": batch_size, "workers": num_workers}
        rows = evaluate(base, views, choose(base.config, views, threshold, sweep, options), seed=seed, **options)
        fields = ("hidden_size", "num_hidden_layers", "num_frames", "image_size")
        settings = {"checkpoint": model, "data": data, "num_clips": num_clips, "num_crops": num_crops, "seed": seed}
        settings["trained"] = "trained dense, as VideoMAE" if dense else "trained with RLT"
        settings |= {"device": base.device.type, "dtype": dtype, "attention": attention, "batch_size": batch_size}
        settings |= {"threshold": threshold, "model": {key: getattr(base.config, key) for key in fields}}
        report(save(output, name, rows, settings))

    command.__name__, command.__doc__ = name, text
    return command


accuracy = _command("accuracy", "Accuracy of every method, nothing trained for it, over its tokens.", _choose_curve)
thresholds = _command("thresholds", "RLT's accuracy and speed over thresholds.", _choose_thresholds)
inference = _command("inference", "The paper's inference table: every method at RLT's number of tokens.", _choose_equal)
