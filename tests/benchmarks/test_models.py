# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The benchmarks that run models: methods brought to a number of tokens, speed, accuracy, and their commands."""

import math

import numpy as np
import pytest
import torch

from benchmarks import speed as speed_command
from benchmarks.common import accuracy, methods, speed
from benchmarks.common.accuracy import (
    Setting,
    budget_settings,
    curve,
    equal_token_settings,
    evaluate,
    rlt_settings,
)
from benchmarks.common.shares import thresholds_for_shares
from helpers.tiny import FRAMES, SIDE, TINY, moving_clips, randomise
from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, RLTVideoProcessor, find_runs
from hf_rlt.baselines import STAVideoMAEConfig, ToMeVideoMAEConfig
from hf_rlt.data import EvalDataset, from_folder
from hf_rlt.tokens import count_tokens


def test_tome_leaves_just_what_is_wanted():
    config = ToMeVideoMAEConfig()
    for target in (1567, 1028, 600, 235, 40):
        plan = methods.tome_schedule_for(config, 1568, target)
        assert ToMeVideoMAEConfig(r=plan).token_counts(1568)[-1] == target
        assert len(set(plan[:-1])) <= 2 or target < 100  # even but for the limit of half, and the last block
    fewest = methods.tome_schedule_for(config, 1568, 0)
    assert ToMeVideoMAEConfig(r=fewest).token_counts(1568)[-1] == 1  # half is the limit
    assert methods.tome_schedule_for(config, 1568, 1568) == [0] * 12


def test_sta_leaves_what_its_steps_allow():
    config = STAVideoMAEConfig()
    assert methods.sta_r_for(config, 1568, 672) == 64
    assert methods.sta_r_for(config, 1568, 680) == 63  # 14 tokens a step
    assert methods.sta_r_for(config, 1568, 1568) == 0
    assert STAVideoMAEConfig(r=methods.sta_r_for(config, 1568, 0)).token_counts(1568)[-1] == 14
    assert config.r == 0  # the trial was another configuration


def test_all_methods_use_the_same_memory_and_dense_ones_agree(base):
    clips = moving_clips()
    ones = torch.ones(4, 64, dtype=torch.int64)
    wanted = base(clips, run_lengths=ones).logits
    own = {weight.data_ptr() for weight in base.parameters()}
    for method in methods.METHODS.values():
        model = methods.share_weights(base, method)
        assert {weight.data_ptr() for weight in model.parameters()} == own
        assert torch.equal(methods.forward(method, model, clips, ones).logits, wanted), method.name


def test_mixed_batches_alternate_still_and_lively_files(files, processor):
    found = speed.workloads(files, [1, 2, 4], processor)
    assert [(each.name, each.batch) for each in found[:3]] == [("lively.mp4", 1), ("lively.mp4", 2), ("lively.mp4", 4)]
    mixed = [each for each in found if each.name == speed.MIXED]
    assert [file.stem for file in mixed[0].files] == ["still", "lively"]
    assert [file.stem for file in mixed[1].files] == ["still", "lively", "mixed_up", "still"]
    pixels, runs = mixed[0].read(processor)
    assert (runs > 0).sum(1).tolist()[0] == 16
    assert (runs > 0).sum(1).tolist()[1] > 58  # noise may be like the noise before it
    assert torch.equal(runs, find_runs(pixels, 0.1, 2, 8))
    several, _ = found[2].read(processor)
    starts = [torch.equal(several[0], several[i]) for i in range(1, 4)]
    assert several.shape == (4, FRAMES, 3, SIDE, SIDE)
    assert not any(starts)  # other parts of the file


@pytest.mark.parametrize("match", ["left", "mean"])
def test_methods_are_brought_to_rlts_tokens(base, match):
    runs = find_runs(moving_clips(), 0.1, 2, 8)
    selected = methods.select_methods(["standard", "random", "ToMe", "STA", "RLT"])
    models = {method.name: methods.share_weights(base, method) for method in selected}
    speed.fit(models, selected, runs, match)
    key = {"left": "tokens_left", "mean": "tokens_by_block"}[match]
    found = {
        method.name: methods.cost(models[method.name].config, (method.lengths(runs) > 0).sum(1).tolist())[key]
        for method in selected
    }
    assert found["standard"] == 64
    assert found["random"] == found["RLT"] == 34
    assert found["ToMe"] == pytest.approx(34, abs=0 if match == "left" else 1.5)
    assert found["STA"] == pytest.approx(34, abs=3.5 if match == "left" else 7)


