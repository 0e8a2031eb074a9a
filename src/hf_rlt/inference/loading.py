# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Load a command line's MODEL and DATA: trained classifiers and labelled clips."""

import math
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from ..baselines import (
    RandomMaskingVideoMAEForVideoClassification,
    STAVideoMAEForVideoClassification,
    ToMeVideoMAEForVideoClassification,
)
from ..data import ClipList, from_file, from_folder, from_hub
from ..errors import HfRltError
from ..hub.repo_config import read_config
from ..models.modeling_rlt_videomae import RLTVideoMAEForVideoClassification, RLTVideoMAEModel
from ..models.video_processing_rlt import RLTVideoProcessor

KINDS: dict[str, type[RLTVideoMAEForVideoClassification]] = {
    "videomae": RLTVideoMAEForVideoClassification,
    "rlt_videomae": RLTVideoMAEForVideoClassification,
    "random_masking_videomae": RandomMaskingVideoMAEForVideoClassification,
    "tome_videomae": ToMeVideoMAEForVideoClassification,
    "sta_videomae": STAVideoMAEForVideoClassification,
}


def open_model(
    name: str,
    threshold: str = "model",
    num_frames: int | None = None,
    rate: dict[str, Any] | None = None,
    attn: str | None = None,
) -> tuple[RLTVideoMAEForVideoClassification, RLTVideoProcessor]:
    """Return a trained classifier, a VideoMAE one as an RLT model, and a processor that fits it.

    Args:
        name: folder or Hub id of a classifier: RLT-VideoMAE, VideoMAE or a baseline.
        threshold: a number, "none" (dense), or "model": the model's own.
        num_frames: frames of a clip; the model's own if not given, else positions are interpolated.
        rate: settings of the processor that say how frames are sampled.
        attn: attention backend, such as "flash_attention_2"; transformers' default if not given.

    Raises:
        ValueError: if there is no such folder, it holds something else, or a classifier without a trained head.
    """
    network, missing, processor = _open(name, threshold, num_frames, rate or {}, attn)
    if missing:
        raise HfRltError(
            f"{name}: expected a classifier, found weights without {', '.join(missing)}: fine-tune it first."
        )
    return network, processor


def open_encoder(
    name: str,
    threshold: str = "model",
    num_frames: int | None = None,
    rate: dict[str, Any] | None = None,
    attn: str | None = None,
) -> tuple[RLTVideoMAEForVideoClassification | RLTVideoMAEModel, RLTVideoProcessor]:
    """Return a classifier, or of a model without a trained head the encoder alone, and a processor that fits it.

    Args, errors: see `open_model`.
    """
    network, missing, processor = _open(name, threshold, num_frames, rate or {}, attn)
    return network.videomae if missing else network, processor


def _open(
    name: str, threshold: str, num_frames: int | None, rate: dict[str, Any], attn: str | None
) -> tuple[RLTVideoMAEForVideoClassification, list[str], RLTVideoProcessor]:
    """Return a classifier, the names of the weights that its head lacks, and a processor."""
    changes: dict[str, Any] = {} if num_frames is None else {"num_frames": num_frames}
    if attn is not None:
        changes["attn_implementation"] = attn
    if threshold != "model":
        try:
            changes["threshold"] = None if threshold.lower() == "none" else finite(float(threshold))
        except ValueError:
            raise HfRltError(f"--threshold: expected a number, none or model, received {threshold!r}.") from None
    read_config(name)
    kind = AutoConfig.from_pretrained(name).model_type
    if kind not in KINDS:
        raise HfRltError(f"{name}: expected an RLT-VideoMAE or VideoMAE classifier, found {kind}.")
    try:
        network, loading = KINDS[kind].from_pretrained(name, output_loading_info=True, **changes)
    except RuntimeError as error:
        if "mismatched" not in str(error):
            raise
        raise HfRltError(
            f"{name}: expected weights of the shapes that its config.json says (classes, width, ...), found others: was the "
            "file edited?"
        ) from error
    missing = sorted(key for key in loading["missing_keys"] if key.startswith(("classifier.", "fc_norm.")))
    keys = {*loading["missing_keys"], *loading["unexpected_keys"]}
    odd = [key for key in keys if ".layer." in key and "decoder" not in key]
    if odd:
        raise HfRltError(
            f"{name}: expected weights for the blocks that its config.json says, found others ({len(odd)} missing or too "
            f"many, such as {min(odd)}): was the file edited?"
        )
    config = network.config
    settings = {"num_frames": config.num_frames, "tubelet_size": config.tubelet_size, "patch_size": config.patch_size}
    processor = RLTVideoProcessor.from_pretrained(name, **settings, **rate, threshold=config.threshold)
    return network, missing, processor


def finite(threshold: float) -> float:
    """Return a threshold; raise HfRltError unless it is a number."""
    if not math.isfinite(threshold):
        raise HfRltError(f"--threshold: expected a number, received {threshold}.")
    return threshold


def open_clips(data: str, names: list[str], video_dir: str | Path | None = None, split: str = "validation") -> ClipList:
    """Return the clips of a folder, annotation file (CSV, JSON) or Hub data set, with a model's classes."""
    if Path(data).is_dir():
        return from_folder(data, names)
    if Path(data).suffix.lower() in (".csv", ".json"):
        return from_file(data, video_dir, names)
    return from_hub(data, split, names=names)
