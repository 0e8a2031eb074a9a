# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Meta's own V-JEPA 2 files, encoders and probes, against literal references."""

from pathlib import Path

import pytest
import torch
from transformers import VJEPA2Config, VJEPA2Model
from typer.testing import CliRunner

from helpers import reference_vjepa2_files as files
from helpers.checkpoints import convert_original, difference, prefixed, save
from helpers.tiny import SIDE, moving_clips
from hf_rlt import RLTVJEPA2ForVideoClassification, RLTVJEPA2Model, RLTVJEPA2VideoProcessor
from hf_rlt.cli import app
from hf_rlt.conversion import ConversionSettings
from hf_rlt.conversion.from_original import build
from hf_rlt.conversion.infer_config import infer_config
from hf_rlt.conversion.key_names import NamedWeights
from hf_rlt.conversion.layouts import plain_names

CLIPS, GRID_SIDE = moving_clips(2), SIDE // files.PATCH
ENCODER, PREDICTOR, PROBE = files.encoder(), files.predictor(), files.probe()
ROUNDING = 5e-5  # of float32, on tokens of size 1 to 4


def checkpoint(**more) -> dict:
    """Return the content of a file, as Meta's training writes it."""
    target = {name: value + 1 for name, value in ENCODER.items()}
    parts = {"encoder": ENCODER, "predictor": PREDICTOR, "target_encoder": target}
    parts = {part: prefixed("module.backbone.", weights) for part, weights in parts.items()}
    return {**parts, "opt": {"state": {0: {"step": torch.ones(1)}}}, "scaler": None, "epoch": 3, "loss": 0.5, **more}


def convert_vjepa2(content: dict, out: Path, **changes):
    return convert_original(content, out, num_attention_heads=files.HEADS, **changes)


@torch.no_grad()
def test_features_and_predictions_are_those_of_the_definition(tmp_path):
    done = convert_vjepa2(checkpoint(), tmp_path / "out", rule={"threshold": None})
    assert (done.kind, done.architecture) == (
        "original V-JEPA 2 checkpoint, encoder with its predictor",
        "RLTVJEPA2Model",
    )
    assert [note.split(",")[0] for note in done.notes] == ["The file also holds a target_encoder"]
    context, targets = [0, 3, 5, 17, 40, 63], [1, 18, 62]
    model = RLTVJEPA2Model.from_pretrained(tmp_path / "out").eval()
    masks = {"context_mask": [torch.tensor([context] * 2)], "target_mask": [torch.tensor([targets] * 2)]}
    found = model(CLIPS, skip_predictor=False, **masks)
    for i, clip in enumerate(CLIPS):
        expected = files.features(ENCODER, clip)
        assert expected.abs().max() > 1
        assert difference(found.last_hidden_state[i], expected) < ROUNDING
        predicted = files.predictions(PREDICTOR, expected, context, targets, GRID_SIDE)
        assert difference(found.predictor_output.last_hidden_state[i], predicted) < ROUNDING
    masks_in_order = torch.stack([PREDICTOR[f"mask_tokens.{i}"] for i in range(files.MASKS)])  # of which one is used
    assert torch.equal(model.predictor.embeddings.mask_tokens, masks_in_order)
    processor = RLTVJEPA2VideoProcessor.from_pretrained(tmp_path / "out")
    assert processor.size["shortest_edge"] == int(SIDE * 256 / 224)
    assert list(processor.image_mean) == [0.485, 0.456, 0.406]


@torch.no_grad()
def test_a_probe_makes_it_a_classifier(tmp_path):
    probe = save(tmp_path / "probe.pt", {"classifiers": [prefixed("module.", PROBE)], "opt": [{}], "epoch": 20})
    done = convert_vjepa2(checkpoint(), tmp_path / "out", probe=probe, rule={"threshold": None})
    assert (done.architecture, done.num_labels) == ("RLTVJEPA2ForVideoClassification", files.CLASSES)
    assert done.kind.endswith("and a probe")
    assert any("the original's is 1e-5" in note for note in done.notes)
    model = RLTVJEPA2ForVideoClassification.from_pretrained(tmp_path / "out").eval()
    found = model(CLIPS).logits
    for i, clip in enumerate(CLIPS):
        tokens = files.features(ENCODER, clip)
        assert difference(found[i], files.logits(PROBE, tokens, 1e-6)) < ROUNDING
        assert difference(found[i], files.logits(PROBE, tokens, 1e-5)) < 1e-3  # the original's norms


