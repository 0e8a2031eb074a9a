# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Labelled clips from annotation files: `path,label` tables, Kinetics tables, Something-Something lists."""

import csv
import json
from pathlib import Path
from typing import Any

from .lists import ClipList, find_videos, label_indices, shorten

KINETICS_COLUMNS = ("label", "youtube_id", "time_start", "time_end")


def from_file(
    path: str | Path,
    video_dir: str | Path | None = None,
    names: list[str] | None = None,
    label_file: str | Path | None = None,
) -> ClipList:
    """Returns the clips that an annotation file lists; what kind of file it is shows in its columns or keys.

    - CSV with the columns `path,label`: paths are relative to `video_dir`, or to the file.
    - Kinetics CSV with `label,youtube_id,time_start,time_end`: the videos are `ID_START_END.*` (six digits each, as the
      download scripts name them) anywhere below `video_dir`.
    - Something-Something JSON, a list of `{"id", "template"}` (or `label` where there is no template): the videos are
      `ID.*` anywhere below `video_dir`; brackets are removed from the template, which is the class.

    A video that does not exist keeps its place in the list: it is reported by name when it is read.

    Args:
        path: the annotation file. Further columns and keys are ignored.
        video_dir: where the videos are.
        names: class names to use, those of the training set or model.
        label_file: JSON object from class name to index (Something-Something's `labels.json`), which fixes the order.

    Raises:
        ValueError: if a file, column, key or label is missing, a label is unknown, or no single video exists.

    Source: the annotation files of Kinetics-400/600/700 and Something-Something V2 as their authors publish them.
    """
    sources, labels = read_annotations(path, video_dir)
    if label_file is not None and names is None:
        names = _names(Path(label_file))
    indices, names = label_indices(labels, names, str(path))
    return ClipList(sources, indices, names)


def read_annotations(path: str | Path, video_dir: str | Path | None = None) -> tuple[list[Path], list[str]]:
    """Returns (videos, class names) of each line or entry of an annotation file; see `from_file`.

    Raises:
        ValueError: if a file, column, key or label is missing, or no single video exists.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: expected a CSV file with the header 'path,label', found no such file.")
    rows = _json_rows(path) if path.suffix.lower() == ".json" else _csv_rows(path)
    keys, labels = [key for key, _ in rows], [label for _, label in rows]
    if isinstance(keys[0], Path):
        sources = [Path(video_dir or path.parent) / key for key in keys]
    else:
        sources = _find(path, keys, video_dir)
    if not any(source.is_file() for source in sources):
        raise ValueError(
            f"{path}: expected a video at {sources[0]}, found none of its {len(sources)} videos: correct the paths or "
            "--video_dir."
        )
    return sources, labels


def _csv_rows(path: Path) -> list[tuple[Path | str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        columns = list(reader.fieldnames or [])
        rows = list(reader)
    kinetics = set(KINETICS_COLUMNS) <= set(columns)
    if not kinetics and not {"path", "label"} <= set(columns):
        raise ValueError(
            f"{path}: expected the columns 'path' and 'label' (or Kinetics' {shorten(KINETICS_COLUMNS)}), found "
            f"{shorten(columns) or 'an empty file'}: make 'path,label' the first line."
        )
    if not rows:
        raise ValueError(f"{path}: expected a line per video below the header, found none.")
    needed = KINETICS_COLUMNS if kinetics else ("path", "label")
    for line, row in enumerate(rows, start=2):
        if not all(row[column] for column in needed):
            raise ValueError(f"{path}, line {line}: expected {', '.join(needed)}, received {row}: fill all of them in.")
    if not kinetics:
        return [(Path(row["path"]), row["label"]) for row in rows]
    try:
        return [(_kinetics_name(row), row["label"]) for row in rows]
    except ValueError as error:
        raise ValueError(f"{path}: expected time_start and time_end in seconds, received text ({error}).") from error


def _kinetics_name(row: dict[str, str]) -> str:
    start, end = (int(float(row[column])) for column in ("time_start", "time_end"))
    return f"{row['youtube_id']}_{start:06d}_{end:06d}"


def _json_rows(path: Path) -> list[tuple[Path | str, str]]:
    rows = _load(path)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path}: expected a list of objects with 'id' and 'template', as Something-Something's.")
    for number, row in enumerate(rows):
        if not row.get("id") or not (row.get("template") or row.get("label")):
            raise ValueError(f"{path}, entry {number}: expected 'id' and 'template' or 'label', received {row}.")
    unbracket = str.maketrans("", "", "[]")
    return [(str(row["id"]), str(row.get("template") or row["label"]).translate(unbracket)) for row in rows]


def _names(path: Path) -> list[str]:
    labels = _load(path)
    values = sorted(int(index) for index in labels.values()) if isinstance(labels, dict) else None
    if not values or values != list(range(len(labels))):
        raise ValueError(f"{path}: expected an object from class name to index, 0 to the number of classes - 1.")
    return sorted(labels, key=lambda name: int(labels[name]))


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: expected a JSON file ({error}).") from error


def _find(path: Path, keys: list[Any], video_dir: str | Path | None) -> list[Path]:
    """Returns the video of each name; `video_dir/NAME.mp4` for those that do not exist."""
    if video_dir is None or not Path(video_dir).is_dir():
        raise ValueError(
            f"{path} names videos without their folder: expected --video_dir to be the folder that holds them, received "
            f"{video_dir}."
        )
    found = {file.stem: file for file in find_videos(video_dir)}
    return [found.get(key, Path(video_dir) / f"{key}.mp4") for key in keys]
