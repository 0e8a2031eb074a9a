# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Counts are the processor's own, over any number of videos, whatever happens on the way."""

import itertools
import multiprocessing
import os
import signal
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.counting import Fatal, count_all, lines, run, run_lengths, small
from helpers.videos import noise, write_video
from hf_rlt import RLTVideoProcessor
from hf_rlt.cli.token_tables import Totals
from hf_rlt.data import UnreadableClipError, VideoList
from hf_rlt.data.text_files import path_of
from hf_rlt.models.video_reader import VideoReader
from hf_rlt.tokens import (
    CountConfig,
    CountFile,
    TokenCount,
    VideoCounts,
    count_many,
    count_tokens,
    count_video,
    count_videos,
    find,
)


class TestOneVideo:
    @pytest.mark.parametrize(
        "settings", [{}, {"sampling": "uniform"}, {"fps": 4.0}, {"num_frames": 7, "tubelet_size": 3}, {"position": 1.0}]
    )
    def test_counts_are_those_of_the_processors_run_lengths(self, folder, settings):
        rates, thresholds = (None, 2.5, 30.0), (0.0, 0.1, 0.8, None)
        counts = count_video(folder / "b.mp4", CountConfig(small(**settings), rates, thresholds))
        for count, (rate, threshold) in zip(counts, itertools.product(rates, thresholds), strict=True):
            changes = {} if rate is None else {"fps": rate, "sampling": "clip"}
            made = run_lengths(folder / "b.mp4", **{**settings, **changes}, threshold=threshold)
            assert (count.fps, count.threshold) == (rate, threshold)
            assert (count.tokens_before, count.tokens_after) == (made.numel(), int((made > 0).sum()))
            assert (count.longest_run, count.share) == (int(made.max()), int((made > 0).sum()) / made.numel())
        assert len({count.tokens_after for count in counts}) > 1

    def test_several_clips_are_spread_over_the_video_and_averaged(self, folder):
        (count,) = count_video(folder / "b.mp4", CountConfig(small(), clips=3))
        made = [run_lengths(folder / "b.mp4", position=at) for at in (0.0, 0.5, 1.0)]
        assert count.tokens_after == sum(int((lengths > 0).sum()) for lengths in made) / 3
        assert count.longest_run == max(int(lengths.max()) for lengths in made)
        assert (count.clips, count.frames) == (3, 4)

    def test_frames_are_decoded_once_and_held_as_small_as_the_model_sees_them(self, folder, monkeypatch):
        read, original = [], VideoReader.read
        monkeypatch.setattr(VideoReader, "read", lambda *args: read.append(original(*args)) or read[-1])
        count_video(folder / "b.mp4", CountConfig(small(), (None, 5.0, 10.0), (0.05, 0.1), clips=4))
        assert [frames.shape for frames in read] == [(3 * 4 * 4, 32, 42, 3)]

    @pytest.mark.parametrize(
        ("frames", "settings", "run", "seconds", "repeated"),
        [  # at 10 frames a second
            (40, {}, 2, 0.8, 0),
            (40, {"frame_stride": 4}, 2, 1.6, 0),
            (40, {"fps": 2.0}, 2, 2.0, 0),
            (40, {"frame_stride": 9}, 2, 3.6, 0),
            (3, {}, 2, 0.3, 2),  # frames 0, 2, 2, 2; no more seconds than there are
            (1, {}, 2, 0.1, 3),
        ],
    )
    def test_the_longest_run_in_seconds(self, tmp_path, frames, settings, run, seconds, repeated):
        video = write_video(tmp_path / "still.mp4", np.full((frames, 48, 64, 3), 90, np.uint8))
        (count,) = count_video(video, CountConfig(small(**settings)))
        assert (count.tokens_after, count.longest_run, count.repeated_frames) == (4, run, repeated)
        assert count.longest_run_seconds == pytest.approx(seconds)


