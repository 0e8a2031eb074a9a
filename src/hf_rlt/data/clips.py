# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Data sets of clips that a `DataLoader` reads: for training (augmented, seeded) and for evaluation (views)."""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from ..runs import find_runs, keep_random
from ..sampling import view_crops, view_positions
from ..video_processing_rlt import DEFAULT_NUM_FRAMES
from .hub import ClipStream
from .lists import ClipList

IGNORED = -100  # the label of a clip that could not be read; losses and metrics leave it out
ON_BAD_VIDEO = ("raise", "skip")

logger = logging.getLogger(__name__)


class UnreadableClipError(ValueError):
    """A video of a data set that cannot be read. The message names it."""


def one_line(error: BaseException) -> str:
    """Returns an error as one line; of one from a loading process, which carries a traceback, what it says itself."""
    text = str(error).strip()
    if " in DataLoader worker process " in text:
        text = text.splitlines()[-1].split("Error: ", 1)[-1]
    return " ".join(text.split())


def clip_seed(seed: int, epoch: int, index: int, repeat: int = 0) -> int:
    """Returns the seed of everything random about a clip: a function of its place, not of the process that reads it."""
    return int(np.random.SeedSequence([seed, epoch, index, repeat]).generate_state(1)[0])


def read_clips(processor: Any, source: Any, positions: Sequence[Any]) -> np.ndarray:
    """Returns `(len(positions), F, H, W, 3)` uint8 frames of a path or a Hub row `{"path", "bytes"}`."""
    if isinstance(source, dict):
        source = source["bytes"] if source.get("bytes") is not None else _fetched(source["path"])
    return processor.read_clips(source if isinstance(source, bytes) else str(source), positions)


def _fetched(path: str) -> str | bytes:
    """Returns the bytes of a file that lies on the Hub or in an archive, as rows of a stream name it; else the path."""
    if "://" not in path or path.startswith(("http://", "https://")):
        return path
    import fsspec

    try:
        with fsspec.open(path, "rb") as file:
            return file.read()
    except Exception as error:  # each file system has its own kinds
        raise OSError(f"{path}: could not be fetched ({error}).") from error


def blank_clip(processor: Any) -> Tensor:
    """Returns `(F, C, H, W)` zeros, what stands for a video that cannot be read: one token for each place."""
    crop = processor.crop_size
    return torch.zeros(processor.num_frames or DEFAULT_NUM_FRAMES, 3, crop["height"], crop["width"])


class _ClipsOfList(Dataset):
    """Reads the clips of a `ClipList`; remembers, across loading processes, which cannot be read."""

    def __init__(self, clips: ClipList, processor: Any, cache_bytes: int = 0, on_bad_video: str = "raise") -> None:
        if on_bad_video not in ON_BAD_VIDEO:
            raise ValueError(f"Expected on_bad_video to be one of {ON_BAD_VIDEO}, received {on_bad_video!r}.")
        self.clips = clips
        self.processor = processor
        self.on_bad_video = on_bad_video
        self._cache_left = cache_bytes
        self._cache: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.clips)

    def name(self, index: int) -> str:
        """Returns what a person calls the video: its path, or its place in the list."""
        source = self.clips.sources[index]
        name = source.get("path") if isinstance(source, dict) else source
        return str(name or f"clip {index} of the data set")

    def unreadable(self) -> list[str]:
        """Returns the names of the videos of the list that could not be read so far, by any loading process."""
        return [self.name(int(index)) for index in self.clips.bad.nonzero()]

    def read(self, index: int, positions: Sequence[Any], keep: bool) -> np.ndarray | None:
        """Returns `(len(positions), F, H, W, 3)` frames; None, reported once, for a bad video that is to be skipped."""
        if index in self._cache:
            return self._cache[index]
        try:
            frames = read_clips(self.processor, self.clips.sources[index], positions)
        except (ValueError, OSError) as error:
            if self.on_bad_video == "raise":
                raise UnreadableClipError(
                    f"Clip {index} of the data set cannot be read: {one_line(error)} To go on without it: "
                    "--on_bad_video skip."
                ) from error
            if not self.clips.bad[index]:
                logger.warning(f"Skipped, it cannot be read: {self.name(index)} ({one_line(error)})")
            self.clips.bad[index] = True
            return None
        if keep and frames.nbytes <= self._cache_left:
            self._cache_left -= frames.nbytes
            self._cache[index] = frames
        return frames


class ClipDataset(_ClipsOfList):
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
        clips: ClipList,
        processor: Any,
        augmentation: Callable[[np.ndarray], Tensor] | None = None,
        random_clips: bool = False,
        repeats: int = 1,
        seed: int = 0,
        on_bad_video: str = "raise",
        cache_bytes: int = 0,
    ) -> None:
        super().__init__(clips, processor, cache_bytes, on_bad_video)
        if repeats < 1:
            raise ValueError(f"Expected repeats >= 1, received {repeats}.")
        self.maker = _ItemMaker(processor, augmentation, random_clips, repeats, seed)

    def set_epoch(self, epoch: int) -> None:
        """Returns nothing; from now on, also in running loading processes, clips are augmented as in this epoch."""
        self.maker.epoch.fill_(epoch)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        seeds = self.maker.seeds(index, int(self.maker.epoch))
        frames = self.read(index, [self.maker.position(seeds[0])], keep=not self.maker.random_clips)
        return self.maker.item(None if frames is None else frames[0], self.clips.labels[index], seeds)


