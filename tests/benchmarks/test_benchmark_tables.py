# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Benchmark records and tables, tokens for each frame rate, the greyed figure, fine-tuning tables."""

import csv
import json
import os

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks import grey, paper, record, report, tokens
from benchmarks.__main__ import app
from benchmarks.finetune import Job, train
from benchmarks.finetune_timing import OpenedScript, time_steps
from helpers.paths import ROOT
from helpers.videos import ramp, write_video
from hf_rlt import RLTVideoProcessor
from hf_rlt.data import EvalDataset, VideoList, from_folder
from hf_rlt.drawing.overlays import pixels_to_frames

ENVIRONMENT = {
    "date": "2026-01-02",
    "machine": {"cpu": "a CPU", "cores": 2, "threads": 1},
    "versions": {"torch": "2"},
    "commit": None,
    "command": "hf-rlt benchmark",
}


def run(*words):
    return CliRunner().invoke(app, [*(str(word) for word in words)])


def half_ramp(frames):
    """Returns frames whose right half becomes brighter and whose left half stays as it is."""
    pixels = ramp(frames)
    pixels[:, :, : pixels.shape[2] // 2] = 60
    return pixels


@pytest.fixture
def videos(tmp_path):
    """A folder, nested and flat: still, half, all of the picture changes; a slow and a short one; one that is none."""
    folder = tmp_path / "videos"
    (folder / "deep" / "er").mkdir(parents=True)
    write_video(folder / "deep" / "er" / "still.mp4", ramp(1).repeat(20, 0))
    write_video(folder / "deep" / "half.mp4", half_ramp(20))
    write_video(folder / "ramp.mp4", ramp(20))
    write_video(folder / "slow.mp4", ramp(1).repeat(20, 0), rate=5)
    write_video(folder / "short.mp4", ramp(1).repeat(8, 0))
    (folder / "broken.mp4").write_text("no video")
    return folder


def test_tables_leave_out_columns_without_content_and_keep_rows():
    columns = [record.column("a", "a"), record.column("b", "b", "{:.1f}"), record.percent("c", "c")]
    text = record.table([{"a": "x", "c": 0.123}, {"a": "y", "b": None}], columns)
    assert text == "| a | c |\n|---|---|\n| x | 12.3 % |\n| y |  |\n"


def test_records_come_back_as_they_were_saved(tmp_path):
    path = record.save(tmp_path / "new", "tokens", [{"x": 1}], {"fps": 30.0}, more=[2])
    found = record.load(path)
    assert (found["benchmark"], found["rows"], found["settings"], found["more"]) == (
        "tokens",
        [{"x": 1}],
        {"fps": 30.0},
        [2],
    )
    assert [file.name for file in path.parent.iterdir()] == ["tokens.json"]
    assert path.stat().st_mode & 0o044 == 0o044 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_papers_numbers_are_there_and_what_is_unconfirmed_is_empty():
    assert len(paper.FINE_TUNING) == 16
    row = paper.fine_tuning("ViT-L", "random", "SSv2")
    assert (row.accuracy, row.hours, row.speedup) == (74.3, 10.8, 1.4)
    assert paper.fine_tuning_cell("RLT", "ViT-B", "K400") == "80.1 %, 10.2 h, 1.4 x"
    assert paper.fine_tuning_cell("random", "ViT-B", "K400") == "79.2 %, 10.2 h, 1.4 x (keeps 70 %)"
    assert paper.fine_tuning_cell("RLT+length", "ViT-L", "K400") == ""
    assert paper.fine_tuning_cell("RLT", "ViT-H", "K400") == ""
    assert "disputed" in paper.fine_tuning_cell("RLT+random", "ViT-L", "K400")
    assert paper.fine_tuning_cell("RLT+random", "ViT-B", "K400") == ""
    rows = [paper.inference_row(row) for row in paper.INFERENCE]
    columns = [record.column(name, name) for name in ("model", "method", "dataset", "accuracy", "change", "gflops")]
    lines = record.table(rows, columns).splitlines()
    assert "gflops" not in lines[0]
    assert "| ViT-B | RLT | SSv2 |  | -1.0 |" in lines
    assert "| ViT-H | ToMe | K400 |  |  |" in lines
    assert all(claim.source for claim in paper.HEADLINES)


def test_tokens_are_those_counted_by_hand_and_repeated_frames_are_counted_apart(videos, tmp_path):
    rows = tokens.measure([videos], [10, 5], on_bad_video="skip", cache_dir=tmp_path / "counts")
    # At 10 FPS: `slow` shows each frame twice and `short` repeats its last; still 196, half 196 + 7 * 98, all 8 * 196.
    at_10 = rows[0]
    assert (at_10["clips"], at_10["unreadable"], at_10["clips_below_fps"], at_10["clips_repeating"]) == (5, 1, 1, 2)
    assert at_10["tokens_before"] == 8 * 14 * 14
    assert at_10["tokens_after"] == {"mean": 882.0, "quartile_1": 539.0, "median": 882.0, "quartile_3": 1225.0}
    assert at_10["reduction"] == pytest.approx(1 - 882 / 1568)
    assert at_10["reduction_repeating"] == pytest.approx(1 - 196 / 1568)
    # At 5 FPS 16 frames last 3 seconds, which only `slow` does.
    at_5 = rows[1]
    assert (at_5["clips"], at_5["clips_below_fps"], at_5["clips_repeating"]) == (5, 0, 4)
    assert at_5["tokens_after"]["mean"] == 196
    assert rows[0]["data"] == "videos"


def test_tokens_without_a_clean_clip_give_no_mean(videos, tmp_path):
    (row,) = tokens.measure([videos / "deep"], [40], cache_dir=tmp_path / "counts")
    assert (row["clips_below_fps"], row["clips_repeating"]) == (2, 2)
    assert row["tokens_after"] is None
    assert row["reduction"] is None
    assert 0.4 < row["reduction_repeating"] < 1
    text = tokens.markdown({"rows": [row], "settings": {"num_frames": 16, "threshold": 0.1}})
    assert "| tokens before | fewer, clips with repeated frames | paper |" in text
    assert "| K400, SSv2, UCF101 |" in text


def test_29_97_frames_a_second_are_not_below_30(tmp_path):
    write_video(tmp_path / "a.mp4", ramp(1).repeat(40, 0), rate=30)
    rows = tokens.measure([tmp_path], [30, 30.2, 31], cache_dir=tmp_path / "counts")
    assert [row["clips_below_fps"] for row in rows] == [0, 0, 1]


def test_videos_of_an_annotation_file_need_no_second_class_and_a_limit_spreads(videos, tmp_path):
    names = ["deep/er/still.mp4", "deep/half.mp4", "ramp.mp4", "slow.mp4"]
    with (tmp_path / "one.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label"), *((name, "same") for name in names)])
    assert len(tokens.list_videos(tmp_path / "one.csv", videos)) == 4
    chosen = tokens.list_videos(tmp_path / "one.csv", videos, limit=2).sources
    assert [path.name for path in chosen] == ["still.mp4", "ramp.mp4"]
    assert len(tokens.list_videos(videos)) == 6


