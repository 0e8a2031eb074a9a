# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt tokens`: counts that are the processor's own, over any number of videos, whatever happens on the way."""

import itertools
import json
import multiprocessing
import os
import signal
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import VideoMAEConfig, VideoMAEForVideoClassification
from typer.testing import CliRunner

from helpers.paths import ODD
from helpers.tiny import TINY, randomise
from helpers.videos import noise, write_video
from hf_rlt import RLTVideoProcessor
from hf_rlt.cli import app
from hf_rlt.cli.console import spinner
from hf_rlt.data.text_files import path_of
from hf_rlt.jobs.worker_pool import Failure, Task, map_ordered
from hf_rlt.tokens import CountConfig, CountFile, TokenCount, VideoCounts, count_video, count_videos, find
from hf_rlt.tokens import count as videos
from hf_rlt.tokens.summary import Totals

REFUSED = {
    "audio_only.m4a": "no video stream to decode",
    "corrupt_bytes.mp4": "is damaged",
    "empty.mp4": "not a video that can be opened",
    "text_named.mp4": "not a video that can be opened",
    "truncated_no_moov.mp4": "not a video that can be opened",
}
SMALL = ("--image-size", "32", "--num-frames", "4", "--frame-stride", "2")


class Fatal(RLTVideoProcessor):
    """Reading a video of 7 frames kills the process; one of 5 frames is Ctrl-C for the process `main`."""

    main = 0

    def sample_frames(self, metadata, **settings):
        if metadata.total_num_frames == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        if metadata.total_num_frames == 5:
            os.kill(self.main, signal.SIGINT)
            time.sleep(60)
        return super().sample_frames(metadata, **settings)


def small(kind=RLTVideoProcessor, **settings):
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    return kind(**{"num_frames": 4, "frame_stride": 2, "patch_size": 16, **size, **settings})


@pytest.fixture
def folder(tmp_path) -> Path:
    """Videos of 20 frames, 10 a second, at several depths."""
    path = tmp_path / "videos"
    for i, name in enumerate(("b.mp4", "a/2.mp4", "a/1.mp4", "a/c/3.MP4")):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(path / name, noise(20, i))
    (path / "a" / "notes.txt").write_text("no video")
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["tokens", *map(str, arguments)])


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


