# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Turn the frames of a video (an array or tensor, or a list of these or of pictures) into one array, or refuse them."""

import io
import warnings
from collections.abc import Sequence
from numbers import Number
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers.image_utils import load_image

from .downloads import download, is_address
from .errors import HfRltError

LAYOUTS = "(F, H, W, C) or (F, C, H, W)"
TO_PASS = f"pass its path, its bytes or its frames, {LAYOUTS}"
_DEEP_MODES = ("I", "F")  # PIL's modes of more than 8 bits, which its conversion to RGB clips


def is_array(video: Any) -> bool:
    """Return whether this is an array or a tensor."""
    return isinstance(video, np.ndarray) or (isinstance(video, Tensor) and not video.is_nested)


def is_frame(video: Any) -> bool:
    """Return whether this is a picture, or an array of the shape of one."""
    return isinstance(video, Image.Image) or (is_array(video) and video.ndim in (2, 3))


def _is_real(frames: Any) -> bool:
    """Return whether an array or tensor is dense and of real numbers, so that torch can resize it."""
    if isinstance(frames, np.ndarray):
        return frames.dtype.kind in "buif" and frames.dtype.itemsize <= 8
    return frames.layout == torch.strided and not frames.is_quantized and not frames.dtype.is_complex


def frames_of(video: Any, layout: str | None, rgb: bool | None, alone: bool = False) -> Any:
    """Return the frames of a video as a four-dimensional array or tensor that torch accepts, or raise HfRltError.

    Args:
        video: an array, a tensor, or a list of frames or of image files.
        layout: see `as_videos`.
        rgb: see `as_videos`.
        alone: accept a single frame as a video, because nothing else was given.
    """
    frames, pictures = video, [video] if alone and is_frame(video) else video
    if isinstance(pictures, (list, tuple)) and pictures and not isinstance(pictures[0], Number):
        frames = _stacked([_picture(frame, place, rgb) for place, frame in enumerate(pictures, start=1)])
    if not is_array(frames):
        raise _refusal("a video", video, _to_do(video))
    if not _is_real(frames):
        raise _refusal("dense frames of real numbers", video, _to_do(video))
    if frames.ndim == 4 and 0 in frames.shape:
        raise _refusal("at least one frame with pixels", video, "leave it out")
    axes = (1, 3) if layout is None else (1,) if layout == "channels_first" else (3,)
    # Given the layout, transformers accepts four channels, the last of which is transparency.
    if frames.ndim != 4 or not {1, 3, 4 if layout else 1} & {frames.shape[axis] for axis in axes}:
        raise _refusal(f"frames {layout or LAYOUTS} of 1 or 3 channels", video, _channels_to_do(frames, alone))
    return _plain(frames)


def _channels_to_do(frames: Any, alone: bool) -> str:
    if frames.ndim not in (3, 4):
        return "reshape them"
    if frames.ndim == 4 and min(frames.shape[1], frames.shape[3]) < 6:
        return "convert them to RGB"
    if frames.ndim == 3 and not alone and {1, 3} & {frames.shape[0], frames.shape[2]}:
        return "give one frame an axis of time, frame[None]"
    return "give grey frames a last axis of channels, frames[..., None]"


def _plain(frames: Any) -> Any:
    """Return an array that torch takes without a warning: native byte order, contiguous, writable."""
    if isinstance(frames, Tensor):
        return frames
    return np.require(np.asarray(frames), frames.dtype.newbyteorder("="), ["C", "W"])


def _picture(frame: Any, place: int, rgb: bool | None) -> Any:
    """Return a frame, or the picture in a file, as an array or tensor. Drops transparency, as is done for videos."""
    if is_array(frame):
        if not _is_real(frame):
            raise _refusal("dense frames of real numbers", frame, _to_do(frame), f" as frame {place}")
        return _plain(frame)
    if isinstance(frame, Image.Image) and frame.mode.partition(";")[0] in _DEEP_MODES:
        raise _refusal("pictures of 8 bits", frame, "scale it to 0..255 and convert it to RGB", f" as frame {place}")
    try:
        if is_address(frame):
            with download(frame) as file:
                return np.array(load_image(Image.open(file)))
        if isinstance(frame, str):
            return np.array(load_image(frame))
        return np.array(frame.convert("RGB") if rgb else frame)
    except Exception as error:  # on damaged pictures PIL raises errors of any type
        found = f" as frame {place} ({' '.join(str(error).split())})"
        raise _refusal("pictures that can be read", frame, "leave it out or convert it to RGB", found) from error


