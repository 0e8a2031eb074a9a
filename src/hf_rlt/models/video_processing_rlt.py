# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""RLTVideoProcessor: from a file or an array to `pixel_values` and `run_lengths`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import BatchFeature, VideoMAEImageProcessor
from transformers.processing_utils import Unpack, VideosKwargs
from transformers.utils import IMAGE_PROCESSOR_NAME
from transformers.video_utils import VideoMetadata

from .errors import HfRltError, check_spelling
from .opened_video import open_video
from .packing import packed_layout
from .run_rule import RunRule, complete_changes, rule_of
from .sampling import array_indices, clip_indices
from .tubelets import cut_tubelets
from .video_inputs import as_metadata, as_videos, is_array, numbered, warn_of_ignored_rate
from .video_pixels import PIXEL_SETTINGS, PixelProcessor, stacked
from .video_stream import NO_LIMITS, Limits

DEFAULT_NUM_FRAMES = 16


class RLTVideoProcessorKwargs(VideosKwargs, total=False):  # type: ignore[call-arg]
    """Settings of `RLTVideoProcessor` beyond transformers' own."""

    frame_stride: int | None  # distance of two frames of a clip, in frames of the video; `fps` goes before it
    sampling: str | None  # "clip" (strided or at `fps`) or "uniform" (spread over the whole video)
    position: float | None  # where the clip lies, from 0 to 1: of "clip" in the video, of "uniform" in each segment
    threshold: float | int | None  # mean absolute difference of normalised pixels up to which a tubelet is dropped
    rule: str | None  # "threshold", "anchor" or "optimal", see `RunRule`
    max_tokens: float | int | None  # tokens of a clip, at most: a number, or a share as a float
    num_tokens: float | int | None  # tokens of a clip, exactly
    budget: str | None  # "clip", or "batch": the clips of one call share their tokens
    budget_groups: int | None  # groups of tubelets over which a budget is spread evenly
    tubelet_size: int | None  # frames in a tubelet, as in the model's configuration
    patch_size: int | list[int] | tuple[int, ...] | None  # side of a patch in pixels (or a pair), as in the model's
    return_tokens: bool | None  # the computed tubelets instead of the clips


