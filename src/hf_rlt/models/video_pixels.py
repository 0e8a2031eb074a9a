# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""From frames to normalised pixels: transformers' own values, bit for bit, with fewer copies."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    ChannelDimension,
    PILImageResampling,
    infer_channel_dimension_format,
)
from transformers.video_processing_utils import BaseVideoProcessor

from .errors import HfRltError
from .video_inputs import numbered

PIXEL_SETTINGS = (  # those that image processors have, too
    *("do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale", "rescale_factor"),
    *("do_normalize", "image_mean", "image_std"),
)


def stacked(clips: Tensor | list[Tensor]) -> Tensor:
    """Stack clips to `(B, F, C, H, W)`; raise HfRltError if their shapes differ."""
    if isinstance(clips, Tensor):
        return clips
    if len(shapes := {tuple(clip.shape) for clip in clips}) > 1:
        to_do = "pass do_sample_frames=True with num_frames, and leave do_center_crop on"
        raise HfRltError(f"Cannot stack clips of shapes {sorted(shapes)}: {to_do}.")
    return torch.stack(clips)


def check_pixels(videos: Sequence[Tensor], settings: dict[str, Any]) -> None:
    """Raise HfRltError for NaN, infinity or other channels than means; warn if floats in 0..1 are to be rescaled."""
    means = settings["image_mean"] if settings["do_normalize"] else None
    channels = len(means) if isinstance(means, (list, tuple)) else 1
    for place, video in enumerate(videos):
        with numbered(place, len(videos)):
            if channels not in (1, video.shape[1]):
                raise HfRltError(
                    f"Expected frames of {channels} channels, as image_mean has, received {video.shape[1]}: leave "
                    "do_convert_rgb on, or set image_mean and image_std."
                )
            if not video.is_floating_point() or video.is_meta:
                continue
            video = video.detach()
            low, high = (float(end) for end in torch.aminmax(video if video.itemsize > 2 else video.float()))
            if not np.isfinite([low, high]).all():
                raise HfRltError("Expected finite pixels, received NaN or infinity: mend the frames.")
        if settings["do_rescale"] and settings["rescale_factor"] < 1 and low >= 0 and 0 < high <= 1:
            warnings.warn(
                "Received frames of floats between 0 and 1, which do_rescale divides by 255 once more: RLT then drops "
                "nearly all tokens. Pass do_rescale=False or multiply them by 255.",
                stacklevel=2,
            )


class PixelProcessor(BaseVideoProcessor):
    """The part of `RLTVideoProcessor` that resizes, crops, scales and normalises, with VideoMAE's defaults."""

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

    def _resizing(self, settings: dict) -> Callable[[np.ndarray], np.ndarray] | None:
        """Return a function that resizes frames as a file is read, bit for bit as later; None if none are resized.

        A clip is then never in memory in its own size: 16 frames of 4K take 400 MB.
        """
        if not settings["do_resize"] or torch.device(settings.get("device") or "cpu").type != "cpu":
            return None
        names = ("size", "crop_size", "default_to_square")
        size = self._standardize_kwargs(**{name: settings[name] for name in names})["size"]

        def resized(frame: np.ndarray) -> np.ndarray:
            pixels = torch.from_numpy(frame).permute(2, 0, 1)[None]
            return self.resize(pixels, size=size, resample=settings["resample"])[0].permute(1, 2, 0).numpy()

        return resized

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
        """Resize, crop, scale and normalise: `(B, F, C, H, W)`, or a list of clips."""
        check_pixels(videos, kwargs)
        clips = [self.resize(video, size=size, resample=resample) if do_resize else video for video in videos]
        clips = [self.center_crop(clip, crop_size) if do_center_crop else clip for clip in clips]
        return {"pixel_values": self._scaled(clips, **kwargs)}

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