class TestFinding:
    def test_files_and_folders_in_their_order_as_they_are_needed(self, folder, monkeypatch):
        names, notes = ["a/1.mp4", "a/2.mp4", "a/c/3.MP4"], folder / "a" / "notes.txt"
        listed, original, below = [], os.scandir, [str(folder / name) for name in names]
        monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or original(path))
        found = find([folder, notes, folder / "a"])
        assert listed == []
        assert [next(found), len(listed)] == [str(folder / "b.mp4"), 1]
        assert list(found) == [*below, str(notes), *below]

    def test_a_folder_is_entered_once(self, folder):
        (folder / "a" / "up").symlink_to(folder)
        (folder / "aside").mkdir()
        (folder / "aside" / "to_a").symlink_to(folder / "a")
        (folder / "a" / "to_aside").symlink_to(folder / "aside")
        assert len(list(find([folder]))) == 4


class TestManyVideos:
    @pytest.mark.slow
    def test_a_video_that_kills_its_process_is_reported_and_the_rest_goes_on(self, folder, tmp_path):
        write_video(folder / "a" / "15.mp4", noise(7))
        config = CountConfig(small(Fatal))
        with CountFile(tmp_path / "counts.jsonl", config) as store:
            counted = list(count_videos(find([folder]), config, 2, store))
        assert [Path(video.video).name for video in counted] == ["b.mp4", "1.mp4", "15.mp4", "2.mp4", "3.MP4"]
        assert [video.problem is not None for video in counted] == [False, False, True, False, False]
        assert "SIGKILL" in counted[2].problem
        assert len((tmp_path / "counts.jsonl").read_text().splitlines()) == 4
        assert counted[0].counts == count_video(counted[0].video, CountConfig(small()))

    @pytest.mark.slow
    def test_ctrl_c_keeps_what_was_found(self, folder, tmp_path, monkeypatch):
        write_video(folder / "a" / "15.mp4", noise(5))
        processor = small(Fatal)
        processor.main = os.getpid()
        monkeypatch.setattr("hf_rlt.cli.options.make_processor", lambda *arguments: processor)
        output = tmp_path / "counts.jsonl"
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        try:
            done = run(folder, "-o", output, "--num-workers", 1)
        finally:
            signal.signal(signal.SIGINT, before)
        assert done.exit_code == 130
        said = f"Interrupted after 2 videos; counts so far are in {output}, rerun the command to resume.\n"
        assert done.stderr == said
        assert "1.mp4" in done.stdout
        assert [Path(line["video"]).name for line in lines(output.read_text())] == ["b.mp4", "1.mp4"]
        assert multiprocessing.active_children() == []

    def test_what_is_no_file_is_reported(self, folder):
        os.mkfifo(folder / "pipe.mp4")
        (folder / "link.mp4").symlink_to("nowhere")
        problems = {Path(v.video).name: v.problem for v in count_videos(find([folder]), CountConfig(small()), 0)}
        assert problems.pop("pipe.mp4") == "expected a file, found something else."
        assert problems.pop("link.mp4") == "cannot be found (No such file or directory)."
        assert set(problems.values()) == {None}


