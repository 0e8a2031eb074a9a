# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""model_cards/: what its generator writes, with the paper's numbers in the text, and none in the metadata."""

import pytest
from huggingface_hub import ModelCard

from helpers.model_folders import save_model
from helpers.paths import ROOT
from hf_rlt.hub import write_card
from model_cards import make

# Rows of the paper's tables: without training for RLT, and fine-tuned
ROWS = {
    "rlt-vit-b-k400": ("| ViT-B | 80.9 % | 80.9 % | +0.1 |", "RLT | 80.1 % | 10.2 | 1.4 x |"),
    "rlt-vit-l-k400": ("| ViT-L | 84.7 % | 84.7 % | -0.2 |", "RLT | 84.7 % | 15.4 | 1.4 x |"),
    "rlt-vit-h-k400": ("| ViT-H | 86.2 % | 86.2 % | -0.5 |", None),
    "rlt-vit-b-ssv2": ("| ViT-B |  |  | -1.0 |", "RLT | 70.2 % | 7.2 | 1.4 x |"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_card_is_what_its_generator_writes_and_holds_the_paper_s_numbers(name):
    checkpoint = next(each for each in make.CHECKPOINTS if each.name == name)
    path = ROOT / "model_cards" / name / "README.md"
    text, data = path.read_text(), ModelCard.load(path).data
    assert text == make.make_card(checkpoint), "run python -m model_cards.make"
    assert f"]({name}/README.md) | {checkpoint.base} |" in (ROOT / "model_cards" / "README.md").read_text()
    assert (data.license, data.base_model) == ("cc-by-nc-4.0", checkpoint.base)
    assert data.eval_results is None
    untrained, tuned = ROWS[name]
    assert untrained in text
    assert ("table 1" in text) == (tuned is not None)
    assert tuned is None or tuned in text


def test_every_checkpoint_has_a_card_and_it_takes_our_results_beside_the_paper_s(tmp_path):
    names = {path.parent.name for path in (ROOT / "model_cards").glob("*/README.md")}
    assert names == set(ROWS) == {checkpoint.name for checkpoint in make.CHECKPOINTS}
    folder = save_model(tmp_path / "rlt")
    (folder / "README.md").write_text(make.make_card(make.CHECKPOINTS[0]))
    path = write_card(folder, repo_id="user/rlt", dataset="Kinetics-400", evaluations=[{"accuracy": 0.9125}])
    card = ModelCard.load(path)
    assert [result.metric_value for result in card.data.eval_results] == [0.9125]
    assert "## The paper's numbers" in card.text
    assert "## Making this checkpoint" in card.text
