# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Labelled clips: lists of videos with their classes, from a folder with one subfolder per class."""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv"}
)


@dataclass(frozen=True)
class ClipList:
    """Videos and their classes.

    Attributes:
        sources: one video each: a path, or a Hub row `{"path", "bytes"}`. May be read lazily.
        labels: class of each video, an index into `names`.
        names: class names.
        bad: `(len,)` bool, in memory that loading processes share: which videos could not be read so far.
    """

    sources: Sequence[Any]
    labels: list[int]
    names: list[str]
    bad: Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bad", torch.zeros(len(self.labels), dtype=torch.bool).share_memory_())

    def __len__(self) -> int:
        return len(self.labels)


def label_indices(labels: list[str], names: list[str] | None, where: str) -> tuple[list[int], list[str]]:
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
            f"{where}: expected the classes of the training set or model ({shorten(names)}), received unknown "
            f"{shorten(unknown)}: rename or remove them, or add them to the training set."
        )
    index = {name: position for position, name in enumerate(names)}
    return [index[label] for label in labels], list(names)


def shorten(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def find_videos(folder: str | Path) -> list[Path]:
    """Returns the video files anywhere below a folder, sorted; linked folders are entered, each folder once."""
    return sorted(walk_videos(folder))


def walk_videos(folder: str | Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """Returns the video files below a folder one by one, each folder's in alphabetical order, before its subfolders'.

    Args:
        folder: linked folders in it are entered; a folder that several ways lead to is entered by the first of them.
        on_error: called with the error of a folder that cannot be listed; such folders are left out.
    """
    seen = set()
    for where, folders, files in os.walk(folder, followlinks=True, onerror=on_error):
        status = os.stat(where)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        yield from (Path(where, file) for file in sorted(files) if Path(file).suffix.lower() in VIDEO_SUFFIXES)


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
    videos = find_videos(folder)
    if not videos:
        raise ValueError(
            f"{folder}: expected videos ({', '.join(sorted(VIDEO_SUFFIXES))}) in one subfolder per class, found none."
        )
    loose = [path for path in videos if path.parent == folder]
    if loose:
        raise ValueError(
            f"{folder}: expected one subfolder per class, found {loose[0].name} outside: move it into one."
        )
    labels, names = label_indices([path.relative_to(folder).parts[0] for path in videos], names, str(folder))
    return ClipList(videos, labels, names)


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
    first, second = (ClipList(_Part(clips.sources, p), [clips.labels[i] for i in p], clips.names) for p in parts)
    return first, second


class _Part(Sequence):
    """Some of the elements of a sequence, which are read only when they are asked for."""

    def __init__(self, whole: Sequence[Any], indices: list[int]) -> None:
        self.whole, self.indices = whole, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.whole[i] for i in self.indices[index]]
        return self.whole[self.indices[index]]