class TestOneVideo:
    @pytest.mark.parametrize(
        "settings", [{}, {"sampling": "uniform"}, {"fps": 4.0}, {"num_frames": 7, "tubelet_size": 3}, {"position": 1.0}]
    )
    def test_counts_are_those_of_the_processors_run_lengths(self, folder, settings):
        video = folder / "b.mp4"
        rates, thresholds = (None, 2.5, 30.0), (0.0, 0.1, 0.8)
        counts = iter(count_video(video, CountConfig(small(**settings), rates, thresholds)))
        for rate, threshold in itertools.product(rates, thresholds):
            changes = {} if rate is None else {"fps": rate, "sampling": "clip"}
            made = small(**{**settings, **changes}, threshold=threshold)(str(video), return_tensors="pt")["run_lengths"]
            count = next(counts)
            assert (count.fps, count.threshold) == (rate, threshold)
            assert (count.tokens_before, count.tokens_after) == (made.numel(), int((made > 0).sum()))
            assert count.longest_run == int(made.max())
            assert count.share == int((made > 0).sum()) / made.numel()
        assert len({count.tokens_after for count in count_video(video, CountConfig(small(), rates, thresholds))}) > 2

    def test_several_clips_are_spread_over_the_video_and_averaged(self, folder):
        video = folder / "b.mp4"
        (count,) = count_video(video, CountConfig(small(), clips=3))
        made = [small(position=at)(str(video), return_tensors="pt")["run_lengths"] for at in (0.0, 0.5, 1.0)]
        assert count.tokens_after == sum(int((lengths > 0).sum()) for lengths in made) / 3
        assert count.longest_run == max(int(lengths.max()) for lengths in made)
        assert (count.clips, count.frames) == (3, 4)

    def test_each_frame_is_decoded_once_and_few_are_held(self, folder, monkeypatch):
        read, question = [], CountConfig(small(), (None, 5.0, 10.0), (0.05, 0.1), clips=4)
        whole = count_video(folder / "b.mp4", question)

        def watched(video, indices, index):
            read.append(list(indices))
            return original(video, indices, index=index)

        original = videos.read_frames
        monkeypatch.setattr(videos, "read_frames", watched)
        monkeypatch.setattr(videos, "PIXEL_BYTES", 3 * 48 * 64 * 3)
        assert count_video(folder / "b.mp4", question) == whole
        assert max(map(len, read)) == 3
        together = list(itertools.chain(*read))
        assert together == sorted(set(together))

    def test_the_longest_run_in_seconds(self, tmp_path):
        still = write_video(tmp_path / "still.mp4", np.full((40, 48, 64, 3), 90, np.uint8))  # 10 frames a second
        for settings, seconds in (
            ({}, 0.8),
            ({"frame_stride": 4}, 1.6),
            ({"fps": 2.0}, 2.0),
            ({"frame_stride": 9}, 3.6),
        ):
            (count,) = count_video(still, CountConfig(small(**settings)))
            assert count.longest_run == 2
            assert count.longest_run_seconds == pytest.approx(seconds)
            assert count.repeated_frames == 0
        short = write_video(tmp_path / "short.mp4", np.full((3, 48, 64, 3), 90, np.uint8))
        (count,) = count_video(short, CountConfig(small()))
        assert count.longest_run_seconds == pytest.approx(0.3)  # no more than there is
        assert count.repeated_frames == 2  # 0, 2, 2, 2
        single = write_video(tmp_path / "single.mp4", np.full((1, 48, 64, 3), 90, np.uint8))
        (count,) = count_video(single, CountConfig(small()))
        assert (count.tokens_after, count.tokens_before, count.longest_run, count.repeated_frames) == (4, 8, 2, 3)
        assert count.longest_run_seconds == pytest.approx(0.1)


class TestFinding:
    def test_files_and_folders_in_their_order(self, folder):
        names = ["a/1.mp4", "a/2.mp4", "a/c/3.MP4"]
        found = list(find([folder, folder / "a" / "notes.txt", folder / "a"]))
        everything = [folder / "b.mp4", *(folder / name for name in names)]
        assert found == [
            *map(str, everything),
            str(folder / "a" / "notes.txt"),
            *(str(folder / name) for name in names),
        ]

    def test_nothing_is_looked_for_before_it_is_needed(self, folder, monkeypatch):
        listed = []
        original = os.scandir
        monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or original(path))
        found = find([folder])
        assert listed == []
        assert [next(found), len(listed)] == [str(folder / "b.mp4"), 1]

    def test_circles_are_not_entered(self, folder):
        (folder / "a" / "up").symlink_to(folder)
        assert len(list(find([folder]))) == 4

    def test_a_path_that_is_not_there_is_named_at_once(self, folder):
        with pytest.raises(ValueError, match="nowhere: expected a video or a folder of videos, found neither"):
            find([folder, "nowhere"])


def late(number: int) -> int:
    time.sleep(0.4 if number == 0 else 0)
    return 10 * number


def fragile(number: int) -> int:
    if number % 4 == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if number % 4 == 2:
        raise ZeroDivisionError("a library's\nsurprise")
    return number + torch.get_num_threads()


def once(path: str) -> str:
    """Dies at the first attempt, as a process does that pays for another one's memory."""
    if not Path(path).exists():
        Path(path).touch()
        os._exit(3)
    return "second attempt"


def touch(path: str) -> str:
    if path.endswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    with open(path, "a") as file:
        file.write("once")
    return path


