# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Records and tables, the paper's numbers, tokens for each frame rate, mistakes."""

import csv
import json

import pytest

from benchmarks import tokens
from benchmarks.common import methods, paper, record
from helpers.videos import ramp, write_video


def half_ramp(frames):
    """Return frames whose right half becomes brighter and whose left half stays as it is."""
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


@pytest.mark.parametrize(
    ("variant", "model", "cell"),
    [
        ("RLT", "ViT-B", "80.1 %, 10.2 h, 1.4 x"),
        ("random", "ViT-B", "79.2 %, 10.2 h, 1.4 x (keeps 70 %)"),
        ("RLT+random", "ViT-L", "84.2 % or 83.3 %, disputed"),
        ("RLT+length", "ViT-L", ""),
        ("RLT+random", "ViT-B", ""),
        ("RLT", "ViT-H", ""),
    ],
)
def test_the_papers_numbers_are_there_and_what_is_unconfirmed_is_empty(variant, model, cell):
    assert paper.fine_tuning_cell(variant, model, "K400") == cell


def count(measured, data, *fps, on_bad_video="raise"):
    words = [word for rate in fps for word in ("--fps", rate)]
    return measured("tokens", data, *words, "--num-workers", 0, "--on-bad-video", on_bad_video)


def test_tokens_are_those_counted_by_hand_and_repeated_frames_are_counted_apart(videos, measured):
    record, text = count(measured, videos, 10, 5, on_bad_video="skip")
    # At 10 FPS: `slow` shows each frame twice and `short` repeats its last; still 196, half 196 + 7 * 98, all 8 * 196.
    at_10, at_5 = record["rows"]
    assert (at_10["clips"], at_10["unreadable"], at_10["clips_below_fps"], at_10["clips_repeating"]) == (5, 1, 1, 2)
    assert at_10["tokens_after"] == {"mean": 882.0, "quartile_1": 539.0, "median": 882.0, "quartile_3": 1225.0}
    assert at_10["reduction"] == pytest.approx(1 - 882 / 1568)
    assert at_10["reduction_repeating"] == pytest.approx(1 - 196 / 1568)
    # At 5 FPS 16 frames last 3 seconds, which only `slow` does.
    assert (at_5["clips"], at_5["clips_below_fps"], at_5["clips_repeating"]) == (5, 0, 4)
    assert at_5["tokens_after"]["mean"] == 196
    line = "| videos | 10 | 5 | 1 | 2 | 1 | 1,568 | 882 | 882 (539 to 1,225) | 43.8 % | 87.5 % |  |"
    assert line in text.splitlines()


def test_tokens_without_a_clean_clip_give_no_mean(videos, measured):
    record, text = count(measured, videos / "deep", 40)
    (row,) = record["rows"]
    assert (row["clips_below_fps"], row["clips_repeating"], row["tokens_after"], row["reduction"]) == (2, 2, None, None)
    assert 0.4 < row["reduction_repeating"] < 1
    assert "| tokens before | fewer, clips with repeated frames | paper |" in text
    assert "| K400, SSv2, UCF101 |" in text


def test_29_97_frames_a_second_are_not_below_30(tmp_path, measured):
    (tmp_path / "set").mkdir()
    clip = write_video(tmp_path / "set" / "a.mp4", ramp(1).repeat(40, 0), rate=30)
    record, _ = count(measured, clip.parent, 30, 30.2, 31)
    assert [row["clips_below_fps"] for row in record["rows"]] == [0, 0, 1]


def test_videos_of_an_annotation_file_need_no_second_class_and_a_limit_spreads(videos, tmp_path):
    names = ["deep/er/still.mp4", "deep/half.mp4", "ramp.mp4", "slow.mp4"]
    with (tmp_path / "one.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label"), *((name, "same") for name in names)])
    assert len(tokens.list_videos(tmp_path / "one.csv", videos)) == 4
    chosen = tokens.list_videos(tmp_path / "one.csv", videos, limit=2).sources
    assert [path.name for path in chosen] == ["still.mp4", "ramp.mp4"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("report", "nowhere.json"), "nowhere.json"),
        (("report", "BROKEN"), "expected a benchmark's JSON, found a damaged file"),
        (("report", "OTHER"), "other: expected a record of tokens, "),
        (("tokens", "nowhere"), "nowhere: expected a folder of videos or an annotation file"),
        (("tokens", "EMPTY", "--fps", "0"), "Expected frame rates above 0"),
        (("tokens", "VIDEOS", "--num-workers", "0"), "broken.mp4: not a video that can be opened"),
        (("finetune", "--variant", "STA"), "--variant: expected one of dense, ToMe, random, RLT, received 'STA'"),
        (("ablation", "--validation", "EMPTY"), "without --train"),
        (("ablation", "--train", "EMPTY", "--validation", "OTHER"), "the same as --train"),
        (("finetune", "--train", "EMPTY", "--random-ratio", "2"), "--random-ratio: expected a share"),
        (("finetune", "--train", "EMPTY", "--", "--seed=1"), "does not set itself, received --seed=1"),
        (("speed", "VIDEO", "--method", "RLT", "--method", "Magic"), "received Magic"),
        (("speed", "VIDEO", "--shape", "giant"), "base, large, huge"),
        (("speed", "VIDEO", "--match", "some"), "left or mean"),
        (("speed", "VIDEO", "--dtype", "int8"), "float32, bfloat16 or float16"),
        (("speed", "VIDEO", "--frame-stride", "3"), "would stand twice"),
        (("frames", "VIDEO", "--num-frames", "16", "--num-frames", "32", "--fps", "5", "--fps", "5"), "same seconds"),
        (("frames", "VIDEO", "--num-frames", "16", "--fps", "5", "--fps", "10"), "as many --fps as --num-frames"),
        (("accuracy", "EMPTY", "--model", "VIDEO"), "expected a model folder"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(words, message, videos, tmp_path, run, monkeypatch):
    tiny = {"hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}  # a full one takes long to make
    monkeypatch.setitem(methods.SHAPES, "base", tiny)
    places = {"EMPTY": tmp_path / "empty", "VIDEOS": videos, "BROKEN": tmp_path / "broken", "OTHER": tmp_path / "other"}
    places["VIDEO"] = videos / "ramp.mp4"
    places["EMPTY"].mkdir()
    places["BROKEN"].write_text("{")
    places["OTHER"].write_text(json.dumps({"benchmark": "other", "environment": {}, "settings": {}, "rows": []}))
    more = () if words[0] == "report" else ("-o", tmp_path / "out")
    done = run(words[0], *more, *(places.get(word, word) for word in words[1:]))
    assert done.exit_code == 2, done.output
    errors = [line for line in done.stderr.splitlines() if line.startswith("hf-rlt: error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert done.stderr.strip().endswith(errors[0])
