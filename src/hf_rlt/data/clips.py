# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Labelled clips: lists of videos from a folder, a CSV file or the Hub, and the data set that a `Trainer` reads."""

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})


class UnreadableClipError(ValueError):
    """A video of a data set that cannot be read. The message names it."""


@dataclass(frozen=True)
class ClipList:
    """Videos and their classes.

    Attributes:
        sources: one video each: a path, or a Hub row `{"path", "bytes"}`. May be read lazily.
        labels: class of each video, an index into `names`.
        names: class names.
    """

    sources: Sequence[Any]
    labels: list[int]
    names: list[str]

    def __len__(self) -> int:
        return len(self.labels)


def _indices(labels: list[str], names: list[str] | None, where: str) -> tuple[list[int], list[str]]:
    """Returns each label's index and the class names; `names` of the training set bind the validation set."""
    if names is None:
        names = sorted(set(labels))
        if len(names) < 2:
            raise ValueError(
                f"{where}: expected at least two classes, found only {names}: add videos of another class."
            )
    unknown = sorted(set(labels) - set(names))
    if unknown:
        raise ValueError(
            f"{where}: expected the classes of the training set or model ({_shorten(names)}), received unknown "
            f"{_shorten(unknown)}: rename or remove them, or add them to the training set."
        )
    index = {name: position for position, name in enumerate(names)}
    return [index[label] for label in labels], list(names)


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def from_folder(folder: str | Path, names: list[str] | None = None) -> ClipList:
    """Returns the clips of `folder/CLASS/**/*.mp4` (or another video suffix), classes in alphabetical order.

    Args:
        folder: one subfolder per class.
        names: class names to use instead, those of the training set.

    Raises:
        ValueError: if there is no such folder, no video, fewer than two classes, or a class that `names` lacks.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder with one subfolder of videos per class, found no such folder.")
    videos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    if not videos:
        raise ValueError(
            f"{folder}: expected videos ({', '.join(sorted(VIDEO_SUFFIXES))}) in one subfolder per class, found none."
        )
    loose = [path for path in videos if path.parent == folder]
    if loose:
        raise ValueError(
            f"{folder}: expected one subfolder per class, found {loose[0].name} outside: move it into one."
        )
    labels, names = _indices([path.relative_to(folder).parts[0] for path in videos], names, str(folder))
    return ClipList(videos, labels, names)


def from_csv(path: str | Path, names: list[str] | None = None) -> ClipList:
    """Returns the clips of a CSV file with the header `path,label`; paths are relative to the file.

    Args:
        path: the CSV file. Further columns are ignored.
        names: class names to use, those of the training set.

    Raises:
        ValueError: if the file, a column, a label or a video is missing, or a label is not in `names`.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: expected a CSV file with the header 'path,label', found no such file.")
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        columns = reader.fieldnames or []
        rows = list(reader)
    missing = [column for column in ("path", "label") if column not in columns]
    if missing:
        raise ValueError(
            f"{path}: expected the columns 'path' and 'label', found {_shorten(columns) or 'an empty file'}: "
            "make 'path,label' the first line."
        )
    if not rows:
        raise ValueError(f"{path}: expected a line per video below the header, found none.")
    for line, row in enumerate(rows, start=2):
        if not row["path"] or not row["label"]:
            raise ValueError(f"{path}, line {line}: expected a path and a label, received {row}: fill both in.")
    sources = [path.parent / row["path"] for row in rows]
    for line, source in enumerate(sources, start=2):
        if not source.is_file():
            raise ValueError(f"{path}, line {line}: expected a video at {source}, found none: correct the path.")
    labels, names = _indices([row["label"] for row in rows], names, str(path))
    return ClipList(sources, labels, names)


