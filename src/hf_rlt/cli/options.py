# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Options that several commands share, and what they mean."""

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any

import typer

from ..errors import HfRltError
from ..models.downloads import check_path

Model = Annotated[str, typer.Option("--model", "-m", help="Folder or Hub id of a model.")]
OptionalModel = Annotated[
    str | None, typer.Option("--model", "-m", help="Use this model's frame sampling and patch size.")
]
Threshold = Annotated[
    str,
    typer.Option(
        help='RLT threshold: a number, "none" (dense), or "model". Takes the place of the model\'s own num_tokens.'
    ),
]
Thresholds = Annotated[
    list[float] | None,
    typer.Option("--threshold", help="RLT threshold. May be repeated. Default: the model's own rule, or 0.1.", min=0),
]
Rule = Annotated[
    str | None,
    typer.Option(
        help="Compare a tubelet with the one before it (threshold) or with the first of its run (anchor), or find the runs "
        "that reconstruct best with --num-tokens (optimal)."
    ),
]
MaxTokens = Annotated[
    str | None, typer.Option(help="Tokens per clip, at most: a number such as 512, or a share such as 0.2.")
]
NumTokens = Annotated[
    str | None, typer.Option(help="Tokens per clip, exactly: a number or a share. Not together with --threshold.")
]
Budget = Annotated[
    str | None, typer.Option(help="clip: each clip has its own budget. batch: the clips of a video share one.")
]
BudgetGroups = Annotated[
    int | None, typer.Option(help="Spread the budget evenly over this many groups of tubelets in time.", min=1)
]
NumFrames = Annotated[int | None, typer.Option(help="Frames per clip. Default: the model's own, or 16.", min=1)]
FrameStride = Annotated[int | None, typer.Option(help="Take every Nth frame. Default: the model's own, or 4.", min=1)]
Fps = Annotated[float | None, typer.Option(help="Frames per second of a clip, instead of --frame-stride.")]
ImageSize = Annotated[int | None, typer.Option(help="Side of a frame in pixels. Default: 224.", min=1)]
PatchSize = Annotated[int | None, typer.Option(help="Side of a patch in pixels. Default: 16.", min=1)]
TubeletSize = Annotated[int | None, typer.Option(help="Frames per tubelet. Default: 2.", min=1)]
NumClips = Annotated[int, typer.Option(help="Temporal clips per video.", min=1)]
NumCrops = Annotated[int, typer.Option(help="Crops per temporal clip.", min=1)]
BatchSize = Annotated[int, typer.Option(help="Clips (views of videos) per batch and process, at most.", min=1)]
MaxTokensPerBatch = Annotated[int | None, typer.Option(help="Tokens per batch and process, at most.", min=1)]
NumWorkers = Annotated[int | None, typer.Option(help="Decoding processes. Default: one per core.", min=0)]
TopK = Annotated[int, typer.Option(help="Number of classes to report for each video.", min=1)]
VideoDir = Annotated[str | None, typer.Option(help="Folder with the videos of an annotation file.")]
OnBadVideo = Annotated[str, typer.Option(help='"raise", or "skip" and count.')]
Bf16 = Annotated[bool, typer.Option("--bf16", help="Compute in bfloat16.")]
AttnImplementation = Annotated[
    str | None,
    typer.Option(
        help="Attention: sdpa, torch_varlen, flash_attention_2, ... Default: torch_varlen on GPUs that have it, else sdpa."
    ),
]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@dataclass(kw_only=True)
class RuleOptions:
    """The settings of the rule beside the threshold; None where they are the model's own."""

    rule: Rule = None
    max_tokens: MaxTokens = None
    num_tokens: NumTokens = None
    budget: Budget = None
    budget_groups: BudgetGroups = None

    def changes(self, threshold: str = "model") -> dict[str, Any]:
        """Return the settings that were given, and what they clear, see `hf_rlt.rule_options`."""
        from ..rule_options import rule_changes

        return rule_changes(
            {**{field.name: getattr(self, field.name) for field in fields(RuleOptions)}, "threshold": threshold}, "-"
        )


def first(thresholds: list[float] | None) -> str:
    """Return the first `--threshold` of several as `RuleOptions.changes` takes it."""
    return str(thresholds[0]) if thresholds else "model"


def compared(thresholds: list[float] | None, processor: Any) -> tuple[float | None, ...]:
    """Return the thresholds to compare: those given, each once; else the processor's own, or 0.1 if it drops nothing."""
    from ..rule_options import parse_threshold

    rule = processor.run_rule
    if thresholds:
        return tuple(dict.fromkeys(parse_threshold(str(threshold)) for threshold in thresholds))
    return (None if rule.num_tokens is not None else rule.threshold if rule.drops else 0.1,)