class TestProcesses:
    def test_order_is_kept_and_little_is_held(self):
        pulled, found = [], []
        endless = (pulled.append(number) or Task(number) for number in itertools.count())
        results = map_ordered(endless, late, 2, found.append, window=6)
        for expected in range(30):
            task = next(results)
            assert (task.item, task.result) == (expected, 10 * expected)
            assert len(pulled) <= expected + 7
        results.close()
        assert found[0].item != 0
        assert multiprocessing.active_children() == []

    def test_errors_and_deaths_concern_one_task(self):
        tasks = list(map_ordered(map(Task, range(4)), fragile, 2))
        assert [task.item for task in tasks] == list(range(4))
        for task in tasks:
            if task.item % 4 == 1:
                assert task.result == Failure(
                    "the process that read it ended, twice (SIGKILL, perhaps for lack of memory)."
                )
            elif task.item % 4 == 2:
                assert task.result == Failure("ZeroDivisionError: a library's surprise")
            else:
                assert task.result == task.item + 1  # one thread in each process

    def test_a_process_that_dies_by_chance_costs_nothing(self, tmp_path):
        (task,) = map_ordered([Task(str(tmp_path / "tried"))], once, 1)
        assert (task.result, task.tries) == ("second attempt", 2)

    def test_a_process_keeps_busy_while_nobody_asks(self, tmp_path):
        names = [str(tmp_path / f"{number}") for number in range(9)]
        results = map_ordered(map(Task, names), touch, 1, queued=4)
        assert next(results).item == names[0]
        deadline = time.monotonic() + 20
        while not Path(names[3]).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sorted(path.name for path in tmp_path.iterdir())[:4] == ["0", "1", "2", "3"]
        assert [task.item for task in results] == names[1:]

    def test_tasks_that_wait_at_a_process_that_dies_are_done_once(self, tmp_path):
        names = [str(tmp_path / name) for name in ("a", "b", "kill", "c", "d", "e")]
        tasks = list(map_ordered(map(Task, names), touch, 1, queued=6))
        assert [task.item for task in tasks] == names
        assert [isinstance(task.result, Failure) for task in tasks] == [False, False, True, False, False, False]
        assert [task.tries for task in tasks] == [1, 1, 2, 1, 1, 1]
        assert {Path(name).read_text() for name in names if "kill" not in name} == {"once"}


class TestManyVideos:
    def test_a_video_that_kills_its_process_is_reported_and_the_rest_goes_on(self, folder, tmp_path):
        write_video(folder / "a" / "15.mp4", noise(7))
        question = CountConfig(small(Fatal))
        with CountFile(tmp_path / "counts.jsonl", question) as store:
            counted = list(count_videos(find([folder]), question, 2, store))
        assert [Path(video.video).name for video in counted] == ["b.mp4", "1.mp4", "15.mp4", "2.mp4", "3.MP4"]
        assert [video.problem is not None for video in counted] == [False, False, True, False, False]
        assert "SIGKILL" in counted[2].problem
        assert len((tmp_path / "counts.jsonl").read_text().splitlines()) == 4
        for video in counted[:2]:
            assert video.counts == count_video(video.video, CountConfig(small()))

    def test_ctrl_c_keeps_what_was_found(self, folder, tmp_path, monkeypatch):
        write_video(folder / "a" / "15.mp4", noise(5))
        processor = small(Fatal)
        processor.main = os.getpid()
        monkeypatch.setattr(sys.modules["hf_rlt.cli.tokens"], "make_processor", lambda *arguments: processor)
        output = tmp_path / "counts.jsonl"
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        try:
            done = run(folder, "--output", output, "--workers", 1)
        finally:
            signal.signal(signal.SIGINT, before)
        assert done.exit_code == 130
        assert (
            done.stderr == f"Interrupted after 2 videos; what was found is in {output}, and the same command goes on.\n"
        )
        assert "1.mp4" in done.stdout
        assert [Path(line["video"]).name for line in lines(output.read_text())] == ["b.mp4", "1.mp4"]
        assert multiprocessing.active_children() == []

    def test_what_is_no_file_is_reported(self, folder):
        os.mkfifo(folder / "pipe.mp4")
        (folder / "link.mp4").symlink_to("nowhere")
        problems = {Path(v.video).name: v.problem for v in count_videos(find([folder]), CountConfig(small()))}
        assert problems.pop("pipe.mp4") == "expected a file, found something else."
        assert problems.pop("link.mp4") == "cannot be found (No such file or directory)."
        assert set(problems.values()) == {None}


