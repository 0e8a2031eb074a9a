# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a model takes the action in a video to be, and how many tokens that took."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import HfRltError
from .loading import load

DEFAULT_MODEL = "outputs/digits"
MERGING = ("tome_videomae", "sta_videomae")


@dataclass(frozen=True)
class Classified:
    """A video and its likeliest classes.

    Attributes:
        video: as it was given.
        scores: (label, probability) pairs, the likeliest first.
        tokens_computed: of the clip, that the model's first block gets.
        tokens_left: that its last block gives back: fewer in a model that merges or drops tokens on its way.
        tokens: of the clip in all.
    """

    video: str
    scores: list[tuple[str, float]]
    tokens_computed: int
    tokens_left: int
    tokens: int


def open_classifier(
    name: str = DEFAULT_MODEL,
    threshold: Any = "model",
    num_frames: int | None = None,
    rate: dict[str, Any] | None = None,
) -> tuple[Any, Any]:
    """Returns a classifier ready to use, on the accelerator if there is one, and the processor that fits it.

    Args:
        name, threshold, num_frames, rate: see `load`.

    Raises:
        ValueError, OSError: if there is no such model; one that was meant as a folder is not looked for on the Hub.
    """
    if not Path(name).is_dir() and (name == DEFAULT_MODEL or Path(name).is_absolute() or Path(name).parent.is_dir()):
        raise HfRltError(
            f"{name}: expected a model folder or a Hub id, found no such folder: train one with examples/finetune.py."
        )
    network, processor = load(name, threshold=threshold, num_frames=num_frames, sampling=rate)
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    return network.to(device).eval(), processor


def classify_video(video: str, network: Any, processor: Any, top_k: int = 3) -> Classified:
    """Returns the likeliest classes of one clip of a video.

    Args:
        video: a path or an http(s) URL.
        network, processor: as `open_classifier` returns them.
        top_k: how many classes, if there are as many.

    Raises:
        ValueError, OSError: if the video cannot be read.
    """
    check_exists(video)
    inputs = processor(video, return_tensors="pt").to(network.device)
    with torch.inference_mode():
        outputs = network(**inputs)
    probabilities = outputs.logits[0].float().softmax(-1)
    best = probabilities.topk(min(top_k, len(probabilities)))
    scores = [(network.config.id2label[int(i)], float(score)) for score, i in zip(*best, strict=True)]
    computed = int((outputs.run_lengths > 0).sum())
    left = network.config.token_counts(computed)[-1] if network.config.model_type in MERGING else computed
    return Classified(video, scores, computed, left, outputs.run_lengths.numel())


def check_exists(video: str) -> None:
    """Returns nothing; raises unless a video is a file or an http(s) URL."""
    if not video.startswith(("http://", "https://")) and not Path(video).is_file():
        raise HfRltError(f"{video}: expected a video file, found none: check the path.")
