# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""List videos and classes from annotation files: `path,label` tables, Kinetics tables, Something-Something lists."""

import csv
import io
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import HfRltError, truncate
from ..models.downloads import is_address
from .text_files import path_of, read_json, read_text
from .video_list import VideoList, find_videos, label_indices, quoted

KINETICS_COLUMNS = ("label", "youtube_id", "time_start", "time_end")
SEPARATORS = (",", "\t", ";")


@dataclass(frozen=True)
class _Row:
    """One line or entry: the video's path as written or its file's stem, its class, and where it stands, for errors."""

    video: str
    label: str
    where: str


def from_file(
    path: str | Path,
    video_dir: str | Path | None = None,
    names: list[str] | None = None,
    label_file: str | Path | None = None,
) -> VideoList:
    """List the videos of an annotation file, whose kind is recognised by its columns or keys; others are ignored.

    - CSV with the columns `path,label`: paths are relative to `video_dir`, or to the file.
    - Kinetics CSV with `label,youtube_id,time_start,time_end`: the videos are `ID_START_END.*` (six digits each, as the
      download scripts name them) anywhere below `video_dir`.
    - Something-Something JSON, a list of `{"id", "template"}` (or `label` where there is no template): the videos are
      `ID.*` anywhere below `video_dir`; the class is the template without brackets.

    Tables are separated by commas, tabs or semicolons, in UTF-8 or UTF-16. White space around a field is ignored, and every
    line needs as many fields as the first. A missing video keeps its place and is reported by name when it is read.

    Args:
        path: the annotation file.
        video_dir: where the videos are.
        names: class names to use, those of the training set or model.
        label_file: JSON object from class name to index (Something-Something's `labels.json`), which fixes the order.

    Raises:
        HfRltError: if the file cannot be understood, labels contradict each other, or none of the videos exists.

    Source: the annotation files of Kinetics-400/600/700 and Something-Something V2 as their authors publish them.
    """
    rows, sources = _read(Path(path), video_dir)
    if label_file is not None and names is None:
        names = _class_names(Path(label_file))
    first: dict[Path | str, _Row] = {}
    for row, source in zip(rows, sources, strict=True):
        other = first.setdefault(source, row)
        if other.label != row.label:
            raise HfRltError(
                f"{row.where}: {source} is {row.label!r} here and {other.label!r} before ({other.where}): leave one out."
            )
    return VideoList(sources, *label_indices([row.label for row in rows], names, str(path)))


def read_annotations(path: str | Path, video_dir: str | Path | None = None) -> tuple[list[Path | str], list[str]]:
    """Return the videos and class names of an annotation file, line by line; raises as `from_file` does."""
    rows, sources = _read(Path(path), video_dir)
    return sources, [row.label for row in rows]


def read_paths(path: str | Path) -> list[str]:
    """Return the paths in a text file, one per line; they need not be UTF-8. Raises as `read_text` does."""
    lines = [line for line in re.split("\r\n|\r|\n", read_text(path, file_names=True)) if line.strip()]
    return [os.fspath(_locate(Path(), line)) for line in lines]


def read_table_paths(path: str | Path) -> list[str]:
    """Return the column `path`, or else `video`, of a Parquet file, such as the predictions of an earlier run."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        name = next((name for name in ("path", "video") if name in file.schema_arrow.names), None)
        if name is None:
            raise HfRltError(f"{path}: expected a column path or video, found {quoted(file.schema_arrow.names)}.")
        values = file.read([name])[name].to_pylist()
    except pa.ArrowInvalid as error:
        raise HfRltError(f"{path}: expected a Parquet file ({error}).") from error
    if not all(isinstance(value, str) and value for value in values):
        raise HfRltError(f"{path}: expected text in each row of the column {name}, found others: leave them out.")
    return list(map(path_of, values))


def _read(path: Path, video_dir: str | Path | None) -> tuple[list[_Row], list[Path | str]]:
    if not path.is_file():
        raise HfRltError(f"{path}: expected a CSV file with the header 'path,label', found no such file.")
    rows, are_paths = _json_rows(path) if path.suffix.lower() == ".json" else _csv_rows(path)
    if are_paths:
        sources: list[Path | str] = [_locate(video_dir or path.parent, row.video) for row in rows]
    else:
        sources = [*_find(path, [row.video for row in rows], video_dir)]
    if not any(is_address(source) or os.path.isfile(source) for source in sources):
        raise HfRltError(
            f"{path}: found none of its {len(sources)} videos, such as {sources[0]}: correct the paths or --video_dir."
        )
    return rows, sources


def _locate(folder: str | Path, name: str) -> Path | str:
    """Return a video's path or address, with the white space around its name if such a file exists, else without."""
    bare = name.strip()
    if is_address(bare) or is_address(folder):
        return bare if is_address(bare) else f"{str(folder).rstrip('/')}/{bare}"
    return Path(folder, name if name == bare or os.path.lexists(Path(folder, name)) else bare)


