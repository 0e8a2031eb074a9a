# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Reading the clips of a list, and the data set of training: augmented, seeded."""

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from av.error import FFmpegError
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import HfRltError, one_line
from ..models.downloads import MAX_BYTES, is_address
from ..models.video_processing_rlt import DEFAULT_NUM_FRAMES
from .video_list import VideoList

IGNORED = -100  # the label of a clip that could not be read; losses and metrics leave it out
ON_BAD_VIDEO = ("raise", "skip")

Item = TypeVar("Item")
logger = logging.getLogger(__name__)


class UnreadableClipError(HfRltError):
    """A video of a data set that cannot be read. The message names it."""


def clip_seed(seed: int, epoch: int, index: int, repeat: int = 0) -> int:
    """Return the seed of a clip's random choices, which depends on its place, not on the process that reads it."""
    return int(np.random.SeedSequence([seed, epoch, index, repeat]).generate_state(1)[0])


def read_clips(processor: Any, source: Any, positions: Sequence[Any], resized: bool = False) -> np.ndarray:
    """Return `(len(positions), F, H, W, 3)` uint8 frames of a path or a Hub row, see `RLTVideoProcessor.decode`."""
    if isinstance(source, dict) and source.get("bytes") is None and isinstance(source.get("path"), str):
        source = _fetched(source["path"])
    return processor.decode(source, positions, resized)


def make_or_skip(make: Callable[[], Item], on_bad_video: str, what: str, name: str, known: bool) -> Item | None:
    """Return the result of `make`; or, if a bad video is to be skipped, report it unless it is known and return None.

    A video is bad if reading it or making an item of it raises ValueError, OSError or an FFmpeg error. Any other error
    is a bug, or the machine's fault, and is not caught.

    Raises:
        UnreadableClipError: for a bad video that is not to be skipped; `what` says which of the data set.
    """
    try:
        return make()
    except (ValueError, OSError, FFmpegError) as error:
        if on_bad_video == "raise":
            raise UnreadableClipError(
                f"{what} of the data set cannot be read: {one_line(error)} To go on without it: --on-bad-video skip."
            ) from error
        if not known:
            logger.warning(f"Skipped, it cannot be read: {name} ({one_line(error)})")
        return None


def check_on_bad_video(on_bad_video: str) -> None:
    """Raise ValueError unless `on_bad_video` is "raise" or "skip"."""
    if on_bad_video not in ON_BAD_VIDEO:
        raise HfRltError(f"Expected on_bad_video to be one of {ON_BAD_VIDEO}, received {on_bad_video!r}.")


def source_name(source: Any, otherwise: str) -> str:
    """Return a readable name for a video: its path, if it has one, or `otherwise`."""
    path = source.get("path") if isinstance(source, dict) else source
    return str(path) if path and isinstance(path, (str, os.PathLike)) else otherwise


def _fetched(path: str) -> str | bytes:
    """Return the bytes of a file on the Hub or in an archive, as named by rows of a stream; else return the path."""
    if "://" not in path or is_address(path):
        return path
    import fsspec

    try:
        with fsspec.open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except Exception as error:  # each file system has its own kinds
        raise OSError(f"{path}: could not be fetched ({error}).") from error
    if len(content) > MAX_BYTES:
        raise OSError(f"{path}: larger than {MAX_BYTES >> 20} MiB, download it yourself and pass the file.")
    return content


def blank_clip(processor: Any) -> Tensor:
    """Return `(F, C, H, W)` zeros, which stand in for an unreadable video: one token for each patch position."""
    crop = processor.crop_size
    return torch.zeros(processor.num_frames or DEFAULT_NUM_FRAMES, 3, crop["height"], crop["width"])