class RLTVideoProcessor(PixelProcessor):
    """Turns videos into `pixel_values` `(B, F, C, H, W)` and `run_lengths` `(B, N)`.

    Takes a path, an http(s) URL, bytes, a binary file, a row of `datasets`, an array or tensor `(F, H, W, C)` or
    `(F, C, H, W)`, a list of PIL frames, or a list of these. Files are always sampled: `num_frames` (16 unless set)
    frames, `frame_stride` (4) apart, centred; or at `fps` frames per second by the video's own time stamps; or, with
    `sampling="uniform"`, over the whole video. A short file repeats its last frame. Arrays pass as is unless
    `do_sample_frames=True`. `threshold` is in units of one standard deviation of normalised pixels.
    """

    do_sample_frames = False
    frame_stride = 4
    sampling = "clip"
    position = 0.5
    threshold = 0.1
    rule = "threshold"
    max_tokens = None
    num_tokens = None
    budget = "clip"
    budget_groups = 1
    return_tokens = False
    tubelet_size = 2
    patch_size = 16
    valid_kwargs = RLTVideoProcessorKwargs
    model_input_names = ["pixel_values", "run_lengths"]  # noqa: RUF012

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        cls._auto_class = None  # the code that a folder carries is this file's, not that of a class derived from it

    def __init__(self, **kwargs: Unpack[RLTVideoProcessorKwargs]) -> None:
        check_spelling(kwargs, self.valid_kwargs.__annotations__)
        super().__init__(**kwargs)
        # The base class reads None as "not given"; here it means "drop nothing", or no budget.
        for name in ("threshold", "max_tokens", "num_tokens"):
            if name in kwargs:
                setattr(self, name, kwargs[name])
        if self.sampling not in ("clip", "uniform"):
            raise HfRltError(f'Expected sampling to be "clip" or "uniform", received {self.sampling!r}.')
        if self.return_tokens:
            raise HfRltError("return_tokens is a choice of one call: pass it when the processor is called.")
        if self.frame_stride < 1:
            raise HfRltError(f"Expected frame_stride >= 1, received {self.frame_stride}.")
        rule_of(self)  # raises for settings that make none

    @classmethod
    def from_dict(cls, video_processor_dict: dict[str, Any], **kwargs) -> Any:
        """Make a processor of a file's settings changed by `kwargs`; those of the rule replace each other."""
        return super().from_dict(video_processor_dict, **complete_changes(kwargs))

    @classmethod
    def sizes(cls, height: int, width: int) -> dict[str, Any]:
        """Return the settings by which frames of any size become those of a model's clips."""
        return {"size": {"shortest_edge": min(height, width)}, "crop_size": {"height": height, "width": width}}

    def __call__(self, videos, **kwargs: Unpack[RLTVideoProcessorKwargs]) -> BatchFeature:
        """Process videos, see `preprocess`, with settings for this call only.

        Args:
            videos: one or several, see the class.
            **kwargs: which frames (`num_frames`, `frame_stride` or `fps`, `sampling`, `position`); their pixels (`size`,
                `do_resize`, `crop_size`, `do_center_crop`, `image_mean`, `image_std`, `do_normalize`, `rescale_factor`);
                which tubelets are computed (`threshold`, None for all, `rule`, `num_tokens`, `max_tokens`, `budget`,
                `budget_groups`, `tubelet_size`, `patch_size`); `return_tokens`, `return_tensors`.
        """
        warn_of_ignored_rate(sys._getframe(1), self.frame_stride)
        return super().__call__(videos, **kwargs)

    def preprocess(self, videos, **kwargs: Unpack[RLTVideoProcessorKwargs]) -> BatchFeature:
        """Make `pixel_values` float32 and `run_lengths` int64 of videos; `kwargs` change settings for this call only.

        With `return_tokens=True` there are `tubelets` `(L, s, C, p, p)` in place of `pixel_values`: those that are computed,
        clip by clip, in the order of `run_lengths`. Models take either.

        Raises:
            HfRltError: if an input cannot be read or is not a video; names the file or the video's number.
        """
        check_spelling(kwargs, self.valid_kwargs.__annotations__)
        settings, return_tensors = {**self._settings(), **kwargs}, kwargs.pop("return_tensors", None)
        videos = as_videos(videos, settings["input_data_format"], settings["do_convert_rgb"])
        if not is_array(videos[0]):
            transform, number, decoded = self._resizing(settings), len(videos), []
            for place, video in enumerate(videos):
                with numbered(place, 1 if isinstance(video, (str, os.PathLike)) else number):  # names say which it is
                    decoded.append(self._read_clips(video, [settings], transform))
            videos, metadata = [clips[0] for clips, _ in decoded], [metadata for _, metadata in decoded]
            kwargs.update(do_sample_frames=False, input_data_format="channels_last", video_metadata=metadata)
            if transform is not None:
                kwargs["do_resize"] = False
        elif settings["video_metadata"] is not None:
            lengths = [len(video) for video in videos]
            kwargs["video_metadata"] = as_metadata(settings["video_metadata"], lengths, settings["do_sample_frames"])
        features = super().preprocess(videos, **kwargs)
        clips, name = features.pop("pixel_values"), "tubelets" if settings["return_tokens"] else "pixel_values"
        if return_tensors == "pt" or settings["return_tokens"]:
            clips = stacked(clips)
        rule = rule_of(self, **complete_changes(kwargs))
        if rule.budget == "batch":
            run_lengths = list(rule.find(stacked(clips)))
        else:
            run_lengths = []
            for place, clip in enumerate(clips):
                with numbered(place, len(clips)):
                    run_lengths.append(rule.find(clip[None])[0])
        if settings["return_tokens"]:
            layout = packed_layout(torch.stack(run_lengths))
            clips = cut_tubelets(clips, layout, rule.tubelet_size, rule.patch_size)
        if return_tensors == "pt":
            return BatchFeature({**features, name: clips, "run_lengths": torch.stack(run_lengths)})
        data = {**features, name: list(clips), "run_lengths": run_lengths}
        return BatchFeature(data, tensor_type=return_tensors)

    @property
    def run_rule(self) -> RunRule:
        """The rule by which runs are found."""
        return rule_of(self)

    def decode(self, video, positions=(0.5,), resized: bool = False, *, indices=None, **limits: Any) -> np.ndarray:
        """Decode clips `(len(positions), F, H, W, 3)` uint8 of one video, in one pass. The first of three steps.

        `preprocess` composes `decode`, `pixels` and `run_rule.find`.

        Args:
            video: a path, URL, bytes or binary file; with `indices` an open `VideoReader`.
            positions: where each clip lies, a number from 0 to 1 (or `(F,)` for uniform sampling).
            resized: as the processor resizes (call `pixels` with `do_resize=False` then), instead of in the video's size.
            indices: `(clips, F)` frames to decode, instead of those at `positions`.
            **limits: see `Limits`.

        """
        settings = self._settings()
        transform = self._resizing(settings) if resized else None
        if indices is not None:
            frames = video.read(indices.reshape(-1), transform)
            return frames.reshape(*indices.shape, *frames.shape[1:])
        clips = [{**settings, "position": position} for position in positions]
        return self._read_clips(video, clips, transform, Limits(**limits))[0]

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """Frames, channels, height and width of a clip that is sampled and cropped."""
        return (self.num_frames or DEFAULT_NUM_FRAMES, 3, self.crop_size["height"], self.crop_size["width"])

    def pixels(self, frames: np.ndarray | Sequence[np.ndarray], **changes: Any) -> Tensor:
        """Turn frames `(clips, F, H, W, 3)` into pixels `(clips, F, C, H, W)` float32. The second of three steps."""
        changes.update(do_sample_frames=False, input_data_format="channels_last")
        return stacked(super().preprocess(list(frames), **changes)["pixel_values"])

    def fetch_videos(self, video_url_or_urls, sample_indices_fn=None):
        """Read the frames and metadata of a file, or both as tuples of a list of files, sampled by a partial or as set."""
        if isinstance(video_url_or_urls, (list, tuple)):
            return list(zip(*(self.fetch_videos(video, sample_indices_fn) for video in video_url_or_urls), strict=True))
        changes = {} if sample_indices_fn is None else sample_indices_fn.keywords
        clips, metadata = self._read_clips(video_url_or_urls, [{**self._settings(), **changes}])
        return clips[0], metadata

    def sample_frames(self, metadata: VideoMetadata, timestamps=None, **changes: Any) -> np.ndarray:
        """Return `(num_frames,)` int64 indices of the frames of a clip; `changes` go before the processor's settings.

        `timestamps` are the seconds at which each frame of a file appears, None for arrays, which follow `array_indices`.
        """
        names = ("num_frames", "fps", "frame_stride", "sampling", "position")
        settings = {name: getattr(self, name) if changes.get(name) is None else changes[name] for name in names}
        if timestamps is None:
            return array_indices(metadata.total_num_frames, metadata.fps, **settings)
        if settings["num_frames"] is None:
            settings["num_frames"] = DEFAULT_NUM_FRAMES
        return clip_indices(metadata.total_num_frames, timestamps, **settings)

    def _settings(self) -> dict:
        return {name: getattr(self, name, None) for name in self.valid_kwargs.__annotations__}

    def _read_clips(self, video, clips, transform=None, limits=NO_LIMITS) -> tuple[np.ndarray, VideoMetadata]:
        """Read clips, each with its settings, in one pass over a file."""
        with open_video(video, limits) as reader:
            index = reader.index
            known = {name: getattr(index, name) for name in ("fps", "width", "height", "duration")}
            metadata = VideoMetadata(total_num_frames=index.num_frames, video_backend="pyav", **known)
            indices = [self.sample_frames(metadata, timestamps=index.timestamps, **clip) for clip in clips]
            metadata.frames_indices = np.concatenate(indices).tolist()
            frames = reader.read(np.concatenate(indices), transform)
        return frames.reshape(len(clips), -1, *frames.shape[1:]), metadata

    def save_pretrained(self, save_directory, push_to_hub: bool = False, **kwargs) -> list[str]:
        """Write the processor's file, an image processor's for batched pipelines, and the code; return their paths."""
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        image_processor = VideoMAEImageProcessor(**{name: getattr(self, name) for name in PIXEL_SETTINGS})
        if self._auto_class is None:
            self.__dict__.pop("auto_map", None)  # of the folder it was loaded from, which holds other classes
        else:
            # AutoProcessor reads this file first, and would otherwise make an image processor of it.
            place = f"{type(self).__module__.split('.')[-1]}.{type(self).__name__}"
            image_processor.auto_map = {"AutoProcessor": place}
        image_file = os.path.join(save_directory, IMAGE_PROCESSOR_NAME)
        image_processor.to_json_file(image_file)
        written = [*super().save_pretrained(save_directory), image_file]
        if push_to_hub:  # not by the base class: it would leave out what was written before it
            self.push_to_hub(kwargs.pop("repo_id", Path(save_directory).name), **kwargs)
        return written


__all__ = ["RLTVideoProcessor"]
