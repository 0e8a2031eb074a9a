# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt tokens`."""

import numpy as np
import pytest
from rich.console import Console

from helpers.counting import SMALL, lines, run, run_lengths, small
from helpers.tiny import make_model
from hf_rlt.cli.console import spinner
from hf_rlt.inference.loading import load
from hf_rlt.tokens import (
    CountConfig,
    count_video,
)


class TestCommand:
    def test_a_table_of_videos_rates_and_thresholds(self, folder):
        (folder / "bad.mp4").write_text("no video")
        rates_and_thresholds = ("--fps", 5, "--fps", 2.5, "--threshold", 0.1, "--threshold", 0.8)
        done = run(folder, *SMALL[:4], *rates_and_thresholds, "--num-workers", 0)
        assert done.exit_code == 1
        problem, last = done.stderr.splitlines()
        assert problem.startswith(f"{folder / 'bad.mp4'}: not a video that can be opened")
        assert last == "1 of 5 videos could not be read (see above)."
        table, summary, _ = done.stdout.split("\n\n")
        rows = [line.split() for line in table.splitlines()[1:]]
        names = ["b.mp4", "a/1.mp4", "a/2.mp4", "a/c/3.MP4"]  # below the folder that all are in
        assert [row[0] for row in rows[::4]] == names
        config = CountConfig(small(), (5.0, 2.5), (0.1, 0.8))
        counts = [count for name in names for count in count_video(folder / name, config)]
        for row, count in zip(rows, counts, strict=True):
            run_length = f"{count.longest_run} ({count.longest_run_seconds:.2f} s)"
            tokens = f"{count.tokens_before} {count.tokens_after:.0f} {count.share:.1%}"
            assert " ".join(row).endswith(f"{count.fps:g} fps threshold {count.threshold:g} {tokens} {run_length}")
        assert len(summary.splitlines()) == 5
        mean = np.mean([count.share for count in counts[::4]])
        assert f"{mean:.1%}" in summary.splitlines()[1]

    def test_json_lines_are_what_is_written(self, folder, tmp_path):
        output, videos = tmp_path / "counts.jsonl", (folder / "b.mp4", folder / "bad.mp4")
        videos[1].write_text("no video")
        done = run(*videos, *SMALL, "--num-clips", 2, "-o", output, "--json", "--num-workers", 0)
        assert done.exit_code == 1, done.output
        line, bad = lines(done.stdout)
        assert lines(output.read_text()) == [line]
        assert (bad["video"], "not a video" in bad["error"]) == (str(videos[1]), True)
        assert (line["video"], line["clips"], line["frames"], line["tokens_before"]) == (str(videos[0]), 2, 4, 8)
        assert line["share"] == line["tokens_after"] / line["tokens_before"]

    def test_a_model_brings_its_processor(self, folder, tmp_path):
        done = run(folder / "b.mp4", "--model", make_model(tmp_path / "model", "videomae"), "--json")
        assert done.exit_code == 0, done.output
        size = {"height": 64, "width": 64}
        lengths = run_lengths(folder / "b.mp4", num_frames=16, patch_size=8, size=size, crop_size=size)
        assert lines(done.stdout)[0]["tokens_before"] == lengths.numel() == 8 * 8 * 8
        assert lines(done.stdout)[0]["tokens_after"] == int((lengths > 0).sum())

    @pytest.mark.parametrize(
        ("words", "settings", "rules"),
        [
            ((), {}, ["threshold 0.1"]),
            (("--rule", "anchor", "--threshold", 0.8), {"rule": "anchor", "threshold": 0.8}, ["anchor, threshold 0.8"]),
            (("--num-tokens", "0.75"), {"num_tokens": 0.75}, ["75 % of the tokens"]),
            (
                ("--max-tokens", 5, "--threshold", 0.1, "--threshold", 0),
                {"max_tokens": 5},
                ["threshold 0.1, at most 5 tokens", "threshold 0, at most 5 tokens"],
            ),
        ],
    )
    def test_rows_and_lines_say_by_which_rule(self, folder, words, settings, rules):
        found = lines(run(folder / "b.mp4", *SMALL, *words, "--json").stdout)
        assert [line["rule"] for line in found] == rules
        counts = int((run_lengths(folder / "b.mp4", **settings) > 0).sum())
        assert found[0]["tokens_after"] == counts
        assert found[0]["threshold"] == (None if "num_tokens" in settings else settings.get("threshold", 0.1))
        printed = run(folder / "b.mp4", *SMALL, *words).stdout
        if len(rules) == 1:
            assert f"Sampling: stride 2. Rule: {rules[0]}." in printed
            return
        table, *_ = printed.split("\n\n")
        rows = [row for row in table.splitlines() if " stride " in row]  # not the rest of a long path, folded
        assert all(f"  {rule}  " in row for rule, row in zip(rules, rows, strict=True))

    def test_a_models_own_rule_counts_unless_another_is_given(self, folder, tmp_path):
        model, size = make_model(tmp_path / "model"), {"height": 64, "width": 64}
        load(str(model), num_tokens=0.25, rule="anchor")[0].save_pretrained(model)
        own = {"num_frames": 16, "patch_size": 8, "size": size, "crop_size": size, "rule": "anchor"}

        def count(**settings):
            return int((run_lengths(folder / "b.mp4", **own, **settings) > 0).sum())

        for words, rule, tokens in (
            ((), "anchor, 25 % of the tokens", 128),
            (("--threshold", 0.1), "anchor, threshold 0.1", count()),
            (("--max-tokens", 100), "anchor, threshold 0.1, at most 100 tokens", count(max_tokens=100)),
            (("--num-tokens", 70, "--rule", "threshold"), "70 tokens", 70),
        ):
            (line,) = lines(run(folder / "b.mp4", "--model", model, *words, "--json").stdout)
            assert (line["rule"], line["tokens_after"]) == (rule, tokens)
        load(str(model), threshold=None)[0].save_pretrained(model)  # what drops nothing is counted at 0.1
        (line,) = lines(run(folder / "b.mp4", "--model", model, "--json").stdout)
        assert (line["rule"], line["tokens_after"]) == ("anchor, threshold 0.1", count())

    def test_results_go_to_stdout_while_a_line_moves_on_the_terminal(self, capsys):
        with spinner(Console(stderr=True, force_terminal=True)) as progress:
            progress.add_task("moving")
            print("result")
        assert capsys.readouterr().out == "result\n"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("nowhere", "nowhere: no such file or folder"),
            ("empty", "expected videos (.mp4, .avi"),
            (
                "videos --num-tokens 4 --threshold 0.1",
                "Expected --threshold or --num-tokens, which ignores it, received",
            ),
            ("videos --fps 0", "--fps: expected frames per second above 0, received 0"),
            ("videos --fps 3 --frame-stride 2", "Expected --frame-stride or --fps, received both"),
            ("videos --output no/counts.jsonl", "no/counts.jsonl: expected an existing folder"),
            ("videos --output videos/b.mp4", "b.mp4: is no file of counts"),
        ],
    )
    def test_a_users_mistake_is_one_line_and_code_2(self, folder, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "empty").mkdir()
        done = run(*arguments.split())
        assert done.exit_code == 2
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert done.stdout == ""