def _find(path: Path, stems: list[str], video_dir: str | Path | None) -> list[Path]:
    """Return the path of each video below `video_dir`; `video_dir/STEM.mp4` if it does not exist."""
    if video_dir is None or not Path(video_dir).is_dir():
        raise HfRltError(f"{path}: expected --video_dir to be the folder that holds the videos, received {video_dir}.")
    found: dict[str, Path] = {}
    wanted = set(stems)
    for file in find_videos(video_dir):
        other = found.setdefault(file.stem, file)
        if other is not file and file.stem in wanted and not other.samefile(file):
            raise HfRltError(f"{path}: the video {file.stem} is there twice, {other} and {file}: move one away.")
    return [found.get(stem, Path(video_dir) / f"{stem}.mp4") for stem in stems]


def _csv_rows(path: Path) -> tuple[list[_Row], bool]:
    """Return the rows of a table, and whether their videos are paths."""
    table = _table(path)
    _, columns = next(table, (0, []))
    columns = [column.strip() for column in columns]
    kinetics = set(KINETICS_COLUMNS) <= set(columns)
    needed = KINETICS_COLUMNS if kinetics else ("path", "label")
    if not set(needed) <= set(columns):
        raise HfRltError(
            f"{path}: expected the columns 'path' and 'label' (or Kinetics' {quoted(KINETICS_COLUMNS)}) separated by "
            f"commas, tabs or semicolons, found {quoted(columns) or 'an empty file'}: make 'path,label' the first line."
        )
    twice = [column for column in needed if columns.count(column) > 1]
    if twice:
        raise HfRltError(f"{path}: found the column {twice[0]!r} twice: rename one.")
    rows = []
    for line, fields in table:
        where = f"{path}, line {line}"
        if len(fields) != len(columns):
            raise HfRltError(
                f"{where}: expected {len(columns)} fields ({quoted(columns)}), received {len(fields)} "
                f"({truncate(fields)}): quote fields that contain a separator."
            )
        row = dict(zip(columns, fields, strict=True))
        _check_fields(where, {column: row[column] for column in needed})
        rows.append(_Row(_kinetics_stem(where, row) if kinetics else row["path"], row["label"].strip(), where))
    if not rows:
        raise HfRltError(f"{path}: expected a line per video below the header, found none.")
    return rows, not kinetics


def _table(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, fields) of a table, without empty lines; the header decides what separates fields."""
    text = read_text(path)
    head = next((line for line in text.splitlines() if line.strip()), "")
    columns = {mark: {field.strip().strip('"') for field in head.split(mark)} for mark in SEPARATORS}
    known = ({"path", "label"}, set(KINETICS_COLUMNS))
    separator = next((mark for mark in SEPARATORS if any(wanted <= columns[mark] for wanted in known)), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                yield reader.line_num, fields
    except csv.Error as error:
        raise HfRltError(
            f"{path}, line {reader.line_num}: not a valid CSV line ({error}): close quotation marks, double those in text."
        ) from error


def _check_fields(where: str, fields: dict[str, str]) -> None:
    for name, value in fields.items():
        if not value.strip():
            raise HfRltError(f"{where}: expected {', '.join(fields)}, received no {name}: fill all of them in.")
        control = any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in value.strip())
        if control or (name == "label" and value.count('"') % 2):
            raise HfRltError(f"{where}: found a line break or open quotation mark in the {name} {truncate(value)}.")


def _kinetics_stem(where: str, row: dict[str, str]) -> str:
    times = row["time_start"], row["time_end"]
    try:
        start, end = (int(float(time)) for time in times)
    except (ValueError, OverflowError):
        start = end = -1
    if not 0 <= min(start, end) <= max(start, end) < 1e6:
        raise HfRltError(f"{where}: expected time_start and time_end in seconds, received {truncate(times)}.")
    return f"{row['youtube_id'].strip()}_{start:06d}_{end:06d}"


def _json_rows(path: Path) -> tuple[list[_Row], bool]:
    entries = read_json(path)
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise HfRltError(f"{path}: expected a list of objects with 'id' and 'template', as Something-Something's.")
    return [_json_row(f"{path}, entry {number}", entry) for number, entry in enumerate(entries)], False


def _json_row(where: str, entry: dict[str, Any]) -> _Row:
    stem, label = entry.get("id"), entry.get("template") or entry.get("label")
    if isinstance(stem, bool) or not isinstance(stem, (str, int)) or stem == "" or not isinstance(label, str):
        raise HfRltError(f"{where}: expected 'id' and 'template' or 'label', received {truncate(entry)}.")
    label = label.replace("[", "").replace("]", "")
    _check_fields(where, {"id": str(stem), "label": label})
    return _Row(str(stem).strip(), label.strip(), where)


def _class_names(path: Path) -> list[str]:
    labels = read_json(path)
    values = list(labels.values()) if isinstance(labels, dict) else []
    numbers = [str(value) for value in values if isinstance(value, (str, int)) and str(value).isdecimal()]
    if not values or sorted(map(int, numbers)) != list(range(len(values))):
        raise HfRltError(f"{path}: expected an object from class name to index, 0 to the number of classes - 1.")
    return sorted(labels, key=lambda name: int(labels[name]))