class StreamedClips(IterableDataset):
    """Endless iterable training set over a `ClipStream`; its items are those of `ClipDataset`.

    One pass follows the other, each in an order of its own, so that a place in the stream is a number of items: what a
    resumed training skips. Arguments are those of `ClipDataset`.

    Attributes:
        bad_count: videos that could not be read so far, in all loading processes; each was reported once.
    """

    def __init__(
        self,
        clips: ClipStream,
        processor: Any,
        augmentation: Callable[[np.ndarray], Tensor] | None = None,
        random_clips: bool = False,
        repeats: int = 1,
        seed: int = 0,
        on_bad_video: str = "raise",
    ) -> None:
        self.clips, self.on_bad_video = clips, on_bad_video
        self.maker = _ItemMaker(processor, augmentation, random_clips, repeats, seed)
        self.bad_count = torch.zeros((), dtype=torch.int64).share_memory_()

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = torch.utils.data.get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        reported: set[str] = set()
        for epoch in count():
            index = first
            for source, label in self.clips.read(epoch):
                seeds = self.maker.seeds(index, epoch)
                yield self.maker.item(self._frames(source, seeds[0], reported), label, seeds)
                index += step
            if index == first:
                return  # more loading processes than files: nothing for this one

    def _frames(self, source: Any, seed: int, reported: set[str]) -> np.ndarray | None:
        try:
            return read_clips(self.maker.processor, source, [self.maker.position(seed)])[0]
        except (ValueError, OSError) as error:
            name = str(source.get("path") if isinstance(source, dict) else source)
            if self.on_bad_video == "raise":
                raise UnreadableClipError(
                    f"{name} of the data set cannot be read: {one_line(error)} To go on without it: --on_bad_video skip."
                ) from error
            if name not in reported:
                reported.add(name)
                self.bad_count += 1
                logger.warning(f"Skipped, it cannot be read: {name} ({one_line(error)})")
            return None


class _ItemMaker:
    """From the frames of one video to a training item."""

    def __init__(self, processor: Any, augmentation: Any, random_clips: bool, repeats: int, seed: int) -> None:
        self.processor, self.augmentation = processor, augmentation
        self.random_clips, self.repeats, self.seed = random_clips, repeats, seed
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

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
            clips = list(_normalised(self.processor, [frames] * len(seeds)))
        else:
            clips = [self._augmented(frames, seed) for seed in seeds]
        labels = torch.full((len(seeds),), label)
        return {"pixel_values": torch.stack(clips), "labels": labels, "seeds": torch.tensor(seeds)}

    def _augmented(self, frames: np.ndarray, seed: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.augmentation(frames)


class ViewDataset(_ClipsOfList):
    """Map-style evaluation set: item i is `pixel_values` and `run_lengths` of all views of clip i, and `labels`.

    Shapes are (V, F, C, H, W) and (V, N), without the V for a single view: the model averages over views, so a clip is
    counted once whatever their number. Views are `num_clips` temporal clips x `num_crops` crops. A video that is skipped
    is a blank clip with label -100.

    Args:
        clips, processor, on_bad_video, cache_bytes: as for `ClipDataset`.
        num_clips: temporal clips per video.
        num_crops: crops along the longer side; 1 is the processor's own.
        token_keep_ratio: share of the computed tokens that each view keeps, drawn at random, the same in each pass.
    """

    def __init__(
        self,
        clips: ClipList,
        processor: Any,
        num_clips: int = 1,
        num_crops: int = 1,
        on_bad_video: str = "raise",
        cache_bytes: int = 0,
        token_keep_ratio: float | None = None,
    ) -> None:
        super().__init__(clips, processor, cache_bytes, on_bad_video)
        self.token_keep_ratio = token_keep_ratio
        self.positions = view_positions(num_clips, processor.sampling)
        self.num_crops = num_crops
        if num_crops < 1:
            raise ValueError(f"Expected num_crops >= 1, received {num_crops}.")
        if num_crops > 1 and processor.size == processor.crop_size:
            logger.warning(
                f"{num_crops} crops of frames resized to {dict(processor.size)} are all the same: one is enough."
            )

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        frames = self.read(index, self.positions, keep=True)
        if frames is None:
            views, label = torch.stack([blank_clip(self.processor)] * self.num_views), IGNORED
        else:
            views, label = self._views(frames), self.clips.labels[index]
        settings = self.processor
        lengths = find_runs(views, settings.threshold, settings.tubelet_size, settings.patch_size)
        if self.token_keep_ratio is not None:
            seeds = [clip_seed(0, 0, index, view) for view in range(self.num_views)]
            lengths = keep_random(lengths, self.token_keep_ratio, [torch.Generator().manual_seed(s) for s in seeds])
        if self.num_views == 1:
            views, lengths = views[0], lengths[0]
        return {"pixel_values": views, "run_lengths": lengths, "labels": torch.tensor(label)}

    @property
    def num_views(self) -> int:
        return len(self.positions) * self.num_crops

    def _views(self, frames: np.ndarray) -> Tensor:
        if self.num_crops == 1:
            return _normalised(self.processor, list(frames))
        clips = _normalised(self.processor, list(frames), do_center_crop=False)
        height, width = self.processor.crop_size["height"], self.processor.crop_size["width"]
        corners = view_crops(clips.shape[-2], clips.shape[-1], height, width, self.num_crops)
        crops = [clips[..., top : top + height, left : left + width] for top, left in corners]
        return torch.stack(crops, dim=1).flatten(0, 1)


def _normalised(processor: Any, clips: list[np.ndarray], **changes: Any) -> Tensor:
    """Returns `(len(clips), F, C, H, W)`: what the processor makes of the frames."""
    changes["do_sample_frames"] = False  # they have been sampled
    return processor(clips, input_data_format="channels_last", return_tensors="pt", **changes)["pixel_values"]