def test_probes_that_would_give_other_scores_are_refused_or_named(tmp_path):
    probes = [prefixed("module.", weights) for weights in (PROBE, files.probe(seed=9))]
    probe = save(tmp_path / "probe.pt", {"classifiers": probes})
    done = convert_vjepa2(checkpoint(), tmp_path / "out", probe=probe)
    assert "The file holds 2 probes: the first was taken." in done.notes
    with pytest.raises(ValueError, match=r"probes have 16 attention heads, .* as many as the encoder, 8"):
        convert_original(checkpoint(), tmp_path / "no", probe=probe, num_attention_heads=8)
    words = ["convert", tmp_path / "out", "-o", tmp_path / "no", "--probe", probe]
    refused = CliRunner().invoke(app, list(map(str, words)))
    assert refused.exit_code == 2
    assert "expected a file of original weights for the probe" in refused.stderr


def test_an_encoder_alone_is_taken_for_videomaes_and_the_note_says_so(tmp_path):
    done = convert_vjepa2(ENCODER, tmp_path / "out")
    assert done.architecture == "RLTVideoMAEModel"
    assert any("An encoder of V-JEPA 2 has the same names" in note for note in done.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("mask_tokens.3"), "1 missing: mask_tokens"),
        (lambda w: w.pop("predictor_blocks.0.norm1.bias"), r"1 missing: predictor_blocks\.0\.norm1\.bias"),
        (lambda w: w.update(action_encoder=torch.ones(2)), "1 unexpected: action_encoder"),
        (lambda w: w.update(predictor_embed=torch.ones(2)), "unexpected: predictor_embed"),
        (lambda w: w["predictor_proj.weight"].fill_(torch.nan), "NaN"),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, message):
    weights = {name: value.clone() for name, value in PREDICTOR.items()}
    change(weights)
    with pytest.raises(ValueError, match=message):
        convert_vjepa2({"encoder": ENCODER, "predictor": weights}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tables_of_positions_are_dropped_and_pooling_cannot_be_chosen(tmp_path):
    tables = {"encoder": {**ENCODER, "pos_embed": torch.ones(1, 64, files.WIDTH)}, "predictor": PREDICTOR}
    done = convert_vjepa2(tables, tmp_path / "out")
    assert done.notes == ["Dropped pos_embed: V-JEPA 2's positions are rotary."]
    with pytest.raises(ValueError, match="V-JEPA 2 has no choice between mean and first token"):
        convert_vjepa2(tables, tmp_path / "no", pooling="mean")


@pytest.mark.parametrize(
    ("width", "depth", "heads", "hidden"),
    [(1024, 24, 16, 4096), (1280, 32, 16, 5120), (1408, 40, 22, 6144)],
    ids=["L", "H", "g"],
)
def test_the_published_sizes_are_told_by_shapes(width, depth, heads, hidden, monkeypatch):
    for name, value in {
        "WIDTH": width,
        "DEPTH": depth,
        "HIDDEN": hidden,
        "PATCH": 16,
        "PRED_DEPTH": 12,
        "MASKS": 10,
    }.items():
        monkeypatch.setattr(files, name, value)
    shapes = lambda named, seed: {name: torch.empty(shape, device="meta") for name, shape in named.items()}  # noqa: E731
    monkeypatch.setattr(files, "random_weights", shapes)
    named = plain_names(NamedWeights(Path("w.pt"), {**files.encoder(), **files.predictor()}))
    config, notes = infer_config(named, ConversionSettings())
    assert "Assumed num_frames 64 and image_size 256" in notes[0]
    published = {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "mlp_ratio": hidden / width,
    }
    stock = VJEPA2Config(**published)  # all else is what the published models have
    differing = {name for name, value in stock.to_dict().items() if config.to_dict().get(name) != value}
    assert differing <= {"model_type", "dtype", "transformers_version"}
    with torch.device("meta"):
        expected = VJEPA2Model(stock).state_dict()
    model, dropped = build(named, config)
    assert dropped == []
    assert {n: v.shape for n, v in model.state_dict().items()} == {n: v.shape for n, v in expected.items()}
