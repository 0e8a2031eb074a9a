# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""List videos with their classes, from a folder with one subfolder per class."""

import logging
import os
import random
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import HfRltError
from .file_names import COMPANION_SUFFIXES, VIDEO_SUFFIXES, is_left_behind
from .text_files import is_text

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoList:
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
    """Return the index of each label, and the class names: `names` of the training set or model, if given.

    A label counts as one of `names` if it differs only invisibly (in white space, invisible characters, composed or
    decomposed accents).

    Raises:
        ValueError: if a label is empty, not UTF-8 or unknown, two classes look the same, or there are fewer than two.
    """
    odd = sorted(label for label in set(labels) if not is_text(label) or not _look(label))
    if odd:
        raise HfRltError(f"{where}: expected classes with names in UTF-8, received {shorten(odd)}: rename them.")
    if names is None:
        names = sorted(set(labels))
        if len(names) < 2:
            raise HfRltError(
                f"{where}: expected at least two classes, found only {names}: add videos of another class."
            )
        _refuse_twins(names, where)
    index = {_look(name): position for position, name in enumerate(names)}
    index |= {name: position for position, name in enumerate(names)}
    found = {label: index.get(label, index.get(_look(label))) for label in set(labels)}
    unknown = sorted(label for label, position in found.items() if position is None)
    if unknown:
        raise HfRltError(
            f"{where}: expected the classes of the training set or model ({shorten(names)}), received unknown "
            f"{shorten(unknown)}: rename or remove them, or add them to the training set."
        )
    return [position for position in map(found.get, labels) if position is not None], list(names)


def _refuse_twins(names: Sequence[str], where: str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(_look(name), name)
        if other != name:
            raise HfRltError(
                f"{where}: expected classes that can be told apart, received {other!a} and {name!a}, which differ "
                "in white space, invisible characters or the form of accents only: give them one name."
            )


def _look(label: str) -> str:
    """Reduce a label to its visible characters."""
    shown = (character for character in unicodedata.normalize("NFC", label) if unicodedata.category(character) != "Cf")
    return " ".join("".join(shown).split())


def shorten(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def none_found(where: object) -> str:
    """Return the message that there are no videos below a folder."""
    others = len(VIDEO_SUFFIXES) - 4
    return f"{where}: expected videos (.mp4, .avi, .mkv, .webm or {others} other suffixes) below it, found none."


def find_videos(folder: str | Path) -> list[Path]:
    """List the video files anywhere below a folder, sorted; follow links, but enter each folder only once."""
    return sorted(walk_videos(folder))


def walk_videos(folder: str | Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """Yield the video files below a folder one by one, those of each folder in alphabetical order before subfolders'.

    Skips what file managers leave behind (see `file_names`), unless it is `folder` itself. Other skipped files, except
    for kinds that are common beside videos, are counted and reported in one line at the end.

    Args:
        folder: linked folders in it are followed; a folder that can be reached in several ways is entered once.
        on_error: called with the error of a folder that cannot be listed; such folders are skipped.
    """
    seen, taken = set(), False
    hidden, left, example = "", 0, ""
    for where, folders, files in os.walk(folder, followlinks=True, onerror=on_error):
        status = os.stat(where)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        hidden = hidden or next((os.path.join(where, name) for name in folders + files if is_left_behind(name)), "")
        folders[:] = sorted(name for name in folders if not is_left_behind(name))
        for file in sorted(name for name in files if not is_left_behind(name)):
            suffix = os.path.splitext(file)[1].lower()
            if suffix in VIDEO_SUFFIXES:
                taken = True
                yield Path(where, file)
            elif suffix not in COMPANION_SUFFIXES:
                left, example = left + 1, example or os.path.join(where, file)
    if left:
        _warn_once(
            f"{str(folder)!r}: {left:,} files left out, whose suffix is no video's, such as {example!r}: rename those that "
            "are videos, or list them by name."
        )
    if hidden and not taken:
        _warn_once(
            f"{str(folder)!r}: {hidden!r} was left out, as file managers leave such names behind: name it itself."
        )


@cache
def _warn_once(line: str) -> None:
    logger.warning(line)


def from_folder(folder: str | Path, names: list[str] | None = None) -> VideoList:
    """List the clips of `folder/CLASS/**/*.mp4` (or another video suffix), classes in alphabetical order.

    Args:
        folder: one subfolder per class.
        names: class names to use instead, those of the training set.

    Raises:
        ValueError: if there is no such folder, no video, fewer than two classes, or a class that `names` lacks.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise HfRltError(f"{folder}: expected a folder with one subfolder of videos per class, found no such folder.")
    videos = find_videos(folder)
    if not videos:
        raise HfRltError(f"{none_found(folder)} Expected one subfolder per class.")
    loose = [path for path in videos if path.parent == folder]
    if loose:
        raise HfRltError(
            f"{folder}: expected one subfolder per class, found {loose[0].name} outside: move it into one."
        )
    classes = [path.relative_to(folder).parts[0] for path in videos]
    subfolders = {path.name for path in folder.iterdir() if path.is_dir() and not is_left_behind(path.name)}
    empty = sorted(subfolders - set(classes))
    if empty:
        logger.warning(
            f"{str(folder)!r}: no videos in the subfolders {shorten(empty)}, which are no classes therefore."
        )
    labels, names = label_indices(classes, names, str(folder))
    return VideoList(videos, labels, names)


def split_clips(clips: VideoList, fraction: float, seed: int = 0) -> tuple[VideoList, VideoList]:
    """Return (training clips, held-out clips), the latter a random `fraction`, at least one; the same for a seed.

    Raises:
        ValueError: if the fraction is not between 0 and 1, or there are fewer than two clips.
    """
    if not 0 < fraction < 1 or len(clips) < 2:
        raise HfRltError(f"Expected 0 < fraction < 1 and two clips, received {fraction} and {len(clips)} clips.")
    order = list(range(len(clips)))
    random.Random(seed).shuffle(order)
    held = min(max(round(len(order) * fraction), 1), len(order) - 1)
    parts = sorted(order[held:]), sorted(order[:held])
    first, second = (VideoList(_Part(clips.sources, p), [clips.labels[i] for i in p], clips.names) for p in parts)
    return first, second


class _Part(Sequence):
    """Some of the elements of a sequence, read only when they are needed."""

    def __init__(self, whole: Sequence[Any], indices: list[int]) -> None:
        self.whole, self.indices = whole, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.whole[i] for i in self.indices[index]]
        return self.whole[self.indices[index]]