class TestOutput:
    def count(self, folder, output, question, **changes):
        with CountFile(output, question) as store:
            return list(count_videos(find([folder]), question, 1, store))

    def test_an_unchanged_video_is_not_read_again(self, folder, tmp_path, monkeypatch):
        output, question = tmp_path / "counts.jsonl", CountConfig(small(), thresholds=(0.1, 0.8))
        first = self.count(folder, output, question)
        content = output.read_bytes()
        assert len(content.splitlines()) == 8
        (folder / "b.mp4").rename(folder / "z.mp4")
        again = self.count(folder, output, question)
        assert [video.reused for video in again] == [False, True, True, True]
        assert [video.counts for video in again] == [video.counts for video in first]
        assert output.read_bytes()[: len(content)] == content
        os.utime(folder / "a" / "1.mp4", ns=(1, 1))
        write_video(folder / "a" / "2.mp4", noise(30))
        assert [video.reused for video in self.count(folder, output, question)] == [True, False, False, True]

    def test_other_settings_are_counted_anew_and_more_thresholds_are_added(self, folder, tmp_path):
        output = tmp_path / "counts.jsonl"
        self.count(folder / "a" / "c", output, CountConfig(small()))
        for question, known, more in (
            (CountConfig(small()), True, 0),
            (CountConfig(small(threshold=0.7)), True, 0),  # the processor's own threshold is not what is asked for
            (CountConfig(small(), thresholds=(0.1, 0.3)), False, 1),
            (CountConfig(small(), thresholds=(0.3, 0.1)), True, 0),
            (CountConfig(small(), fps=(None, 5.0)), False, 1),
            (CountConfig(small(), clips=2), False, 1),
            (CountConfig(small(patch_size=8)), False, 1),
            (CountConfig(small(frame_stride=3)), False, 1),
            (CountConfig(small(image_mean=[0.5, 0.5, 0.5])), False, 1),
        ):
            before = len(output.read_text().splitlines())
            counted = self.count(folder / "a" / "c", output, question)
            assert {video.reused for video in counted} == {known}
            assert len(output.read_text().splitlines()) == before + more
            for video in counted:
                assert [(count.fps, count.threshold) for count in video.counts] == question.parts
                assert video.counts == count_video(video.video, question)

    def test_a_torn_line_costs_that_line(self, folder, tmp_path):
        output, question = tmp_path / "counts.jsonl", CountConfig(small())
        wanted = [video.counts for video in self.count(folder / "a", output, question)]
        content = output.read_bytes()
        ends = [place + 1 for place, byte in enumerate(content) if byte == 10]
        for cut in (0, 5, ends[0] - 1, ends[0], ends[0] + 1, len(content) - 2):
            output.write_bytes(content[:cut])
            counted = self.count(folder / "a", output, question)
            whole = sum(end <= cut for end in ends)
            assert [video.counts for video in counted] == wanted
            assert sum(video.reused for video in counted) == whole, cut
            assert [video.reused for video in self.count(folder / "a", output, question)] == [True] * 3

    def test_a_full_disk_tears_no_record(self, folder, tmp_path):
        resource = pytest.importorskip("resource")
        output, question = tmp_path / "counts.jsonl", CountConfig(small())
        self.count(folder / "a" / "1.mp4", output, question)
        content = output.read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) + 20, limits[1]))  # bytes of a file: as little room
        try:
            done = run(folder / "b.mp4", "--output", output)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert done.exit_code == 2
        assert "File too large" in done.stderr
        assert output.read_bytes() == content

    def test_a_file_that_is_being_written_is_not_written_by_another(self, folder, tmp_path):
        output, question = tmp_path / "counts.jsonl", CountConfig(small())
        with CountFile(output, question):
            done = run(folder / "b.mp4", "--output", output)
        assert done.exit_code == 2
        assert f"{output}: counts of another run are being written to it" in done.stderr
        assert len(self.count(folder / "b.mp4", output, question)) == 1

    @pytest.mark.parametrize("content", [b"\x00\x00\x00\x18ftypmp42", b'{"videos": []}\n', b"one line\n"])
    def test_another_file_is_not_spoilt(self, folder, tmp_path, content):
        output = tmp_path / "other"
        output.write_bytes(content)
        done = run(folder, "--output", output)
        assert done.exit_code == 2
        assert f"{output}: expected a file of counts or none, found another one" in done.stderr
        assert output.read_bytes() == content


