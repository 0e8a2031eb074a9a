# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""model_cards/: what its generator writes, with the paper's numbers and none of ours."""

import importlib.util
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, metadata_load

from benchmarks.common.paper import FINE_TUNING
from helpers.model_folders import save_model
from helpers.paths import ROOT
from hf_rlt.hub import write_card

# Top-1 accuracy and its change by RLT, without training for it
INFERENCE = {
    "rlt-vit-b-k400": (0.809, 0.001),
    "rlt-vit-l-k400": (0.847, -0.002),
    "rlt-vit-h-k400": (0.862, -0.005),
    "rlt-vit-b-ssv2": (None, -0.01),
}


@pytest.fixture(scope="module")
def published():
    spec = importlib.util.spec_from_file_location("make_cards", ROOT / "model_cards" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", INFERENCE)
def test_a_card_is_what_its_generator_writes_and_holds_the_paper_s_numbers(published, name):
    checkpoint = next(each for each in published.CHECKPOINTS if each.name == name)
    path = ROOT / "model_cards" / name / "README.md"
    text, data = path.read_text(), ModelCard.load(path).data
    assert text == published.make_card(checkpoint), "run python -m model_cards.make"
    assert f"]({name}/README.md) | {checkpoint.base} |" in (ROOT / "model_cards" / "README.md").read_text()
    assert (data.license, data.base_model) == ("cc-by-nc-4.0", checkpoint.base)
    found = {r.metric_type: (r.metric_value, r.source_url) for r in data.eval_results}
    accuracy, change = INFERENCE[name]
    assert found.pop("accuracy", (None,))[0] == accuracy
    assert found == {"accuracy_change": (change, "https://arxiv.org/abs/2411.05222")}
    assert "| this model |" not in text
    row = FINE_TUNING.get((f"ViT-{checkpoint.size.upper()}", "RLT"))
    assert ("table 1" in text) == (row is not None)
    if row is not None:
        accuracy_tuned, hours, speedup = row[checkpoint.benchmark.short]
        assert f"RLT | {accuracy_tuned} % | {hours} | {speedup} x |" in text
    assert ("| ViT-B |  |  | -1.0 |" in text) == (accuracy is None)


def test_every_checkpoint_has_a_card(published):
    names = {checkpoint.name for checkpoint in published.CHECKPOINTS}
    assert names == set(INFERENCE) == {path.parent.name for path in (ROOT / "model_cards").glob("*/README.md")}


def test_a_published_card_takes_our_results_beside_the_paper_s(published, tmp_path):
    checkpoint, folder = published.CHECKPOINTS[0], save_model(tmp_path / "rlt")
    (folder / "README.md").write_text(published.make_card(checkpoint))
    path: Path = write_card(folder, repo_id="user/rlt", dataset="Kinetics-400", evaluations=[{"accuracy": 0.9125}])
    results, text = ModelCard.load(path).data.eval_results, path.read_text()
    assert [result.metric_value for result in results if result.source_url] == [0.809, 0.001]
    assert [result.metric_value for result in results if not result.source_url] == [0.9125]
    assert "## Making this checkpoint" in text
    assert metadata_load(path)["base_model"] == checkpoint.base
