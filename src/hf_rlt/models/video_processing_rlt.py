# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""RLTVideoProcessor: from a file or an array to `pixel_values` and `run_lengths`."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import BatchFeature, VideoMAEImageProcessor
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    ChannelDimension,
    PILImageResampling,
    infer_channel_dimension_format,
)
from transformers.processing_utils import Unpack, VideosKwargs
from transformers.utils import IMAGE_PROCESSOR_NAME
from transformers.video_processing_utils import BaseVideoProcessor
from transformers.video_utils import VideoMetadata, default_sample_indices_fn

from .errors import HfRltError
from .runs import RunRule
from .sampling import fps_indices, strided_indices, uniform_indices
from .video_frames import check_channels, check_pixels, numbered
from .video_inputs import as_metadata, as_videos, is_file, source_of, warn_of_ignored_rate
from .video_reader import VideoReader
from .video_stream import NO_LIMITS, Limits

DEFAULT_NUM_FRAMES = 16


class RLTVideoProcessorKwargs(VideosKwargs, total=False):  # type: ignore[call-arg]
    """Settings of `RLTVideoProcessor` beyond transformers' own.

    Attributes:
        frame_stride: distance of two frames of a clip, in frames of the video.
        sampling: "clip" (strided or at `fps`) or "uniform" (spread over the whole video).
        position: where the clip lies, from 0 to 1: of "clip" in the video, of "uniform" each frame in its segment.
        threshold: mean absolute difference of normalised pixels up to which a tubelet is dropped; None drops nothing.
        tubelet_size: frames in a tubelet, as in the model's configuration.
        patch_size: side of a patch in pixels (or a pair), as in the model's configuration.
    """

    frame_stride: int | None
    sampling: str | None
    position: float | None
    threshold: float | int | None
    tubelet_size: int | None
    patch_size: int | list[int] | tuple[int, ...] | None


