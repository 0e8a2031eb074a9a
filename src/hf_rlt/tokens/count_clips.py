# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Count the tokens that each clip of a list computes, once; later, read the counts without decoding a video."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Subset

from ..data.digits import default_folder
from ..data.eval_dataset import EvalDataset
from ..data.train_dataset import IGNORED
from ..data.video_list import VideoList


def count_tokens(
    clips: VideoList,
    processor: Any,
    num_workers: int = 0,
    on_bad_video: str = "raise",
    cache_dir: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Return `(len(clips),)` int64: computed tokens of each video's centre clip; 0 for one that cannot be read.

    Counts are appended to a file as they are found: an interrupted count goes on where it stopped, and a count with the
    same processor settings is never repeated for a file that has not changed (path, size, time of change). Augmentation
    is left out, so for training these are estimates; they serve to balance batches.

    Args:
        clips: what to count.
        processor: an `RLTVideoProcessor`.
        num_workers: processes that decode.
        on_bad_video: "raise" or "skip".
        cache_dir: where the counts are kept; `~/.cache/hf_rlt/tokens` unless given.
        progress: called with (clips known, clips in all).

    Raises:
        UnreadableClipError: for a bad video, unless it is to be skipped.
    """
    changes_no_token = ("auto_map", "video_processor_type")
    known_settings = {name: value for name, value in processor.to_dict().items() if name not in changes_no_token}
    settings = json.dumps(known_settings, sort_keys=True, default=str)
    folder = Path(cache_dir) if cache_dir is not None else default_folder().parent / "tokens"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(settings.encode()).hexdigest()[:16]}.jsonl"
    known = _read(path)
    keys = [_key(source) for source in clips.sources]
    # A bad video is read again: to be reported, to stop the count, or because it has been mended.
    missing = [index for index, key in enumerate(keys) if not known.get(key)]
    data = EvalDataset(clips, processor, on_bad_video=on_bad_video)
    loader = DataLoader(Subset(data, missing), batch_size=None, num_workers=num_workers)
    with path.open("a") as stream:
        stream.write("\n")  # ends a line that an interruption tore
        for done, (index, item) in enumerate(zip(missing, loader, strict=True), start=1):
            readable = int(item["labels"]) != IGNORED
            known[keys[index]] = int((item["run_lengths"] > 0).sum()) if readable else 0
            if readable:  # a bad file may be mended
                stream.write(json.dumps([keys[index], known[keys[index]]]) + "\n")
                stream.flush()
            if progress is not None:
                progress(len(keys) - len(missing) + done, len(keys))
    return np.array([known[key] for key in keys], dtype=np.int64)


def _read(path: Path) -> dict[str, int]:
    known = {}
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            key, count = json.loads(line)
        except ValueError:
            continue  # empty or torn
        known[key] = count
    return known


def _key(source: Any) -> str:
    """Return what identifies a video: path, size and time of change, or a digest of its bytes."""
    if isinstance(source, dict):
        if source.get("bytes") is not None:
            return hashlib.sha256(source["bytes"]).hexdigest()
        source = source.get("path")
    if not isinstance(source, (str, os.PathLike)):
        return repr(source)  # not a video; reading it will raise the error
    path = Path(source)
    if not path.is_file():
        return str(source)
    status = path.stat()
    return f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
