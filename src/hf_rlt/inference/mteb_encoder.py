# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A model with frozen weights, for the video tasks of MTEB (`pip install mteb`): `mteb.evaluate(RLTEncoder(...), tasks)`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder
from torch.utils.data import DataLoader

from ..errors import HfRltError
from ..hub.repo_config import is_hub_id
from .batch import RLTBatchPredictor
from .decoder import Options
from .rows import ERROR, FEATURES


class RLTEncoder(AbsEncoder):
    """Embeds a video as `hf-rlt predict --features pooled` does: the mean over its computed tokens.

        encoder = RLTEncoder("MCG-NJU/videomae-base-finetuned-kinetics", num_tokens=0.2)
        mteb.evaluate(encoder, mteb.get_tasks(["UCF101VideoClassification"]))

    Videos are read by the model's own processor: it samples frames as the model was trained, not as MTEB's collators do.

    Args:
        model: folder or Hub id of a model of any family.
        options: see `Options`; with several views a video's embedding is their mean.
        **settings: of `RLTBatchPredictor`, such as `dtype`, `threshold` (None for dense) or `num_tokens`.

    Attributes:
        tokens_computed, tokens: of all videos embedded so far.
    """

    def __init__(self, model: str, options: Options | None = None, **settings: Any) -> None:
        options = replace(options or Options(), features="pooled")
        self.model = RLTBatchPredictor(model, options, **settings)
        self.tokens_computed = self.tokens = 0
        rule = self.model.runner.processor.run_rule.describe()
        # Results are kept by name and revision: budgets of one model are different models.
        name = model if is_hub_id(model) else f"hf_rlt/{Path(model).name}"
        self.mteb_model_meta = ModelMeta.create_empty({"name": name, "revision": rule, "modalities": ["video"]})

    def encode(self, inputs: DataLoader, **_: Any) -> np.ndarray:
        """Embed the videos of a task, `(videos, D)` float32.

        Raises:
            HfRltError: if a video cannot be read.
        """
        rows: Any = inputs.dataset
        size = inputs.batch_size or self.model.options.batch_size
        if isinstance(rows, datasets.Dataset):  # undecoded, so that our reader gets the file
            rows = rows.cast_column("video", datasets.Video(decode=False))
        found = []
        for start in range(0, len(rows), size):
            videos = rows[start : start + size]["video"]
            for place, row in enumerate(self.model.rows({"bytes": videos}), start):
                if row.get(ERROR) is not None:
                    raise HfRltError(f"Video {place} of {len(rows)}: {row[ERROR]}")
                self.tokens_computed += row["tokens_computed"]
                self.tokens += row["tokens"]
                found.append(row[FEATURES])
        return np.stack(found).astype(np.float32)
