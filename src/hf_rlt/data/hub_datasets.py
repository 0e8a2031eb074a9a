# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Labelled videos from the Hub (or any folder that `datasets` can read), loaded or streamed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import HfRltError
from .annotations import from_file
from .video_list import VideoList, from_folder, label_indices, quoted


def from_hub(
    dataset_name: str, split: str, config_name: str | None = None, names: list[str] | None = None
) -> VideoList:
    """List the videos of one split of a Hub data set or local folder with a `Video` and a `label` column.

    Labels are text or a `ClassLabel`. `names` are the class names to use, those of the training set.
    """
    rows, video = _rows(dataset_name, split, config_name, streaming=False)
    feature, values = rows.features["label"], list(rows["label"])
    if any(value is None or (_is_class(feature) and value < 0) for value in values):
        raise HfRltError(f"{dataset_name}, split {split!r}: expected a label in every row, found rows without one.")
    sources = rows[video]  # a lazy column: a video's bytes are read only when asked for
    if _is_class(feature) and names is None:
        return VideoList(sources, values, list(feature.names))
    texts = [_text(feature, value) for value in values]
    return VideoList(sources, *label_indices(texts, names, dataset_name))


class ClipStream:
    """Streams what `from_hub` lists, without downloading it first; text labels need `names`.

    `datasets` divides the files among the workers of a `DataLoader`.

    Args:
        dataset_name, split, config_name, names: as for `from_hub`.
        shuffle_buffer: number of rows to draw from at random; 0 keeps the order.
    """

    def __init__(
        self,
        dataset_name: str,
        split: str,
        config_name: str | None = None,
        names: list[str] | None = None,
        shuffle_buffer: int = 0,
        seed: int = 0,
    ) -> None:
        self._rows, self._video = _rows(dataset_name, split, config_name, streaming=True)
        self._feature = self._rows.features["label"]
        if names is None and not _is_class(self._feature):
            raise HfRltError(f"{dataset_name}: streaming needs a ClassLabel column, received {self._feature}.")
        self._where, self._shuffle_buffer, self._seed = dataset_name, shuffle_buffer, seed
        self.names: list[str] = list(names or self._feature.names)

    def read(self, epoch: int = 0) -> Iterator[tuple[Any, int]]:
        """Yield the `(source, label)` of one pass, shuffled by seed and epoch."""
        rows = self._rows
        if self._shuffle_buffer:
            rows = rows.shuffle(seed=self._seed + epoch, buffer_size=self._shuffle_buffer)
        for row in rows:
            labels, _ = label_indices([_text(self._feature, row["label"])], self.names, self._where)
            yield row[self._video], labels[0]


def _is_class(feature: Any) -> bool:
    return hasattr(feature, "int2str")  # a `ClassLabel`


def _text(feature: Any, value: Any) -> str:
    return feature.int2str(value) if _is_class(feature) else str(value)


def _rows(dataset_name: str, split: str, config_name: str | None, streaming: bool) -> tuple[Any, str]:
    """Return the rows of a split, videos undecoded, and the name of the video column."""
    try:
        import datasets
    except ImportError as error:
        raise HfRltError("A Hub data set needs the datasets library: `pip install hf_rlt[train]`.") from error
    try:
        loaded = datasets.load_dataset(dataset_name, config_name, streaming=streaming)
    except Exception as error:  # network, permissions, layout: of many types
        raise HfRltError(f"{dataset_name}: could not be loaded as a data set ({error}).") from error
    if split not in loaded:
        raise HfRltError(f"{dataset_name}: expected a split {split!r}, found {quoted(list(loaded))}: choose one.")
    rows = loaded[split]
    features = rows.features or {}
    videos = [name for name, feature in features.items() if isinstance(feature, datasets.Video)]
    if len(videos) != 1 or "label" not in features:
        raise HfRltError(
            f"{dataset_name}: expected one Video column and a 'label' column, found {dict(features)}: rename or cast."
        )
    # The column's own decoder needs torchcodec; ours reads the file or bytes with PyAV.
    return rows.cast_column(videos[0], datasets.Video(decode=False)), videos[0]


def load_videos(
    source: str, names: list[str] | None = None, video_dir: str | Path | None = None, split: str = "validation"
) -> VideoList:
    """List the labelled videos of a folder, an annotation file (CSV, JSON) or a Hub data set, whichever it is."""
    if Path(source).is_dir():
        return from_folder(source, names)
    if Path(source).suffix.lower() in (".csv", ".json"):
        return from_file(source, video_dir, names)
    return from_hub(source, split, names=names)