class ReadClips(Dataset):
    """Reads the clips of a `VideoList`; remembers, across loading processes, which cannot be read."""

    resized = False  # whether frames are kept as the processor resizes them

    def __init__(self, clips: VideoList, processor: Any, cache_bytes: int = 0, on_bad_video: str = "raise") -> None:
        check_on_bad_video(on_bad_video)
        self.clips = clips
        self.processor = processor
        self.on_bad_video = on_bad_video
        self._cache_left = cache_bytes
        self._cache: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.clips)

    def name(self, index: int) -> str:
        """Return a readable name for the video: its path, or its place in the list."""
        return source_name(self.clips.sources[index], f"clip {index} of the data set")

    def unreadable(self) -> list[str]:
        """Return the names of the videos that any loading process has failed to read so far."""
        return [self.name(int(index)) for index in self.clips.bad.nonzero()]

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        known = bool(self.clips.bad[index])
        item = make_or_skip(lambda: self.make(index), self.on_bad_video, f"Clip {index}", self.name(index), known)
        if item is not None:
            return item
        self.clips.bad[index] = True
        return self.blank(index)

    def make(self, index: int) -> dict[str, Tensor]:
        """Return the item of a video that can be read."""
        raise NotImplementedError

    def blank(self, index: int) -> dict[str, Tensor]:
        """Return the item that stands in for a skipped video."""
        raise NotImplementedError

    def read(self, index: int, positions: Sequence[Any], keep: bool) -> np.ndarray:
        """Return `(len(positions), F, H, W, 3)` frames, from the cache if they are there."""
        if index in self._cache:
            return self._cache[index]
        frames = read_clips(self.processor, self.clips.sources[index], positions, self.resized)
        if keep and frames.nbytes <= self._cache_left:
            self._cache_left -= frames.nbytes
            self._cache[index] = frames
        return frames


class ItemMaker:
    """From the frames of one video to a training item."""

    def __init__(self, processor: Any, augmentation: Any, random_clips: bool, repeats: int, seed: int) -> None:
        self.processor, self.augmentation = processor, augmentation
        if repeats < 1:
            raise HfRltError(f"Expected repeats >= 1, received {repeats}.")
        self.random_clips, self.repeats, self.seed = random_clips, repeats, seed

    def seeds(self, index: int, epoch: int) -> list[int]:
        return [clip_seed(self.seed, epoch, index, repeat) for repeat in range(self.repeats)]

    def position(self, seed: int) -> float | np.ndarray:
        if not self.random_clips:
            return 0.5
        rng = np.random.default_rng(seed)
        return (
            rng.random(self.processor.num_frames or DEFAULT_NUM_FRAMES)
            if self.processor.sampling == "uniform"
            else rng.random()
        )

    def item(self, frames: np.ndarray | None, label: int, seeds: list[int]) -> dict[str, Tensor]:
        if frames is None:
            clips, label = [blank_clip(self.processor)] * len(seeds), IGNORED
        elif self.augmentation is None:
            clips = list(self.processor.pixels([frames] * len(seeds)))
        else:
            clips = [self._augmented(frames, seed) for seed in seeds]
        labels = torch.full((len(seeds),), label)
        return {"pixel_values": torch.stack(clips), "labels": labels, "seeds": torch.tensor(seeds)}

    def _augmented(self, frames: np.ndarray, seed: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.augmentation(frames)


class TrainDataset(ReadClips):
    """Map-style training set: item i is `pixel_values` (R, F, C, H, W), `labels` (R,) and `seeds` (R,).

    R is `repeats`: the video is decoded once and augmented R times. `ClipCollator` makes a batch of items and finds the
    runs. Everything random depends on the seed, the epoch and the clip's index only, so that neither the number of
    processes nor an interruption changes it. A video that is skipped is a blank clip with label -100.

    Args:
        clips: what to read.
        processor: an `RLTVideoProcessor`; its settings choose the frames.
        augmentation: from `(F, H, W, 3)` uint8 frames to `(F, C, H, W)` float pixels; the processor's resizing, cropping
            and normalising if not given.
        random_clips: whether the clip lies anywhere in the video rather than in its middle (with `sampling="uniform"`:
            each frame anywhere in its segment).
        repeats: repeated augmentation.
        seed: of everything random.
        on_bad_video: "raise" an `UnreadableClipError`, or "skip" and report by name, once.
        cache_bytes: how many bytes of decoded frames each process keeps, so that small sets are decoded once; without
            `random_clips` only.
    """

    def __init__(
        self,
        clips: VideoList,
        processor: Any,
        augmentation: Callable[[np.ndarray], Tensor] | None = None,
        random_clips: bool = False,
        repeats: int = 1,
        seed: int = 0,
        on_bad_video: str = "raise",
        cache_bytes: int = 0,
    ) -> None:
        super().__init__(clips, processor, cache_bytes, on_bad_video)
        self.maker = ItemMaker(processor, augmentation, random_clips, repeats, seed)
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that seeds the augmentation of clips, also in running loading processes."""
        self.epoch.fill_(epoch)

    def make(self, index: int) -> dict[str, Tensor]:
        seeds = self.maker.seeds(index, int(self.epoch))
        frames = self.read(index, [self.maker.position(seeds[0])], keep=not self.maker.random_clips)
        return self.maker.item(frames[0], self.clips.labels[index], seeds)

    def blank(self, index: int) -> dict[str, Tensor]:
        return self.maker.item(None, IGNORED, self.maker.seeds(index, int(self.epoch)))