def test_the_tokens_command_writes_a_record_and_the_report_makes_the_same_table_again(videos, tmp_path):
    out = tmp_path / "out"
    words = ["tokens", videos, "--fps", 10, "--on-bad-video", "skip", "--workers", 0, "--output-dir", out]
    done = run(*words)
    assert done.exit_code == 0, done.output
    line = "| videos | 10 | 5 | 1 | 2 | 1 | 1,568 | 882 | 882 (539 to 1,225) | 43.8 % | 87.5 % |  |"
    assert line in done.stdout.splitlines()
    first = (out / "tokens.md").read_bytes()
    assert line.encode() in first
    assert b"commit" in first
    (out / "tokens.md").unlink()
    again = run("report", out / "tokens.json")
    assert again.exit_code == 0
    assert (out / "tokens.md").read_bytes() == first
    run("report", out / "tokens.json", "--output-dir", tmp_path / "other")
    assert (tmp_path / "other" / "tokens.md").read_bytes() == first


def test_the_figure_is_grey_exactly_where_nothing_is_computed(tmp_path):
    pixels = half_ramp(16)
    pixels[8:, :, : pixels.shape[2] // 2] = 160  # the left half stands still, but for one jump
    clip = write_video(tmp_path / "a.mp4", pixels)
    settings, rows = grey.measure(clip, [0.1, 5.0], frame_stride=1, columns=4)
    picture = np.asarray(grey.draw({"settings": settings, "rows": rows}), np.int64)
    processor = RLTVideoProcessor(frame_stride=1)
    pixels = processor(str(clip), return_tensors="pt")["pixel_values"]
    frames = pixels_to_frames(pixels[0], processor.image_mean, processor.image_std)[[0, 4, 8, 12]].astype(np.float32)
    assert [row["computed"] for row in rows] == [(882 + 98) / 1568, 196 / 1568]
    grey_columns = [(0, 0, 0, 0), (0, 112, 0, 112), (0, 224, 224, 224)]  # on the left of each frame, row by row
    for i in range(3):
        for k in range(4):
            width = grey_columns[i][k]
            wanted = frames[k].copy()
            wanted[:, :width] = (0.15 * wanted[:, :width] + 0.85 * 128).round()
            x, y = grey.MARGIN + k * (224 + grey.GAP), i * (224 + grey.GAP)
            assert np.abs(picture[y : y + 224, x : x + 224] - wanted).max() <= 1e-3, (i, k)
        label = picture[i * (224 + grey.GAP) :, : grey.MARGIN][:224]
        assert (label.min(-1) < 100).any(), "a label is drawn"
    assert picture.shape[:2] == (3 * 224 + 2 * grey.GAP, grey.MARGIN + 4 * 224 + 3 * grey.GAP)


def test_the_grey_command_draws_the_same_figure_again_without_the_clip(tmp_path):
    name = "a_name_that_is_far_too_long_for_the_margin.mp4"
    clip = write_video(tmp_path / name, half_ramp(16))
    done = run("grey", clip, "--threshold", 0.1, "--frame-stride", 1, "--columns", 3, "--output-dir", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "| 0.1 | 882 | 56.2 % |" in done.stdout
    files = [tmp_path / "out" / "grey.jpg", tmp_path / "out" / "grey.md"]
    first = [file.read_bytes() for file in files]
    assert Image.open(files[0]).size == (grey.MARGIN + 3 * 224 + 2 * grey.GAP, 2 * 224 + grey.GAP)
    for path in (clip, *files):
        path.unlink()
    assert run("report", tmp_path / "out" / "grey.json").exit_code == 0
    assert [file.read_bytes() for file in files] == first


STUB = """
import json, pathlib, sys
words = sys.argv[1:]
out = pathlib.Path(words[words.index("--output_dir") + 1])
with open(pathlib.Path(__file__).with_name("calls.jsonl"), "a") as stream:
    stream.write(json.dumps(words) + "\\n")
if "--fail" in words:
    sys.exit("first line\\nthe last line")
rate = 0.5 if "none" in words else 0.75
result = {"eval_accuracy": rate, "eval_tokens_computed": 0.3, "train_runtime": 12.0 if "none" in words else 6.0}
(out / "all_results.json").write_text(json.dumps(result))
(out / "trainer_state.json").write_text(json.dumps({"global_step": 600}))
"""


@pytest.fixture
def stub(tmp_path):
    path = tmp_path / "stub.py"
    path.write_text(STUB)
    return path


def calls(stub):
    path = stub.with_name("calls.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def test_the_finetune_command_starts_each_variant_and_goes_on_where_it_was(stub, videos, tmp_path):
    out = tmp_path / "out"
    words = ["finetune", "--train", videos, "--validation", videos, "--model", "m", "--script", stub]
    words += ["--random-ratio", 0.25, "--tome-r", 64, "--seeds", "3,4", "--output-dir", out]
    done = run(*words, "--", "--bf16", "True")
    assert done.exit_code == 0, done.output
    shared = [
        "--train_dir",
        str(videos),
        "--validation_dir",
        str(videos),
        "--model_name_or_path",
        "m",
        "--bf16",
        "True",
    ]
    options = {
        "dense": ["--threshold", "none"],
        "ToMe": ["--threshold", "none", "--tome_r", "64"],
        "random": ["--threshold", "none", "--token_keep_ratio", "0.25"],
        "RLT": ["--threshold", "0.1"],
    }
    runs = out / "finetune" / "runs"
    assert calls(stub) == [
        [*shared, *more, "--length_embedding", "False", "--seed", seed, "--output_dir", str(runs / f"{name}-{seed}")]
        for seed in ("3", "4")
        for name, more in options.items()
    ]
    assert "| dense | 50.0 % (50.0 to 50.0) | 12.0 s | 80.1 %, 14.4 h, 1.0 x | 70.3 %, 10.1 h, 1.0 x |" in done.stdout
    assert "| ToMe, r = 64 | 50.0 % (50.0 to 50.0) | 12.0 s | 80.0 %, 13.4 h, 1.1 x |" in done.stdout
    assert "random, 25.0 % of the tokens | 50.0 %" in done.stdout
    assert "pair" not in done.stdout
    (runs / "RLT-4" / "result.json").unlink()
    again = run(*words, "--", "--bf16", "True")
    assert again.stdout == done.stdout
    assert len(calls(stub)) == 9
    assert calls(stub)[-1][-1] == str(runs / "RLT-4")
    other = run(*words, "--threshold", 0.2, "--variants", "RLT", "--", "--bf16", "True")
    assert other.exit_code == 2
    assert "RLT-3: expected a run with --threshold 0.2, found one with --threshold 0.1: pass another" in other.stderr
    assert len(calls(stub)) == 9


def test_the_ablation_has_its_own_variants(stub, videos, tmp_path):
    words = ["--train", videos, "--script", stub, "--seeds", "0", "--max-steps", 9, "--output-dir", tmp_path / "out"]
    done = run("ablation", *words)
    assert done.exit_code == 0, done.output
    sent = [" ".join(words[2 : words.index("--seed")]) for words in calls(stub)]
    assert sent == [
        "--max_steps 9 --threshold 0.1 --length_embedding False",
        "--max_steps 9 --threshold 0.1 --length_embedding True",
        "--max_steps 9 --threshold 0.1 --token_keep_ratio 0.7 --length_embedding False",
        "--max_steps 9 --threshold 0.1 --token_keep_ratio 0.7 --length_embedding True",
    ]
    lines = done.stdout.splitlines()
    assert lines[0] == "| variant | top-1, mean (lowest to highest) | whole job | paper: ViT-L, K400 |"
    assert "| RLT + length | 75.0 % (75.0 to 75.0) | 6.0 s |  |" in lines
    assert "| RLT + random 0.7 | 75.0 % (75.0 to 75.0) | 6.0 s | 84.2 % or 83.3 %, disputed |" in lines


def test_an_interrupted_runs_clock_is_not_believed(stub, tmp_path):
    job = Job(stub, tmp_path / "jobs", ("--data", "x"))
    (job.run_folder("RLT", 0) / "checkpoint-5").mkdir(parents=True)
    train(job, ["RLT"], [0])
    assert json.loads((job.run_folder("RLT", 0) / "result.json").read_text())["train_seconds"] is None


def test_a_script_that_fails_is_quoted_and_its_run_is_done_again(stub, videos, tmp_path):
    words = ["ablation", "--train", videos, "--script", stub, "--variants", "RLT", "--seeds", "0"]
    failed = run(*words, "--output-dir", tmp_path / "out", "--", "--fail", "1")
    assert failed.exit_code == 2
    assert len([line for line in failed.stderr.splitlines() if "error" in line]) == 1
    assert failed.stderr.strip().endswith("RLT-0.log, at the end: the last line")
    run(*words, "--output-dir", tmp_path / "out", "--", "--fail", "1")
    assert len(calls(stub)) == 2


def test_steps_are_timed_in_turn_with_every_training_clip_and_few_others(stub, tmp_path):
    clips = VideoList([tmp_path / f"{i}.mp4" for i in range(6)], [0, 0, 1, 1, 1, 0], ["no", "yes"])
    data = ("--train_dir", "x", "--model_name_or_path", "m")
    job = Job(stub, tmp_path / "jobs", data, extra=("--bf16", "True", "--eval_strategy", "epoch"))
    seconds = time_steps(job, ["dense", "RLT"], (clips, clips), steps=3, rounds=2, say=print)
    assert seconds == {"dense": [4.0, 4.0], "RLT": [2.0, 2.0]}
    assert [words[words.index("--threshold") + 1] for words in calls(stub)] == ["none", "0.1", "none", "0.1"]
    words = calls(stub)[0]
    assert words[words.index("--max_steps") + 1] == "3"
    assert words[-1 - words[::-1].index("--eval_strategy") + 1] == "no"
    assert words[words.index("--model_name_or_path") + 1] == "m"
    assert "--train_dir" not in words
    listed = [
        list(csv.reader((tmp_path / "jobs" / "timing" / f"{name}.csv").open())) for name in ("train", "validation")
    ]
    assert [len(rows) for rows in listed] == [7, 3]
    assert listed[1][1:] == [[str(tmp_path / "0.mp4"), "no"], [str(tmp_path / "2.mp4"), "yes"]]


def test_the_real_script_tells_share_of_tokens_and_seconds_of_a_step(rendered_digits, digits_processor, tmp_path):
    data = ("--train_dir", str(rendered_digits / "train"), "--validation_dir", str(rendered_digits / "validation"))
    job = Job(ROOT / "examples" / "finetune.py", tmp_path, data, ("--per_device_train_batch_size", "2"))
    script = OpenedScript(job)
    items = EvalDataset(from_folder(rendered_digits / "train"), digits_processor)
    shares = [float((items[i]["run_lengths"] > 0).float().mean()) for i in range(len(items))]
    assert script.share_computed(tmp_path) == pytest.approx(np.mean(shares))
    seconds = script.model_seconds(["RLT", "RLT+random"], repeats=1)
    assert all(0 < value < 10 for value in seconds.values())


def test_the_table_of_timings_has_medians_quartiles_and_speed_ups(tmp_path):
    runs = [
        {"variant": name, "seed": 0, "accuracy": 0.5, "steps": 100, "train_seconds": 1.0} for name in ("dense", "RLT")
    ]
    timing = {
        "seconds_per_step": {"dense": [0.8, 0.9, 1.2], "RLT": [0.3]},
        "model_seconds": {"dense": 0.6, "RLT": 0.2},
        "steps": 60,
    }
    settings = {"data": "clips", "threshold": 0.1, "random_ratio": 0.5, "keep_of_runs": 0.7}
    content = {
        "benchmark": "finetune",
        "environment": ENVIRONMENT,
        "settings": settings,
        "rows": runs,
        "timing": timing,
    }
    path = record.write_json(tmp_path / "x.json", content)
    text, (written,) = report.write(path)
    assert "| dense | 50.0 % (50.0 to 50.0) | 0.900 (0.850 to 1.050) | 1.5 min | 1.0 x | 0.600 s | 1.0 x |" in text
    assert "| RLT | 50.0 % (50.0 to 50.0) | 0.300 | 30.0 s | 3.0 x | 0.200 s | 3.0 x |" in text
    assert "disputed" not in text
    assert "commit unknown" in written.read_text()


def test_the_table_in_the_docs_is_made_of_the_kept_record(tmp_path):
    kept = ROOT / "benchmarks" / "results" / "finetune.json"
    assert run("report", kept, "--output-dir", tmp_path).exit_code == 0
    assert (tmp_path / "finetune.md").read_bytes() == kept.with_suffix(".md").read_bytes()
    table = (tmp_path / "finetune.md").read_text().split("\n\n")[0]
    assert table in (ROOT / "docs" / "fine_tuning.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("report", "nowhere.json"), "nowhere.json: expected a benchmark's JSON, found no such file"),
        (("report", "BROKEN"), "expected a benchmark's JSON, found a damaged file"),
        (("report", "OTHER"), "received one of 'other'"),
        (("tokens", "nowhere"), "nowhere: expected a folder of videos or an annotation file"),
        (("tokens", "EMPTY"), "expected videos (.mp4"),
        (("tokens", "EMPTY", "--fps", "0"), "Expected frame rates above 0"),
        (("tokens", "VIDEOS", "--workers", "0"), "broken.mp4: not a video that can be opened"),
        (("tokens", "VIDEOS", "--on-bad-video", "ignore"), "Expected on_bad_video to be one of"),
        (("grey", "nowhere.mp4"), "nowhere.mp4"),
        (("finetune", "--script", "nowhere.py"), "nowhere.py: expected the training script"),
        (("finetune", "--variants", "STA"), "--variants: expected some of dense, ToMe, random, RLT, received 'STA'"),
        (("ablation", "--seeds", "a"), "--seeds: expected whole numbers with commas between, received 'a'"),
        (("ablation", "--validation", "EMPTY"), "without --train"),
        (("ablation", "--train", "nowhere"), "--train nowhere: expected a folder of videos or an annotation file"),
        (("ablation", "--train", "EMPTY", "--validation", "OTHER"), "expected a folder, as --train is"),
        (("finetune", "--train", "EMPTY", "--random-ratio", "2"), "--random-ratio: expected a share"),
        (("finetune", "--train", "EMPTY", "--", "--seed=1"), "does not set itself, received --seed=1"),
        (("finetune", "--train", "EMPTY", "--script", "STUB"), "found no read_arguments, load_clips"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(words, message, videos, tmp_path):
    places = {"EMPTY": tmp_path / "empty", "VIDEOS": videos, "BROKEN": tmp_path / "broken", "OTHER": tmp_path / "other"}
    places["STUB"] = tmp_path / "functionless.py"
    places["EMPTY"].mkdir()
    places["BROKEN"].write_text("{")
    places["OTHER"].write_text(json.dumps({"benchmark": "other", "environment": {}, "settings": {}, "rows": []}))
    places["STUB"].write_text("x = 1\n")
    more = () if words[0] == "report" else ("--output-dir", tmp_path / "out")
    done = run(words[0], *more, *(places.get(word, word) for word in words[1:]))
    assert done.exit_code == 2, done.output
    errors = [line for line in done.stderr.splitlines() if line.startswith("hf-rlt: error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert done.stderr.strip().endswith(errors[0])