def _stacked(frames: list[Any]) -> Any:
    """Stack frames of one size into an array, or into a tensor if any of them is one."""
    for place, frame in enumerate(frames, start=1):
        if frame.shape != frames[0].shape:
            after = f" as frame {place} after {tuple(frames[0].shape)}"
            raise _refusal("frames of one size", frame, "resize them", after)
    if not any(isinstance(frame, Tensor) for frame in frames):
        return np.stack(frames)
    tensors = [torch.as_tensor(frame) for frame in frames]
    for place, frame in enumerate(tensors, start=1):
        if frame.device != tensors[0].device:
            after = f" as frame {place} after one on {tensors[0].device}"
            raise _refusal("frames on one device", frame, "move them to one", after)
    return torch.stack(tensors)


def _refusal(expected: str, received: Any, to_do: str, where: str = "") -> HfRltError:
    return HfRltError(f"Expected {expected}, received {described(received)}{where}: {to_do}.")


def _to_do(video: Any) -> str:
    if isinstance(video, dict) and video:
        return "give it a path or bytes" if {"path", "bytes"} & set(video) else "pass the video in it"
    if is_array(video):
        text = isinstance(video, np.ndarray) and video.ndim < 2 and video.dtype.kind in "US"
        return "make it a list" if text else "convert it, such as to uint8"
    if isinstance(video, io.TextIOBase):
        return 'open the file with mode "rb"'
    if isinstance(video, (list, tuple)):
        return "make it an array, np.asarray(video)" if video else "leave it out"
    if isinstance(video, Image.Image):
        return "pass the frames of each video as a list of their own"
    if isinstance(video, (set, frozenset)) or hasattr(video, "__next__") or hasattr(video, "tolist"):
        return "make it a list"
    return TO_PASS


def described(video: Any) -> str:
    """Describe what was received in a few words on one line."""
    if isinstance(video, Tensor) and video.is_nested:
        return "a nested tensor"
    if is_array(video):
        device = "" if isinstance(video, np.ndarray) or video.device.type == "cpu" else f" on {video.device}"
        kind = "an array" if isinstance(video, np.ndarray) else "a tensor"
        return f"{kind} of shape {tuple(video.shape)} and type {video.dtype}{device}"
    if isinstance(video, Image.Image):
        return f"a PIL image of mode {video.mode}, {video.width} x {video.height}"
    if isinstance(video, (list, tuple, dict, str)) and not video:
        return f"an empty {type(video).__name__}"
    if isinstance(video, dict):
        return f"a dict of {', '.join(map(str, video))[:80]!r}"
    if isinstance(video, (list, tuple)):
        return f"a {type(video).__name__} of {len(video)} that begins with {described(video[0])}"
    if isinstance(video, str):
        return f"the str {video[:80]!r}"
    if video is None or isinstance(video, Number):
        return repr(video)[:80]
    return f"an object of type {type(video).__module__}.{type(video).__qualname__}"


def numbered(place: int, number: int) -> str:
    """Return the prefix of a message that says which of several videos it is about; "" if there is only one."""
    return f"Video {place + 1} of {number}: " if number > 1 else ""


def check_channels(videos: Sequence[Tensor], means: Any) -> None:
    """Raise HfRltError unless the frames `(F, C, H, W)` have as many channels as there are means."""
    number = len(means) if isinstance(means, (list, tuple)) else 1
    for place, video in enumerate(videos):
        if number not in (1, video.shape[1]):
            raise HfRltError(
                f"{numbered(place, len(videos))}Expected frames of {number} channels, as image_mean has, received "
                f"{video.shape[1]}: leave do_convert_rgb on, or set image_mean and image_std."
            )


def check_pixels(videos: Sequence[Tensor], do_rescale: bool, rescale_factor: float) -> None:
    """Raise HfRltError if a float is NaN or infinite; warn if floats already in 0..1 are about to be rescaled."""
    for place, video in enumerate(videos):
        if not video.is_floating_point() or video.is_meta:
            continue
        video = video.detach()
        low, high = (float(end) for end in torch.aminmax(video if video.itemsize > 2 else video.float()))
        if not np.isfinite([low, high]).all():
            name = numbered(place, len(videos))
            raise HfRltError(f"{name}Expected finite pixels, received NaN or infinity: mend the frames.")
        if do_rescale and rescale_factor < 1 and low >= 0 and 0 < high <= 1:
            warnings.warn(
                "Received frames of floats between 0 and 1, which do_rescale divides by 255 once more: they become nearly "
                "black, and RLT drops nearly all tokens. Pass do_rescale=False or multiply them by 255.",
                stacklevel=2,
            )
