# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Model cards: metadata as the Hub reads it, text that claims what is known, and what a person wrote."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from huggingface_hub import EvalResult, ModelCard, ModelCardData, metadata_load
from transformers import VivitConfig

from helpers.cards import BASE, EVALUATION, change, results
from helpers.model_folders import save_family
from helpers.tiny import FRAMES, TINY, TINY_VJEPA2, moving_clips
from helpers.videos import ramp, write_video
from hf_rlt import RLTVideoMAEConfig, RLTVideoProcessor, baselines
from hf_rlt.families import FAMILIES, Family
from hf_rlt.hub import read_card, write_card
from hf_rlt.hub.card_metadata import RLTCardData
from hf_rlt.hub.results import own_results
from hf_rlt.models.rlt_config import RLTConfigMixin
from hf_rlt.training import save


def test_metadata_is_what_the_hub_reads(folder):
    examples = [{"src": "https://example.org/a.mp4", "example_title": "A"}]
    settings = {"dataset": "user/videos", "evaluations": [EVALUATION], "widget": examples}
    path = write_card(folder, base_model=BASE, handler=True, **settings)
    assert path == folder / "README.md"
    found = metadata_load(path)
    assert "null" not in json.dumps(found)
    index = found.pop("model-index")
    tags = ["video-classification", "videomae", "rlt", "run-length-tokenization", "custom_code", "endpoints-template"]
    assert found == {
        "library_name": "transformers",
        "pipeline_tag": "video-classification",
        "license": "cc-by-nc-4.0",
        "base_model": BASE,
        "datasets": ["user/videos"],
        "metrics": ["accuracy"],
        "widget": examples,
        "tags": tags,
    }
    assert ModelCardData(**{**found, "model-index": index}).to_dict() == {**found, "model-index": index}
    protocol = "(1,320 videos, 2 more unreadable, 5 x 3 views, threshold 0.1)"
    assert {(r.metric_type, r.metric_name, r.dataset_type, r.dataset_name): r.metric_value for r in results(path)} == {
        (metric, f"{title} {protocol}", "user/videos", "user/videos"): EVALUATION[metric]
        for metric, title in (
            ("accuracy", "Top-1 accuracy"),
            ("top_5_accuracy", "Top-5 accuracy"),
            ("mean_class_accuracy", "Mean-class accuracy"),
            ("tokens_computed", "Tokens computed"),
        )
    }
    assert f"| Tokens computed {protocol} | 21.4 % | user/videos | this model |" in path.read_text()


def test_numbers_of_different_sources_stay_apart():
    ours, paper = (
        EvalResult("video-classification", "k", "K", "accuracy", value, source_name=name, source_url=url)
        for value, name, url in ((0.5, None, None), (0.8, "paper", "https://arxiv.org/abs/2411.05222"))
    )
    written = RLTCardData(model_name="m", eval_results=[ours, paper]).to_yaml()
    read = ModelCard(f"---\n{written}\n---\n").data.eval_results
    assert {(r.metric_value, r.source_url) for r in read} == {(0.5, None), (0.8, paper.source_url)}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "Top-1 accuracy"),
        ({"num_clips": 1, "num_crops": 1, "unreadable": 0}, "Top-1 accuracy (1 view)"),
        ({"num_frames": 64, "threshold": 0.25}, "Top-1 accuracy (64 frames, threshold 0.25)"),
        ({"tokens_computed": 1.0}, "Top-1 accuracy (dense)"),
        ({"token_keep_ratio": 0.7}, "Top-1 accuracy (70 % of the tokens drawn at random)"),
    ],
)
def test_a_result_names_its_protocol_as_far_as_it_is_known(changes, name):
    assert own_results({"accuracy": 0.5, **changes}, "digits", FRAMES)[0].metric_name == name


