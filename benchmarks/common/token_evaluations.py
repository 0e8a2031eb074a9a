# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Trained checkpoints evaluated with other rules and budgets than they were trained with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from hf_rlt.data import EvalDataset, VideoList
from hf_rlt.inference.loading import load

from .methods import RLT, Method, share_weights
from .record import say, write_json

BATCH = 32


@dataclass(frozen=True)
class Use:
    """A way to choose tokens in an evaluation: settings of the rule, and the method that has them."""

    settings: Mapping[str, Any]
    method: Method = RLT

    def model(self, base: Any) -> Any:
        """Make the model that chooses in this way, on the weights of `base`."""
        return share_weights(base, self.method, **self.settings)

    @property
    def asked(self) -> dict[str, Any]:
        """What results are kept with."""
        return {"method": self.method.name, "settings": dict(self.settings)}


def known_evaluations(folder: Path, uses: Mapping[str, Use]) -> dict[str, dict[str, Any]]:
    """Load the results of a run's checkpoint that are there, by the name of the use."""
    known = _results(folder)
    return {name: known[name] for name, use in uses.items() if use.asked.items() <= known.get(name, {}).items()}


def _results(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "evaluations.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def evaluate_run(folder: Path, clips: VideoList, uses: Mapping[str, Use]) -> None:
    """Evaluate a run's checkpoint in each way that has no result yet.

    Args:
        folder: of the run, where results are kept.
        clips: to evaluate on.
        uses: by name.
    """
    known = known_evaluations(folder, uses)
    missing = [name for name in uses if name not in known]
    if missing:
        say(f"{folder.name}: evaluating with {', '.join(missing)}")
        base, processor = load(str(folder))
        models = {name: uses[name].model(base.eval()) for name in missing}
        found = accuracies(models, EvalDataset(clips, processor))
        new = {name: uses[name].asked | found[name] for name in missing}
        write_json(folder / "evaluations.json", _results(folder) | new)


@torch.inference_mode()
def accuracies(models: Mapping[str, Any], data: EvalDataset) -> dict[str, dict[str, float]]:
    """Compute top-1 and the share of tokens of models on the same clips, each of which is read once.

    Args:
        models: by name; each finds the runs itself.
        data: a set with one view of each video.
    """
    hits, computed, clips = dict.fromkeys(models, 0), dict.fromkeys(models, 0.0), 0
    for batch in DataLoader(data, batch_size=BATCH):
        clips += len(batch["labels"])
        for name, model in models.items():
            output = model(batch["pixel_values"])
            hits[name] += int((output.logits.argmax(1) == batch["labels"]).sum())
            computed[name] += float((output.run_lengths > 0).float().mean(1).sum())
    return {name: {"accuracy": hits[name] / clips, "tokens": computed[name] / clips} for name in models}