class RLTVideoProcessor(BaseVideoProcessor):
    """Turns videos into `pixel_values` `(B, F, C, H, W)` and `run_lengths` `(B, N)`.

    Takes a path, an http(s) URL, bytes, a binary file, a row of `datasets`, an array or tensor `(F, H, W, C)` or
    `(F, C, H, W)`, a list of PIL frames, or a list of these. Files are always sampled: `num_frames` (16 unless set)
    frames, `frame_stride` (4) apart, centred; or at `fps` frames per second by the video's own time stamps; or, with
    `sampling="uniform"`, over the whole video. A file too short for that repeats its last frame. Arrays pass as is unless
    `do_sample_frames=True`; the frames of a short one are then spread evenly, as in transformers.

    Runs are found in float32 on the normalised pixels, so `threshold` is in units of one standard deviation.
    """

    resample = PILImageResampling.BILINEAR
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    size = {"shortest_edge": 224}  # noqa: RUF012
    default_to_square = False
    crop_size = {"height": 224, "width": 224}  # noqa: RUF012
    do_resize = True
    do_center_crop = True
    do_rescale = True
    rescale_factor = 1 / 255
    do_normalize = True
    do_convert_rgb = True
    do_sample_frames = False
    frame_stride = 4
    sampling = "clip"
    position = 0.5
    threshold = 0.1
    tubelet_size = 2
    patch_size = 16
    valid_kwargs = RLTVideoProcessorKwargs
    model_input_names = ["pixel_values", "run_lengths"]  # noqa: RUF012

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        cls._auto_class = None  # the code that a folder carries is this file's, not that of a class derived from it

    def __init__(self, **kwargs: Unpack[RLTVideoProcessorKwargs]) -> None:
        super().__init__(**kwargs)
        # The base class reads None as "not given"; here it means "drop nothing".
        if "threshold" in kwargs:
            self.threshold = kwargs["threshold"]
        if self.sampling not in ("clip", "uniform"):
            raise HfRltError(f'Expected sampling to be "clip" or "uniform", received {self.sampling!r}.')
        if self.frame_stride < 1:
            raise HfRltError(f"Expected frame_stride >= 1, received {self.frame_stride}.")

    def __call__(self, videos, **kwargs: Unpack[RLTVideoProcessorKwargs]) -> BatchFeature:
        """Process videos, see `preprocess`."""
        warn_of_ignored_rate(sys._getframe(1), self.frame_stride)
        return super().__call__(videos, **kwargs)

    def preprocess(self, videos, **kwargs: Unpack[RLTVideoProcessorKwargs]) -> BatchFeature:
        """Return a `BatchFeature` with `pixel_values` float32 and `run_lengths` int64.

        Args:
            videos: see the class.
            **kwargs: any setting of the processor, for this call only; `return_tensors="pt"` for tensors.

        Raises:
            ValueError: if an input cannot be read or is not a video; names the file or the video's number, what was
                found and what to do.
        """
        settings = {**self._settings(), **kwargs}
        videos = as_videos(videos, settings["input_data_format"], settings["do_convert_rgb"])
        if is_file(videos[0]):
            each = self._resizing(settings)
            decoded = [self._read_of(videos, place, settings, each) for place in range(len(videos))]
            videos = [frames for frames, _ in decoded]
            kwargs.update(
                do_sample_frames=False, video_metadata=[data for _, data in decoded], input_data_format="channels_last"
            )
            if each is not None:
                kwargs["do_resize"] = False
        elif settings["video_metadata"] is not None:
            lengths = [len(video) for video in videos]
            kwargs["video_metadata"] = as_metadata(settings["video_metadata"], lengths, settings["do_sample_frames"])
        return_tensors = kwargs.pop("return_tensors", None)
        features = super().preprocess(videos, **kwargs)
        clips = features["pixel_values"]
        if return_tensors == "pt" and not isinstance(clips, Tensor):
            shapes = sorted({tuple(clip.shape) for clip in clips})
            raise HfRltError(
                f"Cannot stack clips of shapes {shapes}: pass do_sample_frames=True with num_frames, and leave "
                "do_center_crop on."
            )
        rule, run_lengths = RunRule(settings["threshold"], settings["tubelet_size"], settings["patch_size"]), []
        for place, clip in enumerate(clips):
            try:
                run_lengths.append(rule.find(clip[None])[0])
            except ValueError as error:
                raise HfRltError(f"{numbered(place, len(clips))}{error}") from error
        if return_tensors == "pt":
            return BatchFeature({**features, "run_lengths": torch.stack(run_lengths)})
        data = {**features, "pixel_values": list(clips), "run_lengths": run_lengths}
        return BatchFeature(data, tensor_type=return_tensors)

    def pixels(self, frames: np.ndarray | Sequence[np.ndarray], **changes: Any) -> Tensor:
        """Turn frames `(clips, F, H, W, 3)` uint8 into pixels `(clips, F, C, H, W)` float32. The second of three steps.

        Args:
            frames: as `decode` returns them.
            **changes: settings of the processor, for this call only.
        """
        changes.update(do_sample_frames=False, input_data_format="channels_last")
        return super().preprocess(list(frames), **changes)["pixel_values"]

    def _settings(self) -> dict:
        return {name: getattr(self, name, None) for name in self.valid_kwargs.__annotations__}

    def _resizing(self, settings: dict) -> Callable[[np.ndarray], np.ndarray] | None:
        """Return a function that resizes frames as a file is read, bit for bit as later; None if none are resized.

        A clip's frames are then never in memory in their own size, which of 16 of 4K takes 400 MB.
        """
        if not settings["do_resize"] or torch.device(settings.get("device") or "cpu").type != "cpu":
            return None
        names = ("size", "crop_size", "default_to_square")
        size = self._standardize_kwargs(**{name: settings[name] for name in names})["size"]

        def resized(frame: np.ndarray) -> np.ndarray:
            pixels = torch.from_numpy(frame).permute(2, 0, 1)[None]
            return self.resize(pixels, size=size, resample=settings["resample"])[0].permute(1, 2, 0).numpy()

        return resized

    def _read_of(self, videos: list, place: int, settings: dict, each=None) -> tuple[np.ndarray, VideoMetadata]:
        """Read one of several files; if it has no name, say in errors which one it is."""
        try:
            return self._read(videos[place], settings, each)
        except ValueError as error:
            if isinstance(videos[place], (str, os.PathLike)):
                raise
            raise HfRltError(f"{numbered(place, len(videos))}{error}") from error

    def _read(self, video, settings: dict, each=None) -> tuple[np.ndarray, VideoMetadata]:
        frames, metadata = self._read_clips(video, [settings], each)
        return frames[0], metadata

    def _read_clips(self, video, settings: list[dict], each=None, limits=NO_LIMITS) -> tuple[np.ndarray, VideoMetadata]:
        with VideoReader(source_of(video), limits=limits) as reader:
            index = reader.index
            metadata = VideoMetadata(
                total_num_frames=index.num_frames,
                fps=index.fps,
                width=index.width,
                height=index.height,
                duration=index.duration,
                video_backend="pyav",
            )
            clips = [self.sample_frames(metadata, timestamps=index.timestamps, **clip) for clip in settings]
            indices = np.concatenate(clips)
            metadata.frames_indices = indices.tolist()
            frames = reader.read(indices, each)
        return frames.reshape(len(clips), -1, *frames.shape[1:]), metadata

    @property
    def rule(self) -> RunRule:
        """The rule by which runs are found."""
        return RunRule(self.threshold, self.tubelet_size, self.patch_size)

    def decode(
        self,
        video,
        positions: Sequence[float | np.ndarray] = (0.5,),
        resized: bool = False,
        *,
        indices: np.ndarray | None = None,
        max_pixels: int | None = None,
        on_frame: Callable[[Any], None] | None = None,
    ) -> np.ndarray:
        """Decode clips `(len(positions), F, H, W, 3)` uint8 of one video, in one pass. The first of three steps.

        `preprocess` composes `decode`, `pixels` and `rule.find`.

        Args:
            video: a path, URL, bytes or binary file; with `indices` an open `VideoReader`.
            positions: where each clip lies, see `sample_frames`.
            resized: as the processor resizes (call `pixels` with `do_resize=False` then), instead of in the video's size.
            indices: `(clips, F)` frames to decode, instead of those at `positions`.
            max_pixels: a frame with more pixels is not decoded but an error; FFmpeg includes the decoder's padding.
            on_frame: called with every decoded `av.VideoFrame`; may raise to stop reading.

        Raises:
            ValueError, OSError: if the video cannot be read.
        """
        settings = self._settings()
        each = self._resizing(settings) if resized else None
        if indices is not None:
            frames = video.read(indices.reshape(-1), each)
            return frames.reshape(*indices.shape, *frames.shape[1:])
        clips = [{**settings, "position": position} for position in positions]
        return self._read_clips(video, clips, each, Limits(max_pixels, on_frame))[0]

    def fetch_videos(self, video_url_or_urls, sample_indices_fn=None):
        """Return `(frames, metadata)` of one file, or both as tuples for a list; read by PyAV.

        Args:
            video_url_or_urls: a path, URL, bytes or binary file, or a list of these.
            sample_indices_fn: from metadata to frame indices; None samples with the processor's settings.
        """
        if isinstance(video_url_or_urls, (list, tuple)):
            pairs = [self.fetch_videos(video, sample_indices_fn) for video in video_url_or_urls]
            return list(zip(*pairs, strict=True))
        settings = self._settings()
        if sample_indices_fn is not None:
            settings.update(sample_indices_fn.keywords)
        return self._read(video_url_or_urls, settings)

    def sample_frames(
        self,
        metadata: VideoMetadata,
        num_frames: int | None = None,
        fps: float | None = None,
        frame_stride: int | None = None,
        sampling: str | None = None,
        position: Any = None,
        timestamps: np.ndarray | None = None,
        **kwargs,
    ) -> np.ndarray:
        """Return `(num_frames,)` int64 indices of the frames of a clip.

        Args:
            metadata: of the video; an array's has no `video_backend` of ours.
            num_frames: frames in the clip; 16 for files if not set.
            fps: frames per second of the clip; goes before `frame_stride`.
            frame_stride: distance of the clip's frames in frames of the video.
            sampling: "clip" or "uniform".
            position: of the clip in the video, or of each frame in its segment; 0.5 is the middle.
            timestamps: `(total,)` seconds of each frame, when they are known.
            **kwargs: ignored, other settings of the processor.

        Raises:
            ValueError: if an array holds fewer than `num_frames` frames; a file repeats its last frame instead. If an
                array is only too short for `frame_stride` or `fps`, frames are spread evenly over it.
        """
        num_frames = num_frames if num_frames is not None else self.num_frames
        fps = fps if fps is not None else self.fps
        frame_stride = frame_stride if frame_stride is not None else self.frame_stride
        sampling = sampling or self.sampling
        position = self.position if position is None else position
        total = metadata.total_num_frames
        if timestamps is None and (num_frames is None or num_frames >= total):
            # Arrays keep transformers' own rules: all frames at `fps`, or an error when there are too few.
            if num_frames is None and fps is not None:
                _timestamps(metadata)  # raises an error if the rate is 0
            return default_sample_indices_fn(metadata, num_frames=num_frames, fps=fps)
        num_frames, short = DEFAULT_NUM_FRAMES if num_frames is None else num_frames, False
        if sampling == "uniform":
            indices = uniform_indices(total, num_frames, position)
        elif fps is not None:
            stamps = _timestamps(metadata) if timestamps is None else timestamps
            indices = fps_indices(stamps, num_frames, fps, position)
        else:
            indices = strided_indices(total, num_frames, frame_stride, position)
            short = (num_frames - 1) * frame_stride >= total
        if timestamps is None and (short or len(np.unique(indices)) < num_frames):
            # Also transformers' rule: spread the frames of a short array, and repeat none.
            return default_sample_indices_fn(metadata, num_frames=num_frames)
        return indices

    def _prepare_input_videos(self, videos, input_data_format=None, device=None, **kwargs) -> list[Tensor]:
        # One by one: the base class reads the channel layout of the first video into all the others.
        prepare, prepared = super()._prepare_input_videos, []
        for video in videos:
            layout = input_data_format or infer_channel_dimension_format(video)
            devices = {torch.device(device or "cpu").type, torch.device(getattr(video, "device", "cpu")).type}
            if layout == ChannelDimension.LAST and devices == {"cpu"} and video.dtype in (np.uint8, torch.uint8):
                # A view: torchvision resizes such bytes to the same ones, twice as fast as a copy with channels first.
                video, layout = torch.as_tensor(video).permute(0, 3, 1, 2), ChannelDimension.FIRST
            prepared += prepare([video], input_data_format=layout, device=device, **kwargs)
        return prepared

    def _preprocess(self, videos, do_resize, size, resample, do_center_crop, crop_size, **kwargs) -> dict:
        """Resize, crop, scale and normalise: `(B, F, C, H, W)`, or a list of clips of different shapes."""
        check_pixels(videos, kwargs["do_rescale"], kwargs["rescale_factor"])
        if kwargs["do_normalize"]:
            check_channels(videos, kwargs["image_mean"])
        clips = [self.resize(video, size=size, resample=resample) if do_resize else video for video in videos]
        clips = [self.center_crop(clip, crop_size) if do_center_crop else clip for clip in clips]
        clips = self._scaled(clips, **kwargs)
        alike = not isinstance(clips, Tensor) and len({tuple(clip.shape) for clip in clips}) == 1
        return {"pixel_values": torch.stack(clips) if alike else clips}

    def _scaled(self, clips, do_rescale, rescale_factor, do_normalize, image_mean, image_std, **kwargs):
        """Scale and normalise clips to exactly the base class's values: `(B, F, C, H, W)`, or a list of clips."""
        alike = len({clip.shape for clip in clips}) == 1
        scaling = (do_rescale, rescale_factor, do_normalize, image_mean, image_std)
        if not alike or not do_normalize or clips[0].dtype == torch.float32:
            scaled = [self.rescale_and_normalize(clip, *scaling) for clip in clips]
            return [clip.clone(memory_format=torch.contiguous_format) for clip in scaled]  # not the caller's memory
        mean, std, _ = self._fuse_mean_std_and_rescale_factor(
            do_normalize, image_mean, image_std, do_rescale, rescale_factor, clips[0].device
        )
        batch = torch.empty((len(clips), *clips[0].shape), device=clips[0].device)
        for place, clip in zip(batch, clips, strict=True):
            self.normalize(place.copy_(clip), mean, std, inplace=True)
        return batch

    def save_pretrained(self, save_directory, push_to_hub: bool = False, **kwargs) -> list[str]:
        """Return the paths written: the processor's file, and an image processor's for batched pipelines.

        Registered for `AutoVideoProcessor` (`hf_rlt.register`) it also writes the code that `trust_remote_code=True` runs
        where hf_rlt is not installed.
        """
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        shared = ["do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale", "rescale_factor"]
        shared += ["do_normalize", "image_mean", "image_std"]
        image_processor = VideoMAEImageProcessor(**{name: getattr(self, name) for name in shared})
        if self._auto_class is not None:
            # AutoProcessor reads this file first, and would otherwise make an image processor of it.
            image_processor.auto_map = {
                "AutoProcessor": f"{type(self).__module__.split('.')[-1]}.{type(self).__name__}"
            }
        image_file = os.path.join(save_directory, IMAGE_PROCESSOR_NAME)
        image_processor.to_json_file(image_file)
        if self._auto_class is None:
            self.__dict__.pop("auto_map", None)  # of the folder it was loaded from, which holds other classes
        written = [*super().save_pretrained(save_directory), image_file]
        if push_to_hub:  # not by the base class: it would leave out what was written before it
            self.push_to_hub(kwargs.pop("repo_id", Path(save_directory).name), **kwargs)
        return written


def _timestamps(metadata: VideoMetadata) -> np.ndarray:
    if not metadata.fps or metadata.fps < 0:
        raise HfRltError("Sampling an array at `fps` needs video_metadata with the array's own fps.")
    return np.arange(metadata.total_num_frames) / metadata.fps


__all__ = ["RLTVideoProcessor"]
