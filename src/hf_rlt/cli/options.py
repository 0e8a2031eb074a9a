# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Options that several commands share, and what they mean."""

import math
from typing import Annotated, Any, Literal

import typer

Model = Annotated[str, typer.Option("--model", "-m", help="Folder or Hub id of a model.")]
OptionalModel = Annotated[
    str | None, typer.Option("--model", "-m", help="Use this model's frame sampling and patch size.")
]
Threshold = Annotated[str, typer.Option(help='RLT threshold: a number, "none" (dense), or "model" (the model\'s own).')]
Thresholds = Annotated[list[float], typer.Option("--threshold", help="RLT threshold. May be repeated.", min=0)]
NumFrames = Annotated[int | None, typer.Option(help="Frames per clip. Default: the model's own, or 16.", min=1)]
FrameStride = Annotated[int | None, typer.Option(help="Take every Nth frame. Default: the model's own, or 4.", min=1)]
Fps = Annotated[float | None, typer.Option(help="Frames per second of a clip, instead of --frame-stride.")]
ImageSize = Annotated[int | None, typer.Option(help="Side of a frame in pixels. Default: 224.", min=1)]
PatchSize = Annotated[int | None, typer.Option(help="Side of a patch in pixels. Default: 16.", min=1)]
TubeletSize = Annotated[int | None, typer.Option(help="Frames per tubelet. Default: 2.", min=1)]
NumClips = Annotated[int, typer.Option(help="Temporal clips per video.", min=1)]
NumCrops = Annotated[int, typer.Option(help="Crops per temporal clip.", min=1)]
BatchSize = Annotated[int, typer.Option(help="Clips (views of videos) per batch and process, at most.", min=1)]
MaxTokens = Annotated[int | None, typer.Option(help="Tokens per batch and process, at most.", min=1)]
NumWorkers = Annotated[int | None, typer.Option(help="Decoding processes. Default: one per core.", min=0)]
TopK = Annotated[int, typer.Option(help="Number of classes to report for each video.", min=1)]
VideoDir = Annotated[str | None, typer.Option(help="Folder with the videos of an annotation file.")]
OnBadVideo = Annotated[str, typer.Option(help='"raise", or "skip" and count.')]
Bf16 = Annotated[bool, typer.Option("--bf16", help="Compute in bfloat16.")]
AttnImplementation = Annotated[
    str | None, typer.Option(help="Attention backend: sdpa, eager, flash_attention_2, ... Default: transformers' own.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def parse_threshold(text: str) -> float | Literal["model"] | None:
    """Return the value of `--threshold`: a number, None for "none" (dense), or "model"."""
    from ..errors import HfRltError

    if text.lower() == "model":
        return "model"
    if text.lower() == "none":
        return None
    try:
        return finite(float(text))
    except ValueError:
        raise HfRltError(f"--threshold: expected a number, none or model, received {text!r}.") from None


def finite(threshold: float) -> float:
    """Return a threshold; raise HfRltError unless it is a finite number."""
    from ..errors import HfRltError

    if not math.isfinite(threshold):
        raise HfRltError(f"--threshold: expected a number, received {threshold}.")
    return threshold


def sampling_settings(frame_stride: int | None, fps: float | None) -> dict[str, Any]:
    """Return the processor's settings for `--frame-stride` or `--fps`; none if neither is given."""
    from ..errors import HfRltError

    if frame_stride is not None and fps is not None:
        raise HfRltError(
            f"Expected --frame-stride or --fps, received both ({frame_stride} and {fps:g}): leave one out."
        )
    if fps is not None and not fps > 0:
        raise HfRltError(f"--fps: expected frames per second above 0, received {fps:g}.")
    if frame_stride is not None:
        return {"sampling": "clip", "frame_stride": frame_stride, "fps": None}
    return {} if fps is None else {"sampling": "clip", "fps": fps}


def load_model(
    model: str,
    threshold: str,
    num_frames: int | None,
    frame_stride: int | None,
    fps: float | None,
    attn_implementation: str | None = None,
    head: bool = True,
) -> tuple[Any, Any]:
    """Load the model and processor that the options ask for, see `hf_rlt.inference.loading.load`."""
    from ..inference.loading import load

    return load(
        model,
        threshold=parse_threshold(threshold),
        num_frames=num_frames,
        sampling=sampling_settings(frame_stride, fps),
        attn_implementation=attn_implementation,
        head=head,
    )


def make_processor(
    model: str | None,
    num_frames: int | None = None,
    frame_stride: int | None = None,
    fps: float | None = None,
    image_size: int | None = None,
    patch_size: int | None = None,
    tubelet_size: int | None = None,
) -> Any:
    """Return the processor of a model, or one for the sizes given.

    Raises:
        HfRltError, OSError: if there is no such model, options contradict each other, or no tubelet fits into a clip.
    """
    from ..errors import HfRltError
    from ..inference.loading import load_processor
    from ..models.runs import grid_size
    from ..models.video_processing_rlt import DEFAULT_NUM_FRAMES, RLTVideoProcessor

    changes: dict[str, Any] = sampling_settings(frame_stride, fps)
    sizes = {"--image-size": image_size, "--patch-size": patch_size, "--tubelet-size": tubelet_size}
    given = [name for name, value in sizes.items() if value is not None]
    if model is not None and given:
        raise HfRltError(f"Expected --model or sizes, received --model {model} and {', '.join(given)}: leave one out.")
    if num_frames is not None:
        changes["num_frames"] = num_frames
    if model is not None:
        processor = load_processor(model, **changes)
    else:
        side = image_size or 224
        changes |= {"patch_size": patch_size or 16, "tubelet_size": tubelet_size or 2}
        size = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
        processor = RLTVideoProcessor(**{"num_frames": DEFAULT_NUM_FRAMES, **changes, **size})
    crop = processor.crop_size
    shape = (processor.num_frames or DEFAULT_NUM_FRAMES, 3, crop["height"], crop["width"])
    grid_size(shape, processor.tubelet_size, processor.patch_size)  # raises now rather than at each video
    return processor