class TestCache:
    def test_an_unchanged_video_is_not_read_again(self, folder, tmp_path):
        output, config = tmp_path / "counts.jsonl", CountConfig(small(), thresholds=(0.1, 0.8))
        first = count_all([folder], output, config)
        content = output.read_bytes()
        assert len(content.splitlines()) == 8
        (folder / "b.mp4").rename(folder / "z.mp4")
        again = count_all([folder], output, config)
        assert [video.reused for video in again] == [False, True, True, True]
        assert [video.counts for video in again] == [video.counts for video in first]
        assert output.read_bytes()[: len(content)] == content
        os.utime(folder / "a" / "1.mp4", ns=(1, 1))
        write_video(folder / "a" / "2.mp4", noise(30))
        assert [video.reused for video in count_all([folder], output, config)] == [True, False, False, True]

    def test_other_settings_are_counted_anew_and_more_thresholds_are_added(self, folder, tmp_path):
        output, video = tmp_path / "counts.jsonl", folder / "b.mp4"
        count_all([video], output, CountConfig(small()))
        small(threshold=0.7).save_pretrained(tmp_path / "saved")  # its threshold and origin change no count
        for config, more in (
            (CountConfig(small()), 0),
            (CountConfig(RLTVideoProcessor.from_pretrained(tmp_path / "saved")), 0),
            (CountConfig(small(), thresholds=(0.1, 0.3)), 1),
            (CountConfig(small(), thresholds=(0.3, 0.1)), 0),
            (CountConfig(small(), fps=(None, 5.0)), 1),
            (CountConfig(small(), clips=2), 1),
            (CountConfig(small(patch_size=8)), 1),
            (CountConfig(small(rule="anchor")), 1),
            (CountConfig(small(max_tokens=6)), 1),
            (CountConfig(small(max_tokens=6, budget="batch")), 1),
            (CountConfig(small(num_frames=6, max_tokens=6)), 1),
            (CountConfig(small(num_frames=6, max_tokens=6, budget_groups=2)), 1),
            (CountConfig(small(num_tokens=6)), 1),
            (CountConfig(small(num_tokens=0.75)), 1),
            (CountConfig(small(frame_stride=3)), 1),
            (CountConfig(small(image_mean=[0.5, 0.5, 0.5])), 1),
        ):
            before = len(output.read_text().splitlines())
            (counted,) = count_all([video], output, config)
            assert counted.reused == (not more)
            assert len(output.read_text().splitlines()) == before + more
            assert [(part.fps, part.threshold) for part in counted.counts] == config.parts
            assert counted.counts == count_video(video, config)

    def test_names_that_are_alike_get_their_own_counts(self, alike, tmp_path):
        config = CountConfig(small(patch_size=4))
        wanted = {path: count_video(path, config) for path in alike}
        assert len({counts[0].tokens_after for counts in wanted.values()}) == len(alike)
        for paths in (alike[::2], alike, alike):
            counted = count_all(paths, tmp_path / "counts.jsonl", config)
            assert [video.counts for video in counted] == [wanted[path] for path in paths]
        records = lines((tmp_path / "counts.jsonl").read_text())
        assert sorted(path_of(record["video"]) for record in records) == sorted(alike)

    def test_training_counts_once_and_resumes(self, folder, tmp_path, monkeypatch):
        (folder / "damaged.mp4").write_text("no video")
        row = {"path": None, "bytes": (folder / "b.mp4").read_bytes()}
        readable = [folder / "a" / "1.mp4", folder / "a" / "2.mp4", folder / "a" / "c" / "3.MP4", folder / "b.mp4"]
        sources = [readable[0], folder / "damaged.mp4", *readable[1:3], folder / "gone.mp4", row]
        clips, skip = VideoList(sources, [0] * 6, ["a", "b"]), {"on_bad_video": "skip", "cache_dir": tmp_path / "cache"}
        tokens = [int((run_lengths(video) > 0).sum()) for video in readable]
        expected = [tokens[0], 0, *tokens[1:3], 0, tokens[3]]

        def interrupt(done, total):
            if done == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            count_tokens(clips, small(), progress=interrupt, **skip)
        (file,) = skip["cache_dir"].iterdir()
        file.write_text(file.read_text() + '{"video": "torn')
        read = []
        monkeypatch.setattr(count_many, "count_video", lambda *args: read.append(args[0]) or count_video(*args))
        assert count_tokens(clips, small(), **skip).tolist() == expected
        assert [Path(str(video)).name for video in read[:2]] == ["damaged.mp4", "3.MP4"]
        assert len(read) == 3
        assert clips.unreadable_mask.nonzero().flatten().tolist() == [1, 4]
        assert count_tokens(clips, small(), **skip).tolist() == expected
        assert len(read) == 4  # the bad one may have been repaired
        assert (count_tokens(clips, small(threshold=None), **skip)[[0, 2, 3, 5]] == 8).all()
        with pytest.raises(UnreadableClipError, match=r"Clip 1 of the data set cannot be read: .*damaged\.mp4: not a"):
            count_tokens(clips, small(), cache_dir=skip["cache_dir"])

    def test_training_counts_no_tokens_of_what_is_no_video(self, tmp_path):
        sources = [None, 3, {}, {"path": "", "bytes": None}, {"bytes": b"x"}, "", "a\0b", {"path": "memory://gone.mp4"}]
        clips = VideoList(sources, [0] * len(sources), ["a", "b"])
        assert not count_tokens(clips, small(), on_bad_video="skip", cache_dir=tmp_path).any()
        assert clips.unreadable_mask.all()


