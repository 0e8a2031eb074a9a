# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Read class names from a file."""

from collections import Counter
from pathlib import Path
from typing import Any

from ..data.text_files import read_json, read_text
from ..errors import HfRltError


def read_labels(path: str | Path, count: int) -> dict[str, dict]:
    """Return `id2label` and `label2id` for a configuration of `count` classes; 0 is a model without a classifier.

    Args:
        path: text with one name a line in the order of the classes, a JSON list, or a JSON dictionary from index to name
            (as in config.json) or from name to index (as Something-Something's labels.json).
        count: classes of the checkpoint.

    Raises:
        HfRltError: if the file is none of these, a name is missing, empty or there twice, or their number is another.
        OSError: if there is no such file.
    """
    if count == 0:
        raise HfRltError(f"{path}: the source has no classifier, so --labels has nothing to name: leave it out.")
    names = _from_json(path) if Path(path).suffix.lower() == ".json" else read_text(path).strip().splitlines()
    if not all(isinstance(name, (str, int, float)) for name in names):
        raise HfRltError(f"{path}: expected a JSON list of class names, found other things in it: leave them out.")
    names = [str(name).strip() for name in names]
    if len(names) != count:
        raise HfRltError(f"{path}: expected {count} class names, one for each class of the source, found {len(names)}.")
    (name, times), *_ = Counter(names).most_common(1)
    if "" in names or times > 1:
        found = "an empty one" if "" in names else f"{name!r} {times} times"
        raise HfRltError(f"{path}: expected a name of its own for each class, found {found}.")
    return {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}


def _from_json(path: str | Path) -> list[Any]:
    content = read_json(path)
    if isinstance(content, list):
        return content
    if isinstance(content, dict):
        for pairs in (content.items(), [(index, name) for name, index in content.items()]):
            by_index = {int(key): name for key, name in pairs if str(key).isdecimal()}
            if sorted(by_index) == list(range(len(content))):
                return [by_index[index] for index in range(len(content))]
    raise HfRltError(
        f"{path}: expected a JSON list of class names, or a dictionary from 0, 1, 2, ... to names or from names to these."
    )
