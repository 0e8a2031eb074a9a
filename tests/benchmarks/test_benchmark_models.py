# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The benchmarks that run models: methods brought to a number of tokens, speed, accuracy, and their commands."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from benchmarks import methods, speed, speed_tables
from benchmarks.__main__ import app
from benchmarks.accuracy import Setting, curve, dense_tokens, evaluate, matched, rlt_settings
from helpers.tiny import FRAMES, SIDE, TINY, moving_clips, randomise
from helpers.videos import write_video
from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, RLTVideoProcessor, find_runs
from hf_rlt.baselines import STAVideoMAEConfig, ToMeVideoMAEConfig
from hf_rlt.data import EvalDataset, from_folder
from hf_rlt.tokens import count_tokens

SIZE = {"height": SIDE, "width": SIDE}


def run(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def scene(path, moving_rows, frames=40, seed=0):
    """Writes a video of 8 x 8 blocks of noise, the upper rows of which change with each frame."""
    random = np.random.default_rng(seed)
    still = random.integers(0, 255, (4, 4, 1), dtype=np.uint8)
    pictures = np.stack([still] * frames)
    pictures[:, :moving_rows] = random.integers(0, 255, (frames, moving_rows, 4, 1), dtype=np.uint8)
    return write_video(path, pictures.repeat(8, 1).repeat(8, 2).repeat(3, 3), rate=10)


@pytest.fixture(scope="module")
def base():
    return randomise(RLTVideoMAEForVideoClassification(RLTVideoMAEConfig(**TINY)))


@pytest.fixture(scope="module")
def processor():
    return RLTVideoProcessor(num_frames=FRAMES, frame_stride=1, patch_size=8, size=SIZE, crop_size=SIZE)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return [scene(folder / f"{name}.mp4", rows) for name, rows in (("lively", 4), ("still", 0), ("mixed_up", 2))]


@pytest.fixture(scope="module")
def checkpoint(base, processor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    base.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_tome_leaves_just_what_is_wanted():
    config = ToMeVideoMAEConfig()
    for target in (1567, 1028, 600, 235, 40):
        plan = methods.merges(config, 1568, target)
        assert ToMeVideoMAEConfig(r=plan).token_counts(1568)[-1] == target
        assert len(set(plan[:-1])) <= 2 or target < 100  # even but for the limit of half, and the last block
    assert ToMeVideoMAEConfig(r=methods.merges(config, 1568, 0)).token_counts(1568)[-1] == 1  # half is the limit
    assert methods.merges(config, 1568, 1568) == [0] * 12


def test_sta_leaves_what_its_steps_allow():
    config = STAVideoMAEConfig()
    assert methods.leaving(config, 1568, 672) == 64
    assert methods.leaving(config, 1568, 680) == 63  # 14 tokens a step
    assert methods.leaving(config, 1568, 1568) == 0
    assert STAVideoMAEConfig(r=methods.leaving(config, 1568, 0)).token_counts(1568)[-1] == 14
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


def test_costs_are_means_over_clips():
    config = RLTVideoMAEConfig(**TINY)
    one, two = (methods.cost(config, [n])["gflops"] for n in (10, 60))
    both = methods.cost(config, [10, 60])
    assert both == {"tokens_left": 35, "tokens_by_block": 35, "gflops": pytest.approx((one + two) / 2)}
    assert both["gflops"] > methods.cost(config, [35])["gflops"]  # which is why clips are counted one by one


def test_mixed_batches_alternate_still_and_lively_files(files, processor):
    found = speed.workloads(files, [1, 2, 4], processor)
    assert [(each.name, each.batch) for each in found[:3]] == [("lively.mp4", 1), ("lively.mp4", 2), ("lively.mp4", 4)]
    mixed = [each for each in found if each.name == speed.MIXED]
    assert [[file.stem for file in each.files] for each in mixed] == [
        ["still", "lively"],
        ["still", "lively", "mixed_up", "still"],
    ]
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
    selected = methods.chosen(["standard", "random", "ToMe", "STA", "RLT"])
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


def test_speed_is_measured_for_each_method_on_each_batch(base, files, processor):
    options = speed.Options(repeats=2, end_to_end=1, training=True)
    found = speed.workloads(files[:2], [2], processor)
    rows = speed.measure(base, processor, found, methods.chosen(["standard", "ToMe", "RLT"]), options, print)
    assert [(row["clip"], row["method"]) for row in rows] == [
        (clip, name) for clip in ("lively.mp4", "still.mp4", "mixed") for name in ("standard", "ToMe", "RLT")
    ]
    for row in rows:
        assert len(row["forward"]["times"]) == 2
        assert row["forward"]["clips_per_second"] == pytest.approx(2 / row["forward"]["seconds"])
        assert len(row["end_to_end"]["times"]) == 1
        assert row["end_to_end"]["seconds"] > 0
        assert row["training"]["lower"] <= row["training"]["seconds"] <= row["training"]["upper"]
    standard, _, rlt = rows[6:]
    assert 36 < rlt["tokens_left"] <= 40
    assert rlt["settings"] == {}
    assert len(rows[7]["settings"]["r"]) == 3
    assert rlt["flop_ratio"] == pytest.approx(standard["gflops"] / rlt["gflops"])
    assert rlt["forward"]["speedup"] == pytest.approx(standard["forward"]["seconds"] / rlt["forward"]["seconds"])
    assert not base.training
    assert all(weight.grad is None for weight in base.parameters())


def handmade(clip, batch, method, seconds, aware, ratio=1.0):
    measured = {"seconds": seconds, "lower": seconds, "upper": seconds, "clips_per_second": 1, "speedup": 8 / seconds}
    tokens = {"tokens_left": 5, "tokens_by_block": 5, "gflops": 1.0, "flop_ratio": ratio}
    return {"clip": clip, "batch": batch, "method": method, "content_aware": aware, "forward": measured, **tokens}


def test_the_table_names_the_fastest_and_means(tmp_path):
    rows = [
        handmade(clip, 1, name, seconds, aware, 2.0)
        for clip, last in (("a", 1.0), ("b", 4.0))
        for name, seconds, aware in (
            ("standard", 8.0, False),
            ("random", 0.1, False),
            ("ToMe", 2.0, True),
            ("RLT", last, True),
            ("RLT + random", 0.2, True),
        )
    ]
    assert speed_tables.fastest(rows, "forward") == ["RLT", "ToMe"]
    lines = speed_tables.summary(rows).splitlines()
    assert "| 2 clips, geometric mean | 1 | RLT | 4.00 x | 1.00 |" in lines  # the geometric mean of 8 and 2; 2 / 2
    assert "| 2 clips, geometric mean | 1 | ToMe | 4.00 x | 2.00 |" in lines


@pytest.fixture(scope="module")
def labelled(base, tmp_path_factory):
    """Four videos in the classes that the model gives them, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("labelled")
    names = [base.config.id2label[i] for i in range(5)]
    for i, name in enumerate(names):
        (folder / name).mkdir()
        scene(folder / name / "clip.mp4", i % 4, seed=i)
    (folder / names[4] / "broken.mp4").write_bytes(b"no video")
    return folder, names


def test_accuracy_counts_each_video_once_for_each_setting(base, labelled, processor):
    folder, names = labelled
    clips = from_folder(folder, names)
    dense = RLTVideoProcessor(**{**processor.to_dict(), "threshold": None})
    data = EvalDataset(clips, dense, num_clips=2, on_bad_video="skip")
    settings = [
        Setting(methods.STANDARD, "dense"),
        *rlt_settings([0.0, 0.1]),
        *rlt_settings([0.1], "RLT, proportional"),
    ]
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


def test_random_masking_is_the_same_in_each_run(base, labelled, processor):
    folder, names = labelled
    dense = RLTVideoProcessor(**{**processor.to_dict(), "threshold": None})
    data = EvalDataset(from_folder(folder, names), dense, on_bad_video="skip")

    def scores(seed):
        setting = Setting(methods.METHODS["random"], "", {"token_keep_ratio": 0.2})
        outputs = []
        original = methods.forward

        def spy(method, model, pixels, lengths, **kwargs):
            outputs.append(original(method, model, pixels, lengths, **kwargs))
            return outputs[-1]

        from benchmarks import accuracy

        accuracy.forward = spy
        try:
            evaluate(base, data, [setting], batch_size=8, workers=0, seed=seed)
        finally:
            accuracy.forward = original
        return outputs[-1].logits

    assert torch.equal(scores(0), scores(0))
    assert not torch.equal(scores(0), scores(1))


def test_curves_and_matched_settings():
    config = RLTVideoMAEConfig()
    assert dense_tokens(config) == 1568
    found = curve(config, 1568, 0.1)
    assert {setting.method.name for setting in found} == set(methods.METHODS)
    assert len({(setting.method.name, setting.level) for setting in found}) == len(found)
    at = {setting.method.name: setting for setting in matched(config, 1568, 672, 0.1)}
    assert at["STA"].values == {"r": 64}
    assert at["random"].values["token_keep_ratio"] * 1568 == pytest.approx(672)
    assert sum(at["ToMe"].values["r"]) == 1568 - 672
    assert at["RLT"].threshold == 0.1
    assert next(iter(at)) == "standard"


def test_speed_command_writes_a_record_that_the_report_reproduces(checkpoint, files, tmp_path):
    out = tmp_path / "out"
    words = ["--checkpoint", checkpoint, "--batch-sizes", "1,2", "--repeats", 1, "--end-to-end", 1, "--frame-stride", 1]
    done = run("speed", files[0].parent, *words, "--methods", "standard;ToMe;RLT", "--training", "--output-dir", out)
    assert done.exit_code == 0, done.output
    record = json.loads((out / "speed.json").read_text())
    assert len(record["rows"]) == (3 * 2 + 1) * 3
    assert record["environment"]["command"]
    assert "- forward: RLT is faster than ToMe and STA in" in done.stdout
    assert (out / "speed.png").stat().st_size > 1000
    text = (out / "speed.md").read_bytes()
    again = run("report", out / "speed.json", "--output-dir", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "again" / "speed.md").read_bytes() == text


def test_frames_command_interpolates_positions(checkpoint, files, tmp_path):
    words = ["--num-frames", "8,16", "--fps", "5,10", "--repeats", 1, "--no-training", "--output-dir", tmp_path]
    done = run("frames", files[0], "--checkpoint", checkpoint, *words)
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "frames.json").read_text())["rows"]
    assert [(row["num_frames"], row["fps"], row["method"]) for row in rows] == [
        (8, 5.0, "standard"),
        (8, 5.0, "RLT"),
        (16, 10.0, "standard"),
        (16, 10.0, "RLT"),
    ]
    assert [row["tokens_left"] for row in rows if row["method"] == "standard"] == [64, 128]


@pytest.mark.parametrize("command", ["accuracy", "thresholds", "inference"])
def test_accuracy_commands(command, checkpoint, labelled, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ["--on-bad-video", "skip", "--workers", 0, "--output-dir", tmp_path]
    words += ["--thresholds", "0,0.1"] if command == "thresholds" else []
    done = run(command, checkpoint, labelled[0], *words)
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / f"{command}.json").read_text())
    rows = {(row["method"], row["level"]): row for row in record["rows"]}
    assert rows["standard", "dense"]["videos"] == 5
    assert rows["RLT", "threshold 0.1"]["share"] < 1
    assert list(tmp_path.glob("*.png")) if command != "inference" else "paper, ViT-B, K400: top-1" in done.stdout
    if command == "inference":
        clips = from_folder(labelled[0], labelled[1])
        processor = RLTVideoProcessor.from_pretrained(checkpoint)
        counts = count_tokens(clips, processor, 0, "skip")
        target = round(float(counts[counts > 0].mean()))
        by_name = {row["method"]: row for row in record["rows"]}
        assert by_name["ToMe"]["tokens_left"] == by_name["random"]["tokens_left"] == target


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["speed", "nowhere.mp4"], "nowhere.mp4"),
        (["speed", "{file}", "--batch-sizes", "1,x"], "--batch-sizes: expected whole numbers"),
        (["speed", "{file}", "--methods", "RLT;Magic"], "received Magic"),
        (["speed", "{file}", "--shape", "giant"], "base, large, huge"),
        (["speed", "{file}", "--match", "some"], "left or mean"),
        (["speed", "{file}", "--dtype", "int8"], "float32, bfloat16 or float16"),
        (["speed", "{file}", "--frame-stride", "3"], "would stand twice"),
        (["accuracy", "{checkpoint}", "{folder}", "--thresholds", "0"], "goes with `hf-rlt benchmark thresholds`"),
        (["frames", "{file}", "--num-frames", "16,32", "--fps", "5,5"], "the same seconds"),
        (["frames", "{file}", "--num-frames", "16", "--fps", "5,10"], "as many --fps as --num-frames"),
        (["accuracy", "{file}", "{file}"], "expected a model folder"),
        (["thresholds", "{checkpoint}", "{folder}", "--thresholds", "0,y"], "--thresholds: expected numbers"),
    ],
)
def test_mistakes_end_in_one_line(words, message, files, checkpoint, labelled):
    places = {"file": files[0], "checkpoint": checkpoint, "folder": labelled[0]}
    done = run(*[str(word).format(**places) for word in words])
    assert done.exit_code == 2
    assert message in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("hf-rlt: error:")]) == 1
    assert "Traceback" not in done.output
