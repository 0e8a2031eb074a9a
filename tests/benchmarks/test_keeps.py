# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a rule keeps: errors against a literal reference, equal tokens, optimal runs as the bound."""

import math

import numpy as np
import pytest
import torch

from benchmarks.keeps import METHODS, OWN_TOKENS, Clip
from hf_rlt import RLTVideoProcessor

PLACES = 196


@pytest.fixture(scope="module")
def clip(files):
    return Clip(files[0], RLTVideoProcessor(num_frames=6, frame_stride=3))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tokens", [PLACES, 200, 417, 3 * PLACES])
def test_errors_are_those_of_the_frames_with_tokens_in_place_of_tubelets(clip, method, tokens):
    lengths = clip.lengths(method, tokens)
    found, marked = clip.errors(lengths), (lengths.view(3, 14, 14) > 0).numpy()
    assert marked[0].all()
    assert found["tokens"] == marked.sum() == tokens
    processor = RLTVideoProcessor()
    frames, errors = clip.frames.astype(float), np.zeros((3, 14, 14))
    shown = frames.copy()
    for t, y, x in np.ndindex(3, 14, 14):
        patch = slice(16 * y, 16 * y + 16), slice(16 * x, 16 * x + 16)
        start = max(i for i in range(t + 1) if marked[i, y, x])
        difference = frames[2 * t : 2 * t + 2, *patch] - frames[2 * start : 2 * start + 2, *patch]
        errors[t, y, x] = np.abs(difference / 255 / processor.image_std).mean()
        shown[2 * t : 2 * t + 2, *patch] = frames[2 * start : 2 * start + 2, *patch]
    wanted = {"mean": errors.mean(), "rms": np.sqrt((errors**2).mean()), "percentile_99": np.quantile(errors, 0.99)}
    wanted["largest"] = errors.max()
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, rel=1e-3, abs=1e-6)
    lost = ((shown - frames) ** 2).mean()
    assert found["psnr"] == (None if tokens == 3 * PLACES else pytest.approx(10 * math.log10(255**2 / lost), rel=1e-3))


def test_methods_differ_and_optimal_runs_have_the_least_error(files, measured):
    options = ["--num-frames", 8, "--frame-stride", 4, "--share", 0.1, "--share", 0.5, "--threshold", 1.5]
    too_long = ["--num-frames", 64, "--frame-stride", 1]
    record, text = measured("keeps", *files[:3:2], *options, *too_long)
    rows = {(row["at"], row["method"]): row for row in record["rows"]}
    assert {at for at, _ in rows} == {"share 0.5", "threshold 1.5"}, "a tenth is less than the first tubelets"
    assert record["settings"]["clips"] == {"8 x 4": [files[0].name, files[2].name], "64 x 1": []}
    assert {row["sampling"] for row in record["rows"]} == {"8 x 4"}
    counts = rows["threshold 1.5", "threshold"]["tokens"]
    assert counts[0] > counts[1] > PLACES
    for at, wanted in (("share 0.5", [392, 392]), ("threshold 1.5", counts)):
        own = {method: rows[at, method] for method in METHODS}
        assert [row["tokens"] for row in own.values()] == [wanted] * len(METHODS)
        assert min(own, key=lambda method: own[method]["mean"]) == "optimal, p = 1"
        assert max(own, key=lambda method: own[method]["mean"]) == "random"
        assert len({tuple(row["psnr"]) for row in own.values()}) == len(METHODS)
    assert max(rows["threshold 1.5", OWN_TOKENS]["largest"]) <= 1.5
    mean = torch.tensor(rows["share 0.5", "anchor"]["mean"]).mean()
    assert f"| share 0.5 | 392 (50.0%) | anchor | {mean:.4f} |" in text