def test_the_code_on_a_card_runs_as_it_stands(folder_of_each, monkeypatch, capsys):
    folder = folder_of_each
    write_video(folder.parent / "clip.mp4", ramp(40))
    text = write_card(folder).read_text()
    monkeypatch.chdir(folder.parent)
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    installed, remote, plain = ({"__builtins__": __builtins__} for _ in range(3))
    for block, names in zip(blocks, (installed, remote, plain), strict=True):
        exec(block, names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == lines[-1]  # the two pipelines
    assert "act" in lines[0]
    assert "trust_remote_code" in blocks[1]
    clips = moving_clips()
    assert type(plain["dense"]).__module__.startswith("transformers.models.")
    with torch.no_grad():
        ones = torch.ones(4, 64, dtype=torch.int64)
        logits = installed["model"].eval()(clips, run_lengths=ones).logits
        assert torch.equal(plain["dense"].eval()(clips).logits, logits)


def test_only_what_works_is_promised(folder):
    for path in folder.glob("*.py"):
        path.unlink()
    change(folder / "config.json", length_embedding=True, position_grid=[8, 4, 4])
    text = write_card(folder).read_text()
    assert "Scores differ, since the run-length embedding is left out and positions are not interpolated" in text
    assert "Positions: interpolated from a grid of 8 x 4 x 4 tubelets" in text
    sections = ("## Results", "## Licence", "## Training", "## Inference Endpoints", "license:", "base_model")
    for unknown in (*sections, "trust_remote_code", "custom_code", "as the model without RLT does"):
        assert unknown not in text
    change(folder / "config.json", threshold=None, proportional_attention=True, id2label=None, label2id=None)
    (folder / "video_preprocessor_config.json").unlink()
    dense = write_card(folder).read_text()
    for said in (
        "as an RLT model with threshold none: every token",
        "Default threshold: none",
        "Proportional attention",
    ):
        assert said in dense
    assert "frames of the video apart" not in dense


RLT_TAGS = ["rlt", "run-length-tokenization"]


@pytest.mark.parametrize(
    ("kind", "changes", "says", "tags"),
    [
        (
            "ToMe",
            {"r": [5, 4, 3], "threshold": 0.1},
            "so many tokens: 5, 4, 3, of those that RLT computes (threshold 0.1)",
            ["tome", "token-merging", "rlt", "run-length-tokenization"],
        ),
        (
            "ToMe",
            {"r": 5, "num_tokens": 0.4},
            "of those that RLT computes (40 % of the tokens)",
            ["tome", "token-merging", *RLT_TAGS],
        ),
        ("STA", {"r": 1}, "1 tokens leave each time slot", ["sta", "semantic-aware-temporal-accumulation"]),
        ("RandomMasking", {"token_keep_ratio": 0.7}, "70 % of the tokens are computed", ["random-masking"]),
        (
            "ByDifference",
            {"num_tokens": 0.5, "budget_groups": 2},
            "32 of 64 tokens are computed: the first of each place, and those whose patch embeddings differ most from the "
            "one before at the same place, as many in each of 2 groups of tubelets",
            ["token-selection"],
        ),
    ],
)
def test_a_baseline_s_card_says_what_it_is(tmp_path, kind, changes, says, tags):
    config = getattr(baselines, f"{kind}VideoMAEConfig")(**TINY, **changes)
    config.architectures = [f"{kind}VideoMAEForVideoClassification"]
    config.save_pretrained(tmp_path)
    card = read_card(write_card(tmp_path))
    assert says in card.text
    assert "not an RLT model" in card.text
    assert "RLT-VideoMAE" not in card.text
    assert ("## Threshold" in card.text or "## Budget" in card.text) == ("rlt" in tags)
    assert card.data.tags == ["video-classification", "videomae", *tags]
    assert "trust_remote_code" not in card.text


def test_a_new_family_s_card_asks_its_configuration(tmp_path, monkeypatch):
    class RLTVivitConfig(RLTConfigMixin, VivitConfig):
        model_type, card_tags = "rlt_vivit", ["rlt", "vivit-tag"]
        card_sentence, threshold, clip_shape, grid = "ViViT with RLT.", 0.2, (32, 3, 224, 224), (16, 14, 14)
        tubelet_size, patch_size = 2, 16
        size_limits: ClassVar[dict] = {}  # its tubelet_size in a file is three numbers

    monkeypatch.setitem(FAMILIES, "rlt_vivit", Family(RLTVivitConfig, object, object, stock="vivit"))
    RLTVivitConfig(num_labels=3).save_pretrained(tmp_path)
    card = read_card(write_card(tmp_path))
    for said in ("3 classes: ViViT with RLT.", "per clip: 3,136 (16 x 14 x 14)", "Default threshold: 0.2."):
        assert said in card.text
    assert "VivitForVideoClassification.from_pretrained(name)" in card.text
    assert card.data.tags == ["video-classification", "vivit", "rlt", "vivit-tag", "run-length-tokenization"]


@pytest.mark.parametrize(
    ("settings", "sentence", "section", "limit"),
    [
        (
            {},
            "is not computed if it hardly differs from the one before it at the same place (threshold 0.1): what stands "
            "still costs nothing.",
            "Default threshold: 0.1. It is the mean absolute difference",
            "slow drift below it goes unnoticed",
        ),
        (
            {"rule": "anchor"},
            "differs from the last one that was computed at the same place (anchor, threshold 0.1): what stands still",
            "Default threshold: 0.1. It is the mean absolute difference",
            "The gain depends on the content",
        ),
        (
            {"num_tokens": 0.3},
            "Of the 64 tubelets of a clip, each 8 x 8 pixels of 2 frames, 19 are computed (30 % of the tokens): the first "
            "at each place, and those that differ most from the one before it there. Every clip costs the same",
            "Default: 30 % of the tokens. That is 19 of a clip's 64 tokens. The fewest possible are 16,",
            "Every clip costs the same. In hand-held",
        ),
        (
            {"max_tokens": 40, "rule": "anchor", "budget_groups": 3},
            "(anchor, threshold 0.1, at most 40 tokens, in 3 groups): what stands still costs nothing, and no clip costs "
            "more than 40 of 64 tokens.",
            "Default: anchor, threshold 0.1, at most 40 tokens, in 3 groups. That is 40 of a clip's 64 tokens. The",
            "In a clip that needs more tokens than the budget holds",
        ),
        (
            {"num_tokens": 0.5, "budget": "batch"},
            "32 on average are computed (50 % of the tokens of a batch): the first at each place, and those that differ "
            "most from the one before it there. Every batch costs the same",
            "That is 32 of a clip's 64 tokens, as a mean over the clips of a batch, which share them. The",
            "Every batch costs the same. In hand-held",
        ),
        (
            {"max_tokens": 0.5, "threshold": None},
            "32 are computed (at most 50 % of the tokens): the first at each place",
            "Default: at most 50 % of the tokens.",
            "In a clip that needs more tokens",
        ),
    ],
)
def test_a_card_says_what_the_rule_computes(folder, settings, sentence, section, limit):
    change(folder / "config.json", **settings)
    text = write_card(folder, handler=True, dataset="digits", evaluations=[{**EVALUATION, **settings}]).read_text()
    for said in (sentence, section, limit):
        assert said in text
    words = RLTVideoMAEConfig(**{**TINY, **settings}).run_rule.describe()
    assert f"| Top-1 accuracy (1,320 videos, 2 more unreadable, 5 x 3 views, {words}) | 91.2 % |" in text
    budget = next((name for name in ("num_tokens", "max_tokens") if name in settings), None)
    assert ("## Budget" in text) == ("depend on the videos, the views and the budget" in text) == (budget is not None)
    # What it says of settings can be done.
    for changes in re.findall(r"`AutoVideoProcessor.from_pretrained\(name, (.+?)\)`", text):
        rule = RLTVideoProcessor.from_pretrained(folder, **{**settings, **eval(f"dict({changes})")}).run_rule
        assert rule.drops == ("threshold=None" not in changes)
        assert (budget is None) == (changes == "threshold=None")
    (request,) = re.findall(r"```json\n(.*?)\n```", text)
    asked = json.loads(request)["parameters"]
    wanted = {"num_tokens": settings["num_tokens"]} if budget == "num_tokens" else {"threshold": 0.1}
    assert asked == {"top_k": 5, **wanted}


def test_the_licence_is_inherited(folder, tmp_path):
    assert metadata_load(write_card(folder, base_model="user/model", license="mit"))["license"] == "mit"
    assert "inherited" not in write_card(folder, base_model="user/model", license="cc-by-nc-4.0").read_text()
    with pytest.raises(ValueError, match=r"--license mit: weights from MCG-NJU/videomae-base inherit cc-by-nc-4\.0"):
        write_card(folder, base_model=BASE, license="mit")
    assert "CC BY-NC 4.0, inherited" in write_card(folder, base_model=BASE).read_text()
    # A folder is a copy of something: its card says of what. Where it lies is nobody's business.
    tuned = Path(shutil.copytree(folder, tmp_path / "tuned", ignore=shutil.ignore_patterns("README.md")))
    change(tuned / "trainer_state.json", global_step=500, epoch=10.0, log_history=[])
    path = write_card(tuned, base_model=str(folder))
    found = metadata_load(path)
    assert (found["base_model"], found["license"], found["base_model_relation"]) == (BASE, "cc-by-nc-4.0", "finetune")
    assert str(tmp_path) not in path.read_text()


def test_a_card_of_v_jepa_2_names_it_and_leaves_its_licence_to_who_writes(tmp_path):
    folder, base = tmp_path / "rlt-vjepa2", "facebook/vjepa2-vitl-fpc16-256-ssv2"
    save_family(folder, "rlt_vjepa2", TINY_VJEPA2, ["falls", "grows"])
    card = read_card(write_card(folder, base_model=base))
    assert "license" not in metadata_load(folder / "README.md")
    assert "[V-JEPA 2](https://arxiv.org/abs/2506.09985) with Run-Length Tokenization" in card.text
    assert card.data.tags == ["video-classification", "vjepa2", "rlt", "run-length-tokenization", "custom_code"]
    assert metadata_load(write_card(folder, license="mit"))["license"] == "mit"
    assert "VideoMAE" not in card.text.replace("the paper's VideoMAE", "")


def test_training_and_its_results_are_read_from_the_folder(folder):
    logs = [{"learning_rate": 1e-3, "tokens_computed": 0.2}, {"learning_rate": 5e-4, "tokens_computed": 0.3}, {}]
    change(folder / "trainer_state.json", global_step=1500, epoch=12.5, train_batch_size=8, log_history=logs)
    (folder / "training_args.bin").write_bytes(b"a pickle that nobody opens")
    measured = {"eval_accuracy": 0.75, "eval_tokens_computed": 0.25, "eval_clips": 40, "train_loss": 0.125}
    change(folder / "all_results.json", **measured)
    text = write_card(folder).read_text()
    for line in (
        "Steps: 1,500",
        "Epochs: 12.5",
        "pass and device: 8",
        "logged: 0.001",
        "loss: 0.125",
        "in training: 25.0 %",
    ):
        assert line in text
    assert "were trained with RLT" not in text
    assert "model-index" not in text  # of an unknown data set
    found = {r.metric_type: r.metric_value for r in results(write_card(folder, dataset="digits"))}
    assert found == {"accuracy": 0.75, "tokens_computed": 0.25}
    assert "datasets" not in metadata_load(folder / "README.md")  # no id of the Hub
    later = {"eval_accuracy": 0.5, "threshold": None, "split": "held"}
    text = write_card(folder, dataset="digits", evaluations=[later]).read_text()
    assert "| Top-1 accuracy (dense) | 50.0 % | digits, held | this model |" in text
    write_card(folder, dataset="digits")  # what was measured later is not lost to training's own
    assert [(r.metric_value, r.dataset_split) for r in results(folder / "README.md")] == [(0.5, "held")]


def test_settings_hardware_and_evaluations_during_training_are_on_the_card(folder):
    logs = [
        {"step": 5, "epoch": 0.5, "loss": 2.5},
        {"step": 10, "epoch": 1.0, "eval_loss": 2.25, "eval_accuracy": 0.5, "eval_tokens_computed": 0.25},
        {"step": 15, "epoch": 1.5, "loss": 1.5},
        {"step": 20, "epoch": 2.0, "eval_loss": 1.25, "eval_accuracy": 0.625, "eval_tokens_computed": 0.25},
        {"step": 20, "epoch": 2.0, "train_runtime": 7.0},
        {"step": 20, "epoch": 2.0, "eval_loss": 1.0, "eval_accuracy": 0.75},  # the final evaluation is a result
    ]
    change(folder / "trainer_state.json", global_step=20, epoch=2.0, log_history=logs)
    change(folder / "all_results.json", train_samples_per_second=41.25)
    run = {"settings": {"learning_rate": 0.001, "recipe": "a`b"}, "hardware": "2 x NVIDIA H200"}
    change(folder / "training.json", **run, versions={"torch": "2.6"})
    text = write_card(folder).read_text()
    for line in (
        "- Settings: `learning_rate=0.001`, ``recipe=a`b``\n- Hardware: 2 x NVIDIA H200\n- Versions: torch 2.6\n",
        "- Clips per second in training: 41.2\n",
        "| Epoch | Step | Training loss | Validation loss | Top-1 accuracy | Tokens computed |\n",
        "| 1 | 10 | 2.5 | 2.25 | 50.0 % | 25.0 % |\n| 2 | 20 | 1.5 | 1.25 | 62.5 % | 25.0 % |\n\n",
    ):
        assert line in text
    change(folder / "training.json", settings=["x"], hardware=None, versions=3)  # not as we wrote it
    change(folder / "trainer_state.json", log_history=[{"eval_accuracy": 0.5}, {"eval_accuracy": "no number"}])
    text = write_card(folder).read_text()
    assert "| Top-1 accuracy |\n| ---: |\n| 50.0 % |\n" in text
    assert "Settings" not in text


def test_what_a_person_wrote_stays(folder):
    write_card(folder, repo_id="user/rlt-tiny", dataset="digits", evaluations=[EVALUATION], handler=True)
    card = read_card(folder / "README.md")
    card.data["language"], card.data["co2"] = "en", {"emissions": 3, "source": None}
    card.data.tags.append("sports")
    source = {"source_name": "somebody", "source_url": "https://example.org"}
    card.data.eval_results.append(EvalResult("video-classification", "digits", "digits", "accuracy", 0.7, **source))
    content = str(card).replace("<!-- hf_rlt: begin", "Read {{ this }} first.\n\n<!-- hf_rlt: begin")
    (folder / "README.md").write_text(f"{content}\n## Mine\n\n{{% raw %}} Thanks.\n")
    (folder / "handler.py").unlink()
    path = write_card(folder, license="mit")
    found, text = metadata_load(path), path.read_text()
    assert (found["language"], found["co2"], found["license"]) == ("en", {"emissions": 3}, "mit")
    assert "sports" in found["tags"]
    assert "endpoints-template" not in found["tags"]
    assert len(results(path)) == 5
    places = ("Read {{ this }} first.", "hf_rlt: begin", "hf_rlt: end", "{% raw %} Thanks.\n")
    assert sorted(map(text.index, places)) == list(map(text.index, places))
    assert text.count('name = "user/rlt-tiny"\n') == 3
    assert "[somebody](https://example.org), not here" in text
    assert write_card(folder).read_text() == text  # again: the same
    assert "# better\n" in write_card(folder, repo_id="user/better").read_text()


def test_another_s_card_is_not_lost(folder):
    path, before = folder / "README.md", "---\nlicense: mit\nlanguage: en\n---\n# Mine\n"
    path.write_text(before)
    files = sorted(folder.iterdir())
    with pytest.raises(ValueError, match="found another's card: pass --overwrite"):
        write_card(folder, handler=True)
    assert (path.read_text(), sorted(folder.iterdir())) == (before, files)
    assert metadata_load(write_card(folder, output=folder / "new.md"))["language"] == "en"
    assert path.read_text() == before
    found = metadata_load(write_card(folder, overwrite=True))
    assert (found["license"], found["language"]) == ("mit", "en")
    assert "# Mine" not in path.read_text()


def test_a_training_ends_with_a_card_and_does_not_fail_for_it(folder, caplog, monkeypatch):
    args = SimpleNamespace(hub_model_id="user/mine", push_to_hub=True, output_dir=str(folder))
    trainer = SimpleNamespace(args=args, model=SimpleNamespace(config=RLTVideoMAEConfig(**TINY)))
    training = (trainer, SimpleNamespace(positions=[0.2, 0.8], num_crops=3), {"eval_accuracy": 0.5}, "sports", BASE)
    save.save_card(*training)
    (result,) = read_card(folder / "README.md").data.eval_results
    assert (result.metric_name, result.dataset_name) == ("Top-1 accuracy (2 x 3 views, threshold 0.1)", "sports")
    assert result.dataset_split == "validation"
    assert 'name = "user/mine"\n' in (folder / "README.md").read_text()
    (folder / "README.md").write_text("# Mine\n")
    save.save_card(*training)
    assert (folder / "README.md").read_text() == "# Mine\n"
    assert "The model is saved, its card is not" in caplog.text