def count_one_by_one(folder: Path, question: CountConfig) -> None:
    torch.set_num_threads(1)
    with CountFile(folder / "counts.jsonl", question) as store:
        for video in find([folder / "tree"]):
            list(count_videos([video], question, 1, store))


class TestThousands:
    def test_memory_stays_and_a_killed_count_goes_on(self, tmp_path):
        clip = write_video(tmp_path / "clip.mp4", noise(4)[:, :16, :16])
        for part in range(30):
            (tmp_path / "tree" / f"{part:02}").mkdir(parents=True)
            for name in range(50):
                os.link(clip, tmp_path / "tree" / f"{part:02}" / f"{name:02}.mp4")
        output, options = tmp_path / "counts.jsonl", ("--image-size", "16", "--num-frames", "2", "--frame-stride", "1")
        size = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
        question = CountConfig(RLTVideoProcessor(num_frames=2, frame_stride=1, **size))
        process = multiprocessing.get_context("fork").Process(target=count_one_by_one, args=(tmp_path, question))
        process.start()
        while process.is_alive() and (not output.exists() or output.read_bytes().count(b"\n") < 300):
            time.sleep(0.01)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        known = output.read_bytes().count(b"\n")
        assert 300 <= known < 1500
        names, held, tally = [], [], Totals(40)
        with CountFile(output, question) as store:
            tracemalloc.start()
            for video in count_videos(find([tmp_path / "tree"]), question, 2, store):
                names.append(video.video.removeprefix(str(tmp_path)))
                tally.add(video)
                if len(names) % 100 == 0:
                    held.append(tracemalloc.get_traced_memory()[0])
            tracemalloc.stop()
        assert names == [f"/tree/{part:02}/{name:02}.mp4" for part in range(30) for name in range(50)]
        assert (tally.read, tally.reused, tally.bad) == (1500, known, 0)
        per_video = (held[-1] - held[3]) / (100 * (len(held) - 4))
        assert per_video < 500  # bytes: names kept by this test, places in the file, shares
        assert {line["tokens_after"] for line in lines(output.read_text())} == {1}
        done = run(tmp_path / "tree", "--output", output, *options)
        assert done.exit_code == 0, done.output
        assert f"1,500 of 1,500 videos were known from {output} and have not changed." in done.stderr
        assert "lowest and highest shares" in done.stdout


