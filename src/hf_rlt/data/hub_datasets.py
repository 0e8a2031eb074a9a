# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Labelled clips from the Hub (or any folder that `datasets` can read), loaded or streamed."""

from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import HfRltError
from .video_list import VideoList, label_indices, shorten


def from_hub(
    dataset_name: str, split: str, config_name: str | None = None, names: list[str] | None = None
) -> VideoList:
    """Returns the clips of one split of a Hub data set (or a local folder that `datasets` can read).

    Args:
        dataset_name: Hub id or folder, with a `Video` column and a `label` column (text or `ClassLabel`).
        split: name of the split.
        config_name: name of the data set's configuration, if it has several.
        names: class names to use, those of the training set.

    Raises:
        ValueError: if the data set cannot be loaded, or lacks the split or one of the columns.
    """
    rows, video = _rows(dataset_name, split, config_name, streaming=False)
    feature, values = rows.features["label"], list(rows["label"])
    if any(value is None or (_is_class(feature) and value < 0) for value in values):
        raise HfRltError(f"{dataset_name}, split {split!r}: expected a label in every row, found rows without one.")
    # The column is sliced lazily: the videos' bytes are not read before they are asked for.
    sources: Sequence[Any] = rows[video]
    if _is_class(feature) and names is None:
        return VideoList(sources, values, list(feature.names))
    texts = [feature.int2str(v) if _is_class(feature) else str(v) for v in values]
    labels, names = label_indices(texts, names, dataset_name)
    return VideoList(sources, labels, names)


class ClipStream:
    """The clips of one split of a Hub data set, one after the other, without downloading it first.

    Attributes:
        names: class names.

    `datasets` shares the files out among the workers of a `DataLoader`.

    Args:
        dataset_name, split, config_name, names: as for `from_hub`; text labels need `names`.
        shuffle_buffer: rows that are held to draw from at random; 0 keeps the order.
        seed: of the shuffling.

    Raises:
        ValueError: as `from_hub` does, and if the labels are text and no names are given.
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
        feature = self._rows.features["label"]
        if names is None and not _is_class(feature):
            raise HfRltError(
                f"{dataset_name}: expected a ClassLabel column 'label' to stream from, received {feature}: the classes of "
                "text labels are known only when all of it is read; leave --streaming out."
            )
        self._where, self._feature = dataset_name, feature
        self.names: list[str] = list(names or feature.names)
        self._shuffle_buffer, self._seed = shuffle_buffer, seed

    def read(self, epoch: int = 0) -> Iterator[tuple[Any, int]]:
        """Yields the `(source, label)` of one pass, shuffled by seed and epoch."""
        rows = self._rows
        if self._shuffle_buffer:
            rows = rows.shuffle(seed=self._seed + epoch, buffer_size=self._shuffle_buffer)
        for row in rows:
            text = self._feature.int2str(row["label"]) if _is_class(self._feature) else str(row["label"])
            yield row[self._video], label_indices([text], self.names, self._where)[0][0]


def _is_class(feature: Any) -> bool:
    import datasets

    return isinstance(feature, datasets.ClassLabel)


def _rows(dataset_name: str, split: str, config_name: str | None, streaming: bool) -> tuple[Any, str]:
    """Returns the rows of a split, videos undecoded, and the name of the video column."""
    try:
        import datasets
    except ImportError as error:
        raise HfRltError("A Hub data set needs the datasets library: `pip install hf_rlt[train]`.") from error
    try:
        loaded = datasets.load_dataset(dataset_name, config_name, streaming=streaming)
    except Exception as error:  # many kinds: network, permissions, layout; the user needs one line
        raise HfRltError(f"{dataset_name}: could not be loaded as a data set ({error}).") from error
    if split not in loaded:
        raise HfRltError(f"{dataset_name}: expected a split {split!r}, found {shorten(list(loaded))}: choose one.")
    rows = loaded[split]
    features = rows.features or {}
    videos = [name for name, feature in features.items() if isinstance(feature, datasets.Video)]
    if len(videos) != 1 or "label" not in features:
        raise HfRltError(
            f"{dataset_name}: expected one Video column and a 'label' column, found {dict(features)}: rename or cast."
        )
    # decode=False: the column's own decoder needs torchcodec, ours reads the file or bytes with PyAV.
    return rows.cast_column(videos[0], datasets.Video(decode=False)), videos[0]