def from_hub(dataset_name: str, split: str, config_name: str | None = None, names: list[str] | None = None) -> ClipList:
    """Returns the clips of one split of a Hub data set (or a local folder that `datasets` can read).

    Args:
        dataset_name: Hub id or folder, with a `Video` column and a `label` column (text or `ClassLabel`).
        split: name of the split.
        config_name: name of the data set's configuration, if it has several.
        names: class names to use, those of the training set.

    Raises:
        ValueError: if the data set cannot be loaded, or lacks the split or one of the columns.
    """
    try:
        import datasets
    except ImportError as error:
        raise ValueError("A Hub data set needs the datasets library: `pip install hf_rlt[train]`.") from error
    try:
        loaded = datasets.load_dataset(dataset_name, config_name)
    except Exception as error:  # many kinds: network, permissions, layout; the user needs one line
        raise ValueError(f"{dataset_name}: could not be loaded as a data set ({error}).") from error
    if split not in loaded:
        raise ValueError(f"{dataset_name}: expected a split {split!r}, found {_shorten(list(loaded))}: choose one.")
    rows = loaded[split]
    videos = [name for name, feature in rows.features.items() if isinstance(feature, datasets.Video)]
    if len(videos) != 1 or "label" not in rows.features:
        raise ValueError(
            f"{dataset_name}: expected one Video column and a 'label' column, found {dict(rows.features)}: rename or cast."
        )
    feature, values = rows.features["label"], list(rows["label"])
    if any(value is None for value in values):
        raise ValueError(f"{dataset_name}, split {split!r}: expected a label in every row, found rows without one.")
    is_class = isinstance(feature, datasets.ClassLabel)
    if is_class and names is None:
        return ClipList(_videos(rows, videos[0]), values, list(feature.names))
    labels, names = _indices([feature.int2str(v) if is_class else str(v) for v in values], names, dataset_name)
    return ClipList(_videos(rows, videos[0]), labels, names)


def _videos(rows: Any, column: str) -> Sequence[Any]:
    import datasets

    # decode=False: the column's own decoder needs torchcodec, ours reads the file or bytes with PyAV.
    return rows.cast_column(column, datasets.Video(decode=False))[column]


def split_clips(clips: ClipList, fraction: float, seed: int = 0) -> tuple[ClipList, ClipList]:
    """Returns (training clips, held-out clips), the latter a random `fraction`, at least one; the same for a seed.

    Raises:
        ValueError: if the fraction is not between 0 and 1, or there are fewer than two clips.
    """
    if not 0 < fraction < 1 or len(clips) < 2:
        raise ValueError(f"Expected 0 < fraction < 1 and two clips, received {fraction} and {len(clips)} clips.")
    order = list(range(len(clips)))
    random.Random(seed).shuffle(order)
    held = min(max(round(len(order) * fraction), 1), len(order) - 1)
    parts = sorted(order[held:]), sorted(order[:held])
    first, second = (
        ClipList([clips.sources[i] for i in part], [clips.labels[i] for i in part], clips.names) for part in parts
    )
    return first, second


class ClipDataset(Dataset):
    """Map-style data set: clip i as `pixel_values` (F, C, H, W), `run_lengths` (N,) and `labels`.

    Decoding, resizing and finding runs happen where the item is asked for: in the workers of a `DataLoader`.

    Args:
        clips: what to read.
        processor: an `RLTVideoProcessor`; its settings choose the frames.
        cache_bytes: how many bytes of decoded frames each process keeps, so that small sets are decoded once.
    """

    def __init__(self, clips: ClipList, processor: Any, cache_bytes: int = 0) -> None:
        self.clips = clips
        self.processor = processor
        self.cache_left = cache_bytes
        self.cache: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.clips)

    def _frames(self, index: int) -> np.ndarray:
        if index in self.cache:
            return self.cache[index]
        source = self.clips.sources[index]
        if isinstance(source, dict):
            source = source["bytes"] if source.get("bytes") is not None else source["path"]
        try:
            frames, _ = self.processor.fetch_videos(source if isinstance(source, bytes) else str(source))
        except (ValueError, OSError) as error:
            raise UnreadableClipError(f"Clip {index} of the data set cannot be read: {error}") from error
        if frames.nbytes <= self.cache_left:
            self.cache_left -= frames.nbytes
            self.cache[index] = frames
        return frames

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns one clip.

        Raises:
            UnreadableClipError: naming the file, if it cannot be read.
        """
        batch = self.processor(self._frames(index), input_data_format="channels_last", return_tensors="pt")
        return {
            "pixel_values": batch["pixel_values"][0],
            "run_lengths": batch["run_lengths"][0],
            "labels": torch.tensor(self.clips.labels[index]),
        }