def test_the_table_names_the_fastest_and_means():
    rows = []
    for clip, last in (("a", 1.0), ("b", 4.0)):
        for name, seconds in {"standard": 8.0, "random": 0.1, "ToMe": 2.0, "RLT": last, "RLT + random": 0.2}.items():
            forward = {"seconds": seconds, "speedup": 8 / seconds}
            rows.append({"clip": clip, "batch": 1, "method": name, "forward": forward, "flop_ratio": 2.0})
    assert speed_command.fastest(rows, "forward") == ["RLT", "ToMe"]
    lines = speed_command.summary(rows).splitlines()
    assert "| 2 clips, geometric mean | 1 | RLT | 4.00 x | 1.00 |" in lines  # the geometric mean of 8 and 2; 2 / 2
    assert "| 2 clips, geometric mean | 1 | ToMe | 4.00 x | 2.00 |" in lines


def test_accuracy_counts_each_video_once_for_each_setting(base, labelled, processor):
    folder, names = labelled
    clips = from_folder(folder, names)
    dense = RLTVideoProcessor(**{**processor.to_dict(), "threshold": None})
    data = EvalDataset(clips, dense, num_clips=2, on_bad_video="skip")
    settings = [Setting(methods.STANDARD, "dense"), *rlt_settings([0.0, 0.1])]
    settings += rlt_settings([0.1], "RLT, proportional")
    random = Setting(methods.METHODS["random"], "half", {"token_keep_ratio": 0.5})
    rows = evaluate(base, data, [*settings, random], batch_size=4, workers=0)
    readable = [i for i in range(len(data)) if data[i]["labels"] >= 0]
    assert len(readable) == len(data) - 1 == 5
    for row, threshold in zip(rows, (None, 0.0, 0.1), strict=False):
        hits, tokens = 0, []
        for i in readable:
            views = data[i]["pixel_values"]
            runs = find_runs(views, threshold, 2, 8)
            scores = base(views, run_lengths=runs).logits.softmax(1).mean(0)
            hits += int(scores.argmax()) == int(data[i]["labels"])
            tokens += (runs > 0).sum(1).tolist()
        assert row["videos"] == 5
        assert row["accuracy"] == hits / 5
        assert row["tokens_left"] == pytest.approx(np.mean(tokens))
        assert row["share"] == pytest.approx(np.mean(tokens) / 64)
    assert rows[3]["tokens_left"] == rows[2]["tokens_left"]
    assert rows[3]["settings"] == {"proportional_attention": True}
    assert rows[4]["share"] == 0.5
    assert rows[0]["speedup"] == 1


def test_random_masking_is_the_same_in_each_run(base, labelled, processor, monkeypatch):
    dense = RLTVideoProcessor(**{**processor.to_dict(), "threshold": None})
    data = EvalDataset(from_folder(*labelled), dense, on_bad_video="skip")
    outputs = []
    monkeypatch.setattr(accuracy, "forward", lambda *given: outputs.append(methods.forward(*given)) or outputs[-1])

    def scores(seed):
        setting = Setting(methods.METHODS["random"], "", {"token_keep_ratio": 0.2})
        evaluate(base, data, [setting], batch_size=8, workers=0, seed=seed)
        return outputs[-1].logits

    assert torch.equal(scores(0), scores(0))
    assert not torch.equal(scores(0), scores(1))


def test_curves_and_matched_settings():
    config = RLTVideoMAEConfig()
    assert math.prod(config.grid) == 1568
    found = curve(config, 1568, 0.1)
    assert {setting.method.name for setting in found} == set(methods.METHODS)
    assert len({(setting.method.name, setting.level) for setting in found}) == len(found)
    at = {setting.method.name: setting for setting in equal_token_settings(config, 1568, 672, 0.1)}
    assert at["STA"].values == {"r": 64}
    assert at["random"].values["token_keep_ratio"] * 1568 == pytest.approx(672)
    assert sum(at["ToMe"].values["r"]) == 1568 - 672
    assert at["RLT"].rule == {"threshold": 0.1}
    assert next(iter(at)) == "standard"


def test_speed_command(checkpoint, files, measured, tmp_path):
    words = ["--model", checkpoint, "--batch-size", 2, "--repeats", 2, "--end-to-end", 1, "--frame-stride", 1]
    selected = [word for name in ("standard", "ToMe", "RLT") for word in ("--method", name)]
    record, text = measured("speed", *files[:2], *words, *selected, "--training")
    rows = record["rows"]
    assert [(row["clip"], row["method"]) for row in rows] == [
        (clip, name) for clip in ("lively.mp4", "still.mp4", "mixed") for name in ("standard", "ToMe", "RLT")
    ]
    for row in rows:
        assert [len(row[what]["times"]) for what in ("forward", "end_to_end", "training")] == [2, 1, 2]
        assert row["forward"]["clips_per_second"] == pytest.approx(2 / row["forward"]["seconds"])
        assert row["training"]["lower"] <= row["training"]["seconds"] <= row["training"]["upper"]
    standard, tome, rlt = rows[6:]
    assert 36 < rlt["tokens_left"] <= 40
    assert (rlt["settings"], len(tome["settings"]["r"])) == ({}, 3)
    assert rlt["flop_ratio"] == pytest.approx(standard["gflops"] / rlt["gflops"])
    assert rlt["forward"]["speedup"] == pytest.approx(standard["forward"]["seconds"] / rlt["forward"]["seconds"])
    assert "- forward: RLT is faster than ToMe and STA in" in text
    assert (tmp_path / "out" / "speed.png").stat().st_size > 1000


