# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A checkpoint written by an earlier version, kept as it was saved, opens and computes what it did then."""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForVideoClassification, AutoVideoProcessor

FOLDER = Path(__file__).parent / "saved_checkpoint"


def still_then_changed() -> np.ndarray:
    clip = np.zeros((8, 20, 24, 3), np.uint8)
    clip[:, ::2] = 200
    clip[4:, :8] = 90
    return clip


def test_a_checkpoint_of_an_earlier_version_opens_and_computes_the_same(tmp_path):
    expected = json.loads((FOLDER / "expected.json").read_text())
    model = AutoModelForVideoClassification.from_pretrained(FOLDER).eval()
    processor = AutoVideoProcessor.from_pretrained(FOLDER)
    inputs = processor([still_then_changed()], do_sample_frames=True, return_tensors="pt")
    assert inputs["run_lengths"][0].tolist() == expected["run_lengths"]
    with torch.no_grad():
        logits = model(**inputs).logits[0]
    torch.testing.assert_close(logits, torch.tensor(expected["logits"]), rtol=1e-4, atol=1e-5)

    model.save_pretrained(tmp_path)  # saved again, it keeps every setting it had
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (FOLDER, tmp_path))
    assert {**after, **before, "transformers_version": None} == {**after, "transformers_version": None}
    added = {"rule": "threshold", "max_tokens": None, "num_tokens": None, "budget": "clip", "budget_groups": 1}
    assert {name: after[name] for name in after if name not in before} == added
