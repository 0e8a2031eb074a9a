# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""model_cards/: what its generator writes, with the paper's numbers and none of ours."""

import pytest
from huggingface_hub import ModelCard

from helpers.model_folders import save_model
from helpers.paths import ROOT
from hf_rlt.hub import write_card
from model_cards import make

# Top-1 accuracy and its change by RLT, without training for it; a row of the fine-tuned one
NUMBERS = {
    "rlt-vit-b-k400": (0.809, 0.001, "RLT | 80.1 % | 10.2 | 1.4 x |"),
    "rlt-vit-l-k400": (0.847, -0.002, "RLT | 84.7 % | 15.4 | 1.4 x |"),
    "rlt-vit-h-k400": (0.862, -0.005, None),
    "rlt-vit-b-ssv2": (None, -0.01, "RLT | 70.2 % | 7.2 | 1.4 x |"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_card_is_what_its_generator_writes_and_holds_the_paper_s_numbers(name):
    checkpoint = next(each for each in make.CHECKPOINTS if each.name == name)
    path = ROOT / "model_cards" / name / "README.md"
    text, data = path.read_text(), ModelCard.load(path).data
    assert text == make.make_card(checkpoint), "run python -m model_cards.make"
    assert f"]({name}/README.md) | {checkpoint.base} |" in (ROOT / "model_cards" / "README.md").read_text()
    assert (data.license, data.base_model) == ("cc-by-nc-4.0", checkpoint.base)
    found = {r.metric_type: (r.metric_value, r.source_url) for r in data.eval_results}
    accuracy, change, row = NUMBERS[name]
    assert found.pop("accuracy", (None,))[0] == accuracy
    assert found == {"accuracy_change": (change, "https://arxiv.org/abs/2411.05222")}
    assert "| this model |" not in text
    assert ("table 1" in text) == (row is not None)
    assert row is None or row in text
    assert ("| ViT-B |  |  | -1.0 |" in text) == (accuracy is None)


def test_every_checkpoint_has_a_card_and_it_takes_our_results_beside_the_paper_s(tmp_path):
    names = {path.parent.name for path in (ROOT / "model_cards").glob("*/README.md")}
    assert names == set(NUMBERS) == {checkpoint.name for checkpoint in make.CHECKPOINTS}
    folder = save_model(tmp_path / "rlt")
    (folder / "README.md").write_text(make.make_card(make.CHECKPOINTS[0]))
    path = write_card(folder, repo_id="user/rlt", dataset="Kinetics-400", evaluations=[{"accuracy": 0.9125}])
    card = ModelCard.load(path)
    assert [result.metric_value for result in card.data.eval_results if result.source_url] == [0.809, 0.001]
    assert [result.metric_value for result in card.data.eval_results if not result.source_url] == [0.9125]
    assert "## Making this checkpoint" in card.text