def sampling_settings(frame_stride: int | None, fps: float | None) -> dict[str, Any]:
    """Return the processor's settings for `--frame-stride` or `--fps`; none if neither is given."""
    if frame_stride is not None and fps is not None:
        raise HfRltError("Expected --frame-stride or --fps, received both: leave one out.")
    if fps is not None and not fps > 0:
        raise HfRltError(f"--fps: expected frames per second above 0, received {fps:g}.")
    if frame_stride is not None:
        return {"sampling": "clip", "frame_stride": frame_stride, "fps": None}
    return {} if fps is None else {"sampling": "clip", "fps": fps}


@dataclass(kw_only=True)
class ModelOptions(RuleOptions):
    """How to load a model."""

    threshold: Threshold = "model"
    num_frames: NumFrames = None
    frame_stride: FrameStride = None
    fps: Fps = None
    bf16: Bf16 = False
    attn_implementation: AttnImplementation = None

    def settings(self) -> dict[str, Any]:
        """Return the arguments of `hf_rlt.inference.loading.load`."""
        return {
            "num_frames": self.num_frames,
            "sampling": sampling_settings(self.frame_stride, self.fps),
            "attn_implementation": self.attn_implementation,
            **self.changes(self.threshold),
        }

    def load(self, model: str, head: bool = True) -> tuple[Any, Any, Any]:
        """Load a model onto this process's device; return it, its processor, and which of several processes this is."""
        import torch

        from ..inference.loading import load
        from ..inference.pipeline import launched_rank

        rank, device = launched_rank()
        network, processor = load(model, head=head, **self.settings())
        return network.to(device, torch.bfloat16 if self.bf16 else None), processor, rank


@dataclass(kw_only=True)
class BatchOptions:
    """Views and batches, as in `hf_rlt.inference.Options`."""

    num_clips: NumClips = 1
    num_crops: NumCrops = 1
    batch_size: BatchSize = 8
    max_tokens_per_batch: MaxTokensPerBatch = None
    num_workers: NumWorkers = None


def expand_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the fields of its dataclass parameters as options, for typer, which knows no such groups."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        group: Any = parameter.annotation
        if is_dataclass(group):
            groups[parameter.name] = group
            parameters += inspect.signature(groups[parameter.name], eval_str=True).parameters.values()
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def run(**given: Any) -> Any:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        return command(**given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def check_names(given: dict[str, Any]) -> None:
    """Raise HfRltError if a video or model among a command's arguments is a path that leads nowhere."""
    for name in ("videos", "clips", "video"):
        value = given.get(name) or []
        for path in value if isinstance(value, list) else [value]:
            check_path(str(path))
    model = given.get("model") or ""
    is_path = model.count("/") != 1 or model[0] in "./~"
    if model and is_path and not os.path.isdir(model):
        raise HfRltError(f"{model}: expected a model folder or a Hub id such as user/name, found no such folder.")


def make_processor(
    model: str | None,
    num_frames: int | None = None,
    frame_stride: int | None = None,
    fps: float | None = None,
    image_size: int | None = None,
    patch_size: int | None = None,
    tubelet_size: int | None = None,
    **rule: Any,
) -> Any:
    """Return the processor of a model, or one for the sizes given; `rule` are settings of the rule.

    Raises:
        HfRltError, OSError: if there is no such model, options contradict each other, or no tubelet fits into a clip.
    """
    from ..inference.loading import load_processor
    from ..models.run_rule import check_effect
    from ..models.runs import grid_size
    from ..models.video_processing_rlt import DEFAULT_NUM_FRAMES, RLTVideoProcessor

    changes: dict[str, Any] = {**sampling_settings(frame_stride, fps), **rule}
    if num_frames is not None:
        changes["num_frames"] = num_frames
    if model is None:
        side = image_size or 224
        changes |= {"patch_size": patch_size or 16, "tubelet_size": tubelet_size or 2}
        changes |= {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
        processor = RLTVideoProcessor(**{"num_frames": DEFAULT_NUM_FRAMES, **changes})
        check_effect(rule, processor.run_rule)
    elif image_size or patch_size or tubelet_size:
        raise HfRltError("Expected --model or --image-size, --patch-size and --tubelet-size, received both.")
    else:
        processor = load_processor(model, **changes)
    # Raises now rather than at each video.
    grid = grid_size(processor.clip_shape, processor.tubelet_size, processor.patch_size)
    processor.run_rule.make_budget(grid)
    return processor