class TestSummary:
    def test_mean_quartiles_and_the_videos_at_either_end(self):
        shares = np.random.default_rng(0).permutation(np.linspace(0.01, 0.99, 57))
        tally = Totals(10)
        for i, share in enumerate(shares):
            count = TokenCount(None, 0.1, 1, 16, 100, 100 * share, i % 9, i / 10, int(i < 3))
            tally.add(VideoCounts(f"{i}.mp4", counts=[count]))
        tally.add(VideoCounts("bad.mp4", problem="is bad"))
        found = tally.summaries[None, 0.1].result()
        order = np.argsort(shares)
        assert found["mean"] == pytest.approx(shares.mean())
        assert [found[q] for q in ("quartile_1", "median", "quartile_3")] == pytest.approx(
            np.percentile(shares, [25, 50, 75])
        )
        assert [name for _, name in found["lowest"]] == [f"{i}.mp4" for i in order[:5]]
        assert [name for _, name in found["highest"]] == [f"{i}.mp4" for i in order[::-1][:5]]
        assert (found["longest_run"], found["longest_run_seconds"], found["repeating"]) == (8, 5.3, 3)
        assert (len(tally.rows), tally.read, tally.bad) == (10, 57, 1)


class TestCommand:
    @pytest.mark.skipif(not ODD.is_dir(), reason="needs ../shared/clips/odd")
    def test_odd_files_get_the_right_answer_or_one_sentence(self):
        paths = sorted(ODD.iterdir())
        done = run(*paths, *SMALL, "--json", "--threshold", 0.1, "--threshold", 0.3)
        assert done.exit_code == 1
        found = lines(done.stdout)
        assert list(dict.fromkeys(line["video"] for line in found)) == [os.path.abspath(path) for path in paths]
        problems = {Path(line["video"]).name: line["error"] for line in found if "error" in line}
        assert problems.keys() == REFUSED.keys()
        *bad, last = done.stderr.splitlines()
        assert last == "5 of 22 videos cannot be read, see above."
        assert len(bad) == 5
        for name, problem in problems.items():
            assert REFUSED[name] in problem
            assert f"{ODD / name}: {problem}" in bad
        counts = {(Path(line["video"]).name, line["threshold"]): line for line in found if "error" not in line}
        assert len(counts) == 2 * 17
        for (name, threshold), line in counts.items():
            lengths = small(threshold=threshold)(str(ODD / name), return_tensors="pt")["run_lengths"]
            assert (line["tokens_after"], line["longest_run"]) == (int((lengths > 0).sum()), int(lengths.max())), name

    def test_a_table_of_videos_rates_and_thresholds(self, folder):
        (folder / "bad.mp4").write_text("no video")
        done = run(folder, *SMALL[:4], "--fps", 5, "--fps", 2.5, "--threshold", 0.1, "--threshold", 0.8)
        assert done.exit_code == 1
        table, summary, _ = done.stdout.split("\n\n")
        rows = [line.split() for line in table.splitlines()[1:]]
        assert len(rows) == 16
        names = [str(folder / name) for name in ("b.mp4", "a/1.mp4", "a/2.mp4", "a/c/3.MP4")]
        assert [row[0] for row in rows[::4]] == names
        question = CountConfig(small(), (5.0, 2.5), (0.1, 0.8))
        counts = [count for name in names for count in count_video(name, question)]
        for row, count in zip(rows, counts, strict=True):
            wanted = [
                f"{count.fps:g}",
                "fps",
                f"{count.threshold:g}",
                f"{count.tokens_before}",
                f"{count.tokens_after:.0f}",
            ]
            assert row[-8:] == [
                *wanted, f"{count.share:.1%}", f"{count.longest_run}", f"({count.longest_run_seconds:.2f}", "s)"
            ][-8:]  # fmt: skip
        assert len(summary.splitlines()) == 5
        mean = np.mean([count.share for count in counts[::4]])
        assert f"{mean:.1%}" in summary.splitlines()[1]
        assert done.stderr.splitlines()[-1] == "1 of 5 videos cannot be read, see above."

    def test_json_lines_are_what_is_written(self, folder, tmp_path):
        output = tmp_path / "counts.jsonl"
        done = run(folder / "b.mp4", *SMALL, "--clips", 2, "--output", output, "--json")
        assert done.exit_code == 0, done.output
        assert done.stdout == output.read_text()
        (line,) = lines(done.stdout)
        assert line["video"] == str(folder / "b.mp4")
        assert (line["clips"], line["frames"], line["tokens_before"]) == (2, 4, 8)
        assert line["share"] == line["tokens_after"] / line["tokens_before"]

    def test_a_models_processor_says_everything(self, folder, tmp_path):
        settings = {**TINY, "num_frames": 8, "image_size": 64}
        randomise(VideoMAEForVideoClassification(VideoMAEConfig(**settings))).save_pretrained(tmp_path / "model")
        size = {"height": 64, "width": 64}
        RLTVideoProcessor(frame_stride=1, size=size, crop_size=size).save_pretrained(tmp_path / "model")
        done = run(folder / "b.mp4", "--model", tmp_path / "model", "--json")
        assert done.exit_code == 0, done.output
        processor = RLTVideoProcessor(num_frames=8, frame_stride=1, patch_size=8, size=size, crop_size=size)
        lengths = processor(str(folder / "b.mp4"), return_tensors="pt")["run_lengths"]
        assert lines(done.stdout)[0]["tokens_before"] == lengths.numel() == 4 * 8 * 8
        assert lines(done.stdout)[0]["tokens_after"] == int((lengths > 0).sum())

    def test_results_go_to_stdout_while_a_line_moves_on_the_terminal(self, capsys):
        with spinner(Console(stderr=True, force_terminal=True)) as progress:
            progress.add_task("moving")
            print("result")
        assert capsys.readouterr().out == "result\n"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("nowhere",), "nowhere: expected a video or a folder of videos"),
            (("EMPTY",), "expected videos (.mp4, .avi"),
            (("FOLDER", "--fps", 0), "--fps: expected frames per second above 0, received 0"),
            (("FOLDER", "--fps", 3, "--frame-stride", 2), "Expected --frame-stride or --fps, received both (2 and 3)"),
            (("FOLDER", "--model", "nomodel"), "nomodel: expected a model folder or a Hub id"),
            (("FOLDER", "--model", "EMPTY", "--patch-size", 8), "and --patch-size: leave one out"),
            (("FOLDER", "--image-size", 15), "holds no whole tubelet"),
            (("FOLDER", "--output", "no/counts.jsonl"), "no/counts.jsonl: expected an existing folder"),
        ],
    )
    def test_a_users_mistake_is_one_line_and_code_2(self, folder, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "empty").mkdir()
        paths = {"FOLDER": folder, "EMPTY": tmp_path / "empty"}
        done = run(*(paths.get(argument, argument) for argument in arguments))
        assert done.exit_code == 2
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert done.stdout == ""


def test_folders_that_link_to_each_other_are_entered_once(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        write_video(tmp_path / name / "clip.mp4", noise(5))
    for here in ("a", "b", "c"):
        for there in ("a", "b", "c"):
            if here != there:
                (tmp_path / here / f"to_{there}").symlink_to(tmp_path / there)
    assert len(list(find([tmp_path]))) == 3


def test_names_that_are_alike_get_their_own_counts(alike, tmp_path):
    question = CountConfig(small(patch_size=4))
    wanted = [[count.tokens_after for count in count_video(path, question)] for path in alike]
    assert len({tuple(counts) for counts in wanted}) == len(alike)
    for paths in (alike[::2], alike, alike):
        with CountFile(tmp_path / "counts.jsonl", question) as store:
            found = list(count_videos(paths, question, 1, store))
        assert [[count.tokens_after for count in video.counts] for video in found] == wanted[
            :: len(alike) // len(paths)
        ]
    records = [json.loads(line) for line in (tmp_path / "counts.jsonl").read_text().splitlines()]
    assert sorted(path_of(record["video"]) for record in records) == sorted(alike)