def test_frames_command_interpolates_positions(checkpoint, files, measured):
    rates = ["--num-frames", 8, "--num-frames", 16, "--fps", 5, "--fps", 10]
    record, _ = measured("frames", files[0], "--model", checkpoint, *rates, "--repeats", 1, "--no-training")
    rows = record["rows"]
    assert [(row["num_frames"], row["fps"], row["method"]) for row in rows] == [
        (frames, fps, name) for frames, fps in ((8, 5.0), (16, 10.0)) for name in ("standard", "RLT")
    ]
    assert [row["tokens_left"] for row in rows if row["method"] == "standard"] == [64, 128]


def test_every_method_is_brought_to_a_share(base, labelled, processor):
    data = EvalDataset(from_folder(*labelled), processor, on_bad_video="skip")
    found = thresholds_for_shares(data, [0.3, 0.5], batch_size=4, workers=0)
    settings = budget_settings(base.config, 64, found, groups=3)
    assert len({(setting.method.name, setting.level) for setting in settings}) == len(settings) == 1 + 2 * 12
    rows = evaluate(base, data, settings, batch_size=4, workers=0)
    exact = {"num_tokens", "by difference", "random", "ToMe"}
    for row in rows[1:]:
        target = 19 if row["level"].startswith("30 %") else 32
        name = row["method"].removesuffix(", proportional")
        tolerance = 0 if name in exact else 3.5 if name == "STA" else 1.5  # of 5 clips, tubelet by tubelet
        assert row["tokens_left"] == pytest.approx(target, abs=tolerance), row
        assert row["settings"].get("proportional_attention", False) == row["method"].endswith("proportional")
    by_name = {row["method"]: row for row in rows if row["level"].startswith("30 %")}
    assert by_name["anchor"]["rule"] == {"rule": "anchor", "threshold": found["anchor"][0.3]}
    assert by_name["RLT"]["rule"] == {"rule": "threshold", "threshold": found["threshold"][0.3]}
    assert by_name["num_tokens"]["rule"] == {"num_tokens": 19, "budget_groups": 3}
    assert by_name["by difference"]["settings"] == {"num_tokens": 19, "budget_groups": 3}


def test_a_model_is_compared_without_the_rule_that_it_was_trained_with(labelled, processor):
    config = RLTVideoMAEConfig(**TINY, num_tokens=20, rule="anchor", budget_groups=2)
    own = randomise(RLTVideoMAEForVideoClassification(config))
    data = EvalDataset(from_folder(*labelled), processor, on_bad_video="skip")
    settings = [Setting(methods.STANDARD, "dense"), *rlt_settings([0.1])]
    settings += [Setting(methods.METHODS["by difference"], "", {"num_tokens": 16})]
    rows = evaluate(own, data, settings, batch_size=8, workers=0)
    runs = [find_runs(data[i]["pixel_values"][None], 0.1, 2, 8) for i in range(5)]
    assert [row["tokens_left"] for row in rows] == [64, float(np.mean([(run > 0).sum() for run in runs])), 16]


@pytest.mark.parametrize(
    "command", ["thresholds", "inference", "budgets", pytest.param("accuracy", marks=pytest.mark.slow)]
)
def test_accuracy_commands(command, checkpoint, labelled, measured, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = {"thresholds": ["--sweep", 0, "--sweep", 0.1], "budgets": ["--share", 0.3, "--share", 0.5]}.get(command, [])
    options = ["--on-bad-video", "skip", "--num-workers", 0]
    record, text = measured(command, labelled[0], "--model", checkpoint, *options, *words)
    rows = {(row["method"], row["level"].split(", ")[0]): row for row in record["rows"]}
    assert rows["standard", "dense"]["videos"] == 5
    if command == "budgets":
        assert rows["anchor", "30 %"]["share"] == pytest.approx(0.3, abs=0.03)
    else:
        assert rows["RLT", "threshold 0.1"]["share"] < 1
    if command != "inference":
        assert len(list((tmp_path / "out").glob("*.png"))) == 2
        return
    assert "paper, ViT-B, K400: top-1" in text
    counts = count_tokens(from_folder(*labelled), RLTVideoProcessor.from_pretrained(checkpoint), 0, "skip")
    target = round(float(counts[counts > 0].mean()))
    by_name = {row["method"]: row for row in record["rows"]}
    assert by_name["ToMe"]["tokens_left"] == by_name["random"]["tokens_left"] == target
