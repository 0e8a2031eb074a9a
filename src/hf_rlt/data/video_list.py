# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""List videos with their classes, from a folder with one subfolder per class."""

import logging
import os
import random
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset

from ..errors import HfRltError, join_limited
from ..models.downloads import is_web
from .file_names import COMPANION_SUFFIXES, VIDEO_SUFFIXES, is_left_behind
from .text_files import is_text

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoList:
    """Videos and their classes.

    Attributes:
        sources: one video each: a path, or a Hub row `{"path", "bytes"}`; may be read lazily.
        labels: each video's class, an index into `names`.
        names: class names.
        unreadable_mask: `(len,)` bool in memory shared by loading processes: videos that could not be read so far.
    """

    sources: Sequence[Any]
    labels: list[int]
    names: list[str]
    unreadable_mask: Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        mask = torch.zeros(len(self.labels), dtype=torch.bool).share_memory_()
        object.__setattr__(self, "unreadable_mask", mask)

    def __len__(self) -> int:
        return len(self.labels)


def label_indices(labels: list[str], names: list[str] | None, where: str) -> tuple[list[int], list[str]]:
    """Return the index of each label, and the class names: `names` of the training set or model, if given.

    A label counts as one of `names` if it differs only invisibly (in white space, invisible characters, composed or
    decomposed accents).
    """
    odd = sorted(label for label in set(labels) if not is_text(label) or not _visible(label))
    if odd:
        raise HfRltError(f"{where}: expected classes with names in UTF-8, received {quoted(odd)}: rename them.")
    if names is None:
        names = sorted(set(labels))
        if len(names) < 2:
            raise HfRltError(f"{where}: expected at least two classes, found only {names}: add another.")
        looks = Counter(map(_visible, names))
        twins = [name for name in names if looks[_visible(name)] > 1]
        if twins:
            raise HfRltError(f"{where}: classes look the same, {join_limited(map(ascii, twins))}: give them one name.")
    index = {_visible(name): position for position, name in enumerate(names)}
    index |= {name: position for position, name in enumerate(names)}  # an exact match comes first
    found = {label: index.get(label, index.get(_visible(label), -1)) for label in set(labels)}
    unknown = sorted(label for label, position in found.items() if position < 0)
    if unknown:
        raise HfRltError(
            f"{where}: expected the classes of the training set or model ({quoted(names)}), received {quoted(unknown)}."
        )
    return [found[label] for label in labels], list(names)


def _visible(label: str) -> str:
    """Reduce a label to its visible characters."""
    shown = (character for character in unicodedata.normalize("NFC", label) if unicodedata.category(character) != "Cf")
    return " ".join("".join(shown).split())


def quoted(names: Sequence[str]) -> str:
    """Join names in quotation marks by commas, the first eight of them."""
    return join_limited(map(repr, names))


def none_found(where: object) -> str:
    """Return the error message for a folder without videos."""
    return f"{where}: expected videos (.mp4, .avi, .mkv, .webm ...) below it, found none."


def find_videos(folder: str | Path) -> list[Path]:
    """List the video files anywhere below a folder, sorted; see `walk_videos`."""
    return sorted(walk_videos(folder))


def walk_videos(folder: str | Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """Yield the video files below a folder one by one, those of each folder in alphabetical order before subfolders'.

    Links are followed, but each folder is entered only once. What file managers leave behind is skipped (see
    `file_names`), unless it is `folder` itself. Other files, except kinds that are common beside videos, are counted and
    reported in one line at the end. Folders that cannot be listed are skipped; `on_error` gets the error.
    """
    entered: set[tuple[int, int]] = set()
    found, hidden, skipped, example = False, "", 0, ""
    for where, folders, files in os.walk(folder, followlinks=True, onerror=on_error):
        status = os.stat(where)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        hidden = hidden or next((os.path.join(where, name) for name in folders + files if is_left_behind(name)), "")
        folders[:] = sorted(name for name in folders if not is_left_behind(name))
        for file in sorted(name for name in files if not is_left_behind(name)):
            suffix = os.path.splitext(file)[1].lower()
            if suffix in VIDEO_SUFFIXES:
                found = True
                yield Path(where, file)
            elif suffix not in COMPANION_SUFFIXES:
                skipped, example = skipped + 1, example or os.path.join(where, file)
    if skipped:
        _warn_once(f"{str(folder)!r}: {skipped:,} files without a video's suffix are left out, such as {example!r}.")
    if hidden and not found:
        _warn_once(f"{str(folder)!r}: {hidden!r} looks like a file manager's and is left out: name it itself.")


def cloud_videos(address: str) -> list[str]:
    """List the videos below a folder with an address, sorted; an http(s) address, or one of a video, names a file itself."""
    if is_web(address) or os.path.splitext(address)[1].lower() in VIDEO_SUFFIXES:
        return [address]
    import fsspec

    try:
        files, place = fsspec.url_to_fs(address)
        found = sorted(files.find(place))
    except Exception as error:  # each file system has its own kinds
        raise HfRltError(f"{address}: cannot be listed ({error}).") from error
    return [
        files.unstrip_protocol(name)
        for name in found
        if os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES and not is_left_behind(os.path.basename(name))
    ]


@cache
def _warn_once(line: str) -> None:
    logger.warning(line)


def from_folder(folder: str | Path, names: list[str] | None = None) -> VideoList:
    """List the videos of `folder/CLASS/**/*.mp4` (or another video suffix); `names` are those of the training set."""
    folder = Path(folder)
    if not folder.is_dir():
        raise HfRltError(f"{folder}: expected a folder with one subfolder of videos per class, found no such folder.")
    videos = find_videos(folder)
    if not videos:
        raise HfRltError(f"{none_found(folder)} Expected one subfolder per class.")
    loose = [path for path in videos if path.parent == folder]
    if loose:
        raise HfRltError(f"{folder}: expected one subfolder per class, found {loose[0].name} outside: move it.")
    classes = [path.relative_to(folder).parts[0] for path in videos]
    subfolders = {path.name for path in folder.iterdir() if path.is_dir() and not is_left_behind(path.name)}
    empty = sorted(subfolders - set(classes))
    if empty:
        logger.warning(f"{str(folder)!r}: no videos in the subfolders {quoted(empty)}, so they are not classes.")
    return VideoList(videos, *label_indices(classes, names, str(folder)))


def split_clips(clips: VideoList, fraction: float, seed: int = 0) -> tuple[VideoList, VideoList]:
    """Hold out a random `fraction` of the videos, at least one; return (training, held-out), the same for a seed."""
    if not 0 < fraction < 1 or len(clips) < 2:
        raise HfRltError(f"Expected 0 < fraction < 1 and two clips, received {fraction} and {len(clips)} clips.")
    order = list(range(len(clips)))
    random.Random(seed).shuffle(order)
    held = min(max(round(len(order) * fraction), 1), len(order) - 1)
    parts = []
    for chosen in (sorted(order[held:]), sorted(order[:held])):
        sources: Any = Subset(clips.sources, chosen)  # type: ignore[arg-type]  # reads a lazy source only when asked
        parts.append(VideoList(sources, [clips.labels[i] for i in chosen], clips.names))
    return parts[0], parts[1]
