# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Options of commands that look at clips without computing a model, and the processor they make."""

from typing import Annotated, Any

import typer
from transformers import AutoConfig

from ..errors import HfRltError
from ..families import family_of
from ..hub.repo_config import read_config
from ..models.runs import grid_size
from ..models.video_processing_rlt import DEFAULT_NUM_FRAMES, RLTVideoProcessor
from .evaluate import rate

Model = Annotated[
    str | None, typer.Option(help="Folder or Hub id of a model: its processor says how clips are made and cut up.")
]
NumFrames = Annotated[int | None, typer.Option(help="Frames in a clip. Default: 16, or the model's own.", min=1)]
FrameStride = Annotated[
    int | None, typer.Option(help="Distance of a clip's frames. Default: 4, or the processor's own.", min=1)
]
ImageSize = Annotated[int | None, typer.Option(help="Side of a frame, in pixels. Default: 224.", min=1)]
PatchSize = Annotated[int | None, typer.Option(help="Side of a patch, in pixels. Default: 16.", min=1)]
TubeletSize = Annotated[int | None, typer.Option(help="Frames in a tubelet. Default: 2.", min=1)]


def make_processor(
    model: str | None,
    num_frames: int | None = None,
    frame_stride: int | None = None,
    fps: float | None = None,
    image_size: int | None = None,
    patch_size: int | None = None,
    tubelet_size: int | None = None,
) -> RLTVideoProcessor:
    """Return the processor of a model, or one for the sizes given.

    Args:
        model: folder or Hub id, if any.
        num_frames, frame_stride, fps: of a clip, also instead of the model's own.
        image_size, patch_size, tubelet_size: without a model.

    Raises:
        ValueError, OSError: if there is no such model, options contradict each other, or no tubelet fits into a clip.
    """
    changes: dict[str, Any] = rate(frame_stride, fps)
    sizes = {"--image-size": image_size, "--patch-size": patch_size, "--tubelet-size": tubelet_size}
    given = [name for name, value in sizes.items() if value is not None]
    if model is not None and given:
        raise HfRltError(f"Expected --model or sizes, received --model {model} and {', '.join(given)}: leave one out.")
    if num_frames is not None:
        changes["num_frames"] = num_frames
    if model is not None:
        processor = _of_model(model, changes)
    else:
        side = image_size or 224
        changes |= {"patch_size": patch_size or 16, "tubelet_size": tubelet_size or 2}
        size = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
        processor = RLTVideoProcessor(**{"num_frames": DEFAULT_NUM_FRAMES, **changes, **size})
    crop = processor.crop_size
    shape = (processor.num_frames or DEFAULT_NUM_FRAMES, 3, crop["height"], crop["width"])
    grid_size(shape, processor.tubelet_size, processor.patch_size)  # raises now rather than at each video
    return processor


def _of_model(model: str, changes: dict[str, Any]) -> RLTVideoProcessor:
    read_config(model)
    config = AutoConfig.from_pretrained(model)
    processor = family_of(config.model_type, model).processor
    own = {name: getattr(config, name) for name in ("num_frames", "tubelet_size", "patch_size")}
    return processor.from_pretrained(model, **{**own, **changes})
