# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""RLTVJEPA2VideoProcessor: RLTVideoProcessor with V-JEPA 2's sizes and sampling."""

from typing import Any

from transformers.image_utils import PILImageResampling
from transformers.processing_utils import Unpack

from .video_processing_rlt import RLTVideoProcessor, RLTVideoProcessorKwargs

RLTVJEPA2VideoProcessorKwargs = RLTVideoProcessorKwargs  # transformers looks for this name
SPAN = 64  # frames of a video that a clip covers


def stride_of(num_frames: int) -> int:
    """Return the distance of the frames of a clip that covers `SPAN` frames."""
    return max(SPAN // num_frames, 1)


class RLTVJEPA2VideoProcessor(RLTVideoProcessor):
    """`RLTVideoProcessor` that resizes frames to 256/224 of `crop_size`, and whose clips span 64 frames, unless told.

    Source: V-JEPA 2's evaluations take 16 frames at a stride of 4, or 32 at 2 (facebookresearch/vjepa2, commit c2963a4,
    configs/eval); its cards on the Hub 64 at 1.
    """

    num_frames = 64
    resample = PILImageResampling.BILINEAR
    crop_size = 256  # type: ignore[assignment]

    def __init__(self, **kwargs: Unpack[RLTVideoProcessorKwargs]) -> None:
        if kwargs.get("size") is None:
            crop = kwargs.get("crop_size") or self.crop_size
            side = crop if isinstance(crop, int) else crop["height"]
            kwargs["size"] = {"shortest_edge": int(side * 256 / 224)}
        kwargs.setdefault("frame_stride", stride_of(kwargs.get("num_frames") or self.num_frames))
        super().__init__(**kwargs)

    @classmethod
    def sizes(cls, height: int, width: int) -> dict[str, Any]:
        """Return the crop of a model's clips, which `size` follows."""
        return {"crop_size": {"height": height, "width": width}}

    @classmethod
    def from_dict(cls, video_processor_dict: dict[str, Any], **kwargs) -> Any:
        """Make a processor of a file's settings changed by `kwargs`.

        `size` follows a changed `crop_size`; a stride that was not chosen follows `num_frames`, so that the span is kept.
        """
        settings = dict(video_processor_dict)
        if kwargs.get("crop_size") is not None and kwargs.get("size") is None:
            settings.pop("size", None)
        if settings.get("frame_stride") == stride_of(settings.get("num_frames") or cls.num_frames):
            del settings["frame_stride"]
        return super().from_dict(settings, **kwargs)


__all__ = ["RLTVJEPA2VideoProcessor"]