def count_one_by_one(folder: Path, config: CountConfig) -> None:
    torch.set_num_threads(1)
    with CountFile(folder / "counts.jsonl", config) as store:
        for video in find([folder / "tree"]):
            list(count_videos([video], config, 1, store))


@pytest.mark.slow
def test_memory_stays_and_a_killed_count_goes_on(tmp_path):
    clip = write_video(tmp_path / "clip.mp4", noise(4)[:, :16, :16])
    names = [f"{part:02}/{name:02}.mp4" for part in range(30) for name in range(50)]
    for name in names:
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(clip, tmp_path / "tree" / name)
    output, options = tmp_path / "counts.jsonl", ("--image-size", "16", "--num-frames", "2", "--frame-stride", "1")
    size = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    config = CountConfig(RLTVideoProcessor(num_frames=2, frame_stride=1, **size))
    process = multiprocessing.get_context("fork").Process(target=count_one_by_one, args=(tmp_path, config))
    process.start()
    while process.is_alive() and (not output.exists() or output.read_bytes().count(b"\n") < 300):
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    known = output.read_bytes().count(b"\n")
    assert 300 <= known < 1500
    found, held, totals = [], [], Totals(40)
    with CountFile(output, config) as store:
        tracemalloc.start()
        for video in count_videos(find([tmp_path / "tree"]), config, 2, store):
            found.append(video.video.removeprefix(f"{tmp_path}/tree/"))
            totals.add(video)
            if len(found) % 100 == 0:
                held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert found == names
    assert (totals.read, totals.reused, totals.bad) == (1500, known, 0)
    per_video = (held[-1] - held[3]) / (100 * (len(held) - 4))
    assert per_video < 500  # bytes: names kept by this test, places in the file, shares
    assert {line["tokens_after"] for line in lines(output.read_text())} == {1}
    done = run(tmp_path / "tree", "--output", output, *options)
    assert done.exit_code == 0, done.output
    assert f"1,500 of 1,500 videos were known from {output} and have not changed." in done.stderr
    assert "lowest and highest shares" in done.stdout


def test_a_summary_has_quartiles_and_the_videos_at_either_end():
    shares = np.random.default_rng(0).permutation(np.linspace(0.01, 0.99, 57))
    totals = Totals(10)
    for i, share in enumerate(shares):
        counts = [TokenCount(None, 0.1, 1, 16, 100, 100 * share, i % 9, i / 10, int(i < 3))]
        totals.add(VideoCounts(f"{i}.mp4", counts=counts))
    totals.add(VideoCounts("bad.mp4", problem="is bad"))
    found, order = totals.summaries[None, 0.1], np.argsort(shares)
    assert found.quartiles() == pytest.approx(np.percentile(shares, [25, 50, 75]))
    assert [name for _, name in found.lowest] == [f"{i}.mp4" for i in order[:5]]
    assert [name for _, name in found.highest] == [f"{i}.mp4" for i in order[::-1][:5]]
    assert (found.longest_run, found.repeating) == ((8, 5.3), 3)
    assert (len(totals.rows), totals.read, totals.bad) == (10, 57, 1)
