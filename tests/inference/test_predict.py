# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt predict`: what one clip after the other gives, from any number of processes, whatever happens on the way."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner

from helpers.paths import ODD, ROOT
from helpers.tiny import make_model
from helpers.videos import noise, write_video
from hf_rlt import RLTVideoMAEForVideoClassification, RLTVideoProcessor
from hf_rlt.cli import app
from hf_rlt.data import EvalDataset, VideoList
from hf_rlt.inference import Options, Rank, path_of, predict, read_features
from hf_rlt.inference.decoder import Decoder, VideoJob, ViewConfig
from hf_rlt.inference.loading import load
from hf_rlt.inference.results import Folder, digest
from hf_rlt.inference.runner import Runner
from hf_rlt.jobs.worker_pool import Failure, Task

REAL = ODD.parent / "real"
BAD = {"audio_only.m4a", "corrupt_bytes.mp4", "empty.mp4", "text_named.mp4", "truncated_no_moov.mp4"}


TWO = ROOT / "examples" / "accelerate_configs" / "cpu.yaml"
LAUNCH = [str(Path(sys.executable).with_name("accelerate")), "launch", "--config_file", str(TWO), "-m", "hf_rlt"]
LITTLE_ROOM = """
import resource, sys
import hf_rlt.cli
from hf_rlt.inference.decoder import SharedBuffers

def limited(self, *arguments):  # no file may grow beyond a limit once the shared memory is there
    make(self, *arguments)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

limit, make, SharedBuffers.__init__ = int(sys.argv.pop(1)), SharedBuffers.__init__, limited
hf_rlt.cli.main()
"""


class Watched(RLTVideoProcessor):
    """Writes down each file that is opened; a file named kill ends the process, one named stop is Ctrl-C for `main`."""

    log, main = "", 0

    def _read_clips(self, video, settings, each=None, *limits):
        with open(self.log, "a") as log:
            log.write(f"{Path(video).name}\n")
        if "kill" in Path(video).name:
            os.kill(os.getpid(), signal.SIGKILL)
        if "stop" in Path(video).name:
            os.kill(self.main, signal.SIGINT)
            time.sleep(60)
        return super()._read_clips(video, settings, each, *limits)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("predict") / "model")


@pytest.fixture
def network(model):
    return load(str(model))[0].eval()


@pytest.fixture
def processor(model, tmp_path) -> Watched:
    watched = Watched.from_pretrained(model)
    watched.log, watched.main = str(tmp_path / "opened.log"), os.getpid()
    return watched


@pytest.fixture
def videos(tmp_path, rendered_digits) -> Path:
    """24 clips, one of them bad, in two folders; small batches make blocks of 8 or 16 of them."""
    for i, clip in enumerate(sorted(rendered_digits.rglob("*.mp4"))):
        folder = tmp_path / "videos" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        os.link(clip, folder / f"{i:02}.mp4")
    bad = tmp_path / "videos" / "a" / "04.mp4"
    bad.unlink()
    bad.write_text("no video")
    return tmp_path / "videos"


def run(*arguments):
    workers = () if "--num-workers" in arguments else ("--num-workers", 0)
    return CliRunner().invoke(app, ["predict", *map(str, (*arguments, *workers))])


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def names(folder: Path) -> list[str]:
    return [Path(line["video"]).name for line in lines(folder)]


def opened(processor: Watched) -> list[str]:
    return Path(processor.log).read_text().split() if Path(processor.log).exists() else []


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestAnswers:
    @pytest.mark.parametrize(
        ("clips", "crops", "features"), [(1, 1, None), (1, 1, "tokens"), (2, 1, "pooled"), (2, 3, "tokens")]
    )
    def test_they_are_those_of_one_video_after_the_other(
        self, videos, network, processor, tmp_path, features, clips, crops
    ):
        processor.size = {"height": 64, "width": 80} if crops > 1 else processor.size
        options = Options(clips, crops, 5, 600 * clips * crops, 0, 5, features)
        said = list(predict([videos], network, processor, tmp_path / "out", options))
        found = lines(tmp_path / "out")
        assert names(tmp_path / "out") == [f"{i:02}.mp4" for i in (*range(0, 24, 2), *range(1, 24, 2))]
        assert sorted(map(json.dumps, found)) == sorted(json.dumps(video.record) for video in said)
        vectors = dict(read_features(tmp_path / "out")) if features else {}
        assert len(vectors) == (23 if features else 0)
        single = EvalDataset(VideoList([line["video"] for line in found], [0] * 24, ["a"]), processor, clips, crops)
        for i, line in enumerate(found):
            if "error" in line:
                assert Path(line["video"]).name == "04.mp4"
                assert "not a video that can be opened" in line["error"]
                continue
            inputs = {name: single[i][name][None] for name in ("pixel_values", "run_lengths")}
            with torch.inference_mode():
                outputs = network(**inputs)
                flat = {name: value.flatten(0, 1) if clips * crops > 1 else value for name, value in inputs.items()}
                encoded = network.base_model(**flat)
            wanted = outputs.logits[0].softmax(-1)
            scores = {score["label"]: score["score"] for score in line["scores"]}
            assert list(scores.values()) == sorted(scores.values(), reverse=True)
            assert [scores[network.config.id2label[k]] for k in range(5)] == pytest.approx(wanted.tolist(), abs=1e-5)
            assert line["tokens_computed"] == int((inputs["run_lengths"] > 0).sum())
            assert line["tokens"] == inputs["run_lengths"].numel()
            if features == "pooled":
                torch.testing.assert_close(vectors[line["video"]], encoded.pooler_output.mean(0), atol=1e-5, rtol=0)
            elif features == "tokens":
                tokens = encoded.last_hidden_state
                wanted = tokens[0] if clips * crops == 1 else tokens
                torch.testing.assert_close(vectors[line["video"]], wanted, atol=1e-5, rtol=0)

    @pytest.mark.parametrize(
        ("labels", "problem", "answer"),
        [
            (1, None, lambda logits: logits),
            (3, "regression", lambda logits: logits),
            (3, "multi_label_classification", torch.sigmoid),
        ],
    )
    @pytest.mark.parametrize("clips", [2])
    def test_numbers_and_several_labels(self, videos, model, network, tmp_path, labels, problem, answer, clips):
        config = network.config
        config.num_labels, config.problem_type = labels, problem
        other = RLTVideoMAEForVideoClassification(config).eval()
        processor = RLTVideoProcessor.from_pretrained(model)
        list(predict([videos / "b"], other, processor, tmp_path / "out", Options(clips, num_workers=0)))
        found = lines(tmp_path / "out")
        single = EvalDataset(VideoList([line["video"] for line in found], [0] * 12, ["a"]), processor, clips)
        for i, line in enumerate(found):
            inputs = {name: single[i][name][None] for name in ("pixel_values", "run_lengths")}
            with torch.inference_mode():
                wanted = answer(other(**inputs).logits[0]).sort(descending=True).values
            assert wanted.shape == (labels,)
            assert [score["score"] for score in line["scores"]] == pytest.approx(wanted.tolist(), abs=1e-5)

    def test_frames_that_are_squeezed_and_not_cut(self, videos, model, network, tmp_path):
        processor = RLTVideoProcessor.from_pretrained(model)
        processor.size, processor.do_center_crop = processor.crop_size, False
        processor.crop_size = {"height": 224, "width": 224}  # what a file that leaves it out means
        list(predict([videos / "b"], network, processor, tmp_path / "out", Options(num_workers=0)))
        for line in lines(tmp_path / "out"):
            with torch.inference_mode():
                wanted = network(**processor(line["video"], return_tensors="pt")).logits[0].softmax(-1)
            assert line["scores"][0]["score"] == pytest.approx(float(wanted.max()), abs=1e-5)
        processor.size = {"shortest_edge": 64}
        with pytest.raises(ValueError, match="Expected a processor whose frames have one size"):
            ViewConfig(processor)

    def test_an_encoder_without_a_head_gives_features_only(self, videos, model, network, tmp_path):
        network.base_model.save_pretrained(tmp_path / "encoder")
        RLTVideoProcessor.from_pretrained(model).save_pretrained(tmp_path / "encoder")
        done = run(videos, "--model", tmp_path / "encoder", "--output", tmp_path / "out", "--features", "pooled")
        assert done.exit_code == 1, done.output
        assert "scores" not in lines(tmp_path / "out")[0]
        whole = run(videos, "--model", model, "--output", tmp_path / "whole", "--features", "pooled")
        assert whole.exit_code == 1, whole.output
        for (name, found), (other, wanted) in zip(
            read_features(tmp_path / "out"), read_features(tmp_path / "whole"), strict=True
        ):
            assert name == other
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
        refused = run(videos, "--model", tmp_path / "encoder", "--output", tmp_path / "no")
        assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
        assert "expected a classifier, found weights without classifier" in refused.stderr

    @pytest.mark.slow
    @pytest.mark.skipif(not ODD.is_dir(), reason="needs ../shared/clips/odd")
    def test_odd_files_get_the_right_answer_or_one_sentence(self, model, tmp_path):
        paths = sorted([*ODD.iterdir(), *REAL.iterdir()])
        done = run(*paths, "--model", model, "--output", tmp_path / "out", "--max-tokens", 2000, "--json")
        assert done.exit_code == 1, done.output
        found = lines(tmp_path / "out")
        assert done.stdout == (tmp_path / "out" / "predictions.jsonl").read_text()
        assert [line["video"] for line in found] == [str(path.absolute()) for path in paths]
        assert {Path(line["video"]).name for line in found if "error" in line} == BAD
        assert done.stderr.splitlines()[-1] == "5 of 29 videos could not be read (see above)."
        assert len(done.stderr.splitlines()) == 6
        network, processor = load(str(model))
        for line in found:
            if "error" not in line:
                inputs = processor(line["video"], return_tensors="pt")
                with torch.inference_mode():
                    wanted = network.eval()(**inputs).logits[0].softmax(-1).sort(descending=True).values
                assert [score["score"] for score in line["scores"]] == pytest.approx(wanted[:5].tolist(), abs=1e-5)


class TestCost:
    """What is done, counted: the times are what `python -m benchmarks throughput` measures."""

    @pytest.fixture
    def launched(self, monkeypatch) -> list[list[int]]:
        """The tokens of each clip of each batch that a model computes."""
        seen, launch = [], Runner.launch
        count = lambda clips: seen.append([int((runs > 0).sum()) for _, runs in clips])  # noqa: E731
        monkeypatch.setattr(Runner, "launch", lambda self, clips: (count(clips), launch(self, clips))[1])
        return seen

    @pytest.mark.parametrize("max_tokens", [None, 700, 1])
    def test_each_video_is_opened_once_and_batches_keep_to_the_budget(
        self, videos, network, processor, tmp_path, launched, max_tokens
    ):
        options = Options(batch_size=4, max_tokens=max_tokens, num_workers=0)
        list(predict([videos], network, processor, tmp_path / "out", options))
        assert sorted(opened(processor)) == [f"{i:02}.mp4" for i in range(24)]
        assert sum(map(len, launched)) == 23
        assert max(map(len, launched)) == (1 if max_tokens == 1 else 4)
        if max_tokens is None:
            assert len(launched) == 6
        else:
            assert all(sum(batch) <= max_tokens or len(batch) == 1 for batch in launched)
            consecutive = [line["tokens_computed"] for line in lines(tmp_path / "out") if "error" not in line]
            assert sorted(n for batch in launched for n in batch) == sorted(consecutive)

    def test_views_count_as_clips_of_a_batch(self, videos, network, processor, tmp_path, launched):
        list(predict([videos / "b"], network, processor, tmp_path / "out", Options(3, 1, batch_size=8, num_workers=0)))
        assert {len(batch) for batch in launched} == {2}

    @pytest.mark.slow
    def test_decoding_goes_on_while_the_model_computes(self, videos, network, processor, tmp_path, monkeypatch):
        ready, launch = [], Runner.launch

        def slow(self, clips):
            before = len(opened(processor))
            deadline = time.monotonic() + (0 if ready else 20)
            while len(opened(processor)) < before + 4 and time.monotonic() < deadline:
                time.sleep(0.01)
            ready.append(len(opened(processor)) - before)
            return launch(self, clips)

        monkeypatch.setattr(Runner, "launch", slow)
        list(predict([videos], network, processor, tmp_path / "out", Options(batch_size=4, num_workers=1)))
        assert ready[0] >= 4  # opened while this process was busy with the first batch

    def test_no_more_videos_are_under_way_than_there_are_slots(self, videos, network, processor, tmp_path):
        taken = []
        decoder = Decoder(ViewConfig(processor), num_workers=2, ahead=4, held=3)
        source = (taken.append(path) or Task(VideoJob(str(path))) for path in sorted(videos.rglob("*.mp4")))
        for number, task in enumerate(decoder.decoded(source), start=1):
            assert len(taken) <= number + decoder.window
            assert len(decoder.free) >= decoder.slots.number - decoder.window - 1
            if not isinstance(task.result, Failure):  # one that failed has none any more
                decoder.release(task.item)
        assert (number, len(decoder.free)) == (24, decoder.slots.number)
        assert decoder.slots.number == 2 * 3 + 3 + 1

    def test_results_are_fetched_after_the_next_batch_was_launched(
        self, videos, network, processor, tmp_path, monkeypatch
    ):
        order, launch, fetch, init = [], Runner.launch, Runner.fetch, Runner.__init__

        def delayed(self, *arguments):
            init(self, *arguments)
            self.delay = 1  # as on a device that computes by itself

        monkeypatch.setattr(Runner, "__init__", delayed)
        monkeypatch.setattr(Runner, "launch", lambda self, clips: (order.append("launch"), launch(self, clips))[1])
        monkeypatch.setattr(Runner, "fetch", lambda self, done: (order.append("fetch"), fetch(self, done))[1])
        list(predict([videos], network, processor, tmp_path / "out", Options(batch_size=2, num_workers=0)))
        assert order == ["launch", *["launch", "fetch"] * 11, "fetch"]
        assert [name for name in names(tmp_path / "out")] == [
            f"{i:02}.mp4" for i in (*range(0, 24, 2), *range(1, 24, 2))
        ]

    @pytest.mark.slow
    def test_memory_stays(self, network, model, tmp_path):
        clip = write_video(tmp_path / "clip.mp4", noise(4)[:, :16, :16])
        (tmp_path / "many").mkdir()
        for number in range(600):
            os.link(clip, tmp_path / "many" / f"{number:03}.mp4")
        held = []
        tracemalloc.start()
        found = predict([tmp_path / "many"], network, RLTVideoProcessor.from_pretrained(model), tmp_path / "out")
        for number, _video in enumerate(found):
            if number % 50 == 49:
                held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert (len(held), len(lines(tmp_path / "out"))) == (12, 600)
        assert (held[-1] - held[3]) / 400 < 500  # bytes for each video: places in the file


class TestGoingOn:
    @pytest.mark.parametrize(("moment", "features"), [(0, None), (1, "pooled"), (9, None), (17, "pooled"), (23, None)])
    def test_stopped_at_any_moment_it_ends_with_the_same_files(
        self, videos, network, processor, tmp_path, moment, features
    ):
        options = Options(batch_size=2, max_tokens=700, num_workers=0, features=features)
        list(predict([videos], network, processor, tmp_path / "whole", options))
        Path(processor.log).unlink()
        found = predict([videos], network, processor, tmp_path / "out", options)
        for _number in range(moment):
            next(found)
        found.close()
        assert not (tmp_path / "out" / "predictions.jsonl").exists()
        parts = tmp_path / "out" / "parts" / "0.jsonl"
        known = parts.read_text().count('"tokens"') if parts.exists() else 0
        assert known >= moment - 1
        if parts.exists():
            with open(parts, "ab") as torn:
                torn.write(b'{"video": "/half')
        Path(processor.log).write_text("")
        again = list(predict([videos], network, processor, tmp_path / "out", options))
        assert sum(video.cached for video in again) == known
        assert len(opened(processor)) == 24 - known  # the bad one is tried again
        assert files(tmp_path / "out") == files(tmp_path / "whole")
        Path(processor.log).write_text("")
        list(predict([videos], network, processor, tmp_path / "out", options))
        assert opened(processor) == ["04.mp4"]
        assert files(tmp_path / "out") == files(tmp_path / "whole")

    def test_a_changed_video_and_a_new_one_are_computed_and_features_used_no_longer_go(
        self, videos, network, processor, tmp_path
    ):
        options = Options(batch_size=2, features="pooled", num_workers=0)
        list(predict([videos], network, processor, tmp_path / "out", options))
        (videos / "a" / "00.mp4").unlink()
        os.link(videos / "b" / "01.mp4", videos / "a" / "005.mp4")
        os.utime(videos / "b" / "21.mp4", ns=(1, 1))
        (videos / "a" / "04.mp4").unlink()
        Path(processor.log).write_text("")
        list(predict([videos], network, processor, tmp_path / "out", options))
        assert sorted(opened(processor)) == ["005.mp4", "21.mp4"]
        assert names(tmp_path / "out")[:2] == ["005.mp4", "02.mp4"]
        vectors = dict(read_features(tmp_path / "out"))
        assert torch.allclose(vectors[str(videos / "a" / "005.mp4")], vectors[str(videos / "b" / "01.mp4")], atol=1e-5)
        used = {line["features"] for line in lines(tmp_path / "out")}
        assert {f"features/{path.name}" for path in (tmp_path / "out" / "features").iterdir()} == used
        for name in used:
            with safe_open(tmp_path / "out" / name, "pt") as file:
                assert max(line["row"] for line in lines(tmp_path / "out") if line["features"] == name) < len(
                    file.get_tensor("features")
                )

    @pytest.mark.slow
    def test_features_written_anew_count_for_more_than_the_lines_of_those_that_are_gone(
        self, videos, network, processor, tmp_path
    ):
        options = Options(batch_size=2, features="pooled", num_workers=0)
        list(predict([videos], network, processor, tmp_path / "out", options))
        wanted = dict(read_features(tmp_path / "out"))
        for file in (tmp_path / "out" / "features").iterdir():
            file.unlink()
        (videos / "a" / "00.mp4").unlink()
        os.link(videos / "b" / "21.mp4", videos / "b" / "24.mp4")  # rows and blocks are others now
        waits = iter([lambda: None, lambda: 1 / 0])  # the second of two processes writes, then the run ends
        with pytest.raises(ZeroDivisionError):
            list(predict([videos], network, processor, tmp_path / "out", options, Rank(1, 2, lambda: next(waits)())))
        list(predict([videos], network, processor, tmp_path / "out", options))
        found = dict(read_features(tmp_path / "out"))
        assert len(found) == 23
        for name in wanted.keys() & found.keys():
            torch.testing.assert_close(found[name], wanted[name], atol=1e-5, rtol=0)

    def test_a_process_that_dies_costs_its_video_only(self, videos, network, processor, tmp_path):
        (videos / "a" / "06.mp4").rename(videos / "a" / "06_kill.mp4")
        list(predict([videos], network, processor, tmp_path / "out", Options(batch_size=4, num_workers=1)))
        found = {Path(line["video"]).name: line for line in lines(tmp_path / "out")}
        assert "SIGKILL" in found["06_kill.mp4"]["error"]
        assert sum("error" in line for line in found.values()) == 2
        assert max(opened(processor).count(name) for name in found if "kill" not in name) == 1
        assert opened(processor).count("06_kill.mp4") == 2

    def test_ctrl_c(self, videos, processor, model, tmp_path, monkeypatch):
        (videos / "b" / "15.mp4").rename(videos / "b" / "15_stop.mp4")
        network = load(str(model))[0]
        monkeypatch.setattr(sys.modules["hf_rlt.cli.predict"], "load_model", lambda *_, **__: (network, processor))
        arguments = (videos, "--model", "x", "--output", tmp_path / "out", "--num-workers", 1, "--batch-size", 2)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        try:
            done = run(*arguments)
        finally:
            signal.signal(signal.SIGINT, before)
        assert done.exit_code == 130, done.output
        assert f"what was found is in {tmp_path / 'out'}, and the same command goes on.\n" in done.stderr
        assert multiprocessing.active_children() == []
        count = int(done.stderr.split("Interrupted after ")[1].split()[0])
        written = (tmp_path / "out" / "parts" / "0.jsonl").read_text()
        assert written.count("\n") == count
        known = written.count('"tokens"')
        assert 12 <= known < 20
        (videos / "b" / "15_stop.mp4").rename(videos / "b" / "15.mp4")
        Path(processor.log).write_text("")
        done = run(*arguments)
        assert done.exit_code == 1
        assert f"{known} known before" in done.stdout
        assert len(opened(processor)) == 24 - known

    def test_a_model_may_be_kept_elsewhere_and_its_labels_count(self, model, tmp_path):
        shutil.copytree(model, tmp_path / "moved")
        here, there = (load(str(name))[0] for name in (model, tmp_path / "moved"))
        assert digest(here) == digest(there)
        there.config.id2label = {**there.config.id2label, 0: "another name"}
        assert digest(here) != digest(there)

    def test_the_line_that_another_process_is_writing_stays(self, videos, network, processor, tmp_path):
        (tmp_path / "out" / "parts").mkdir(parents=True)
        theirs = tmp_path / "out" / "parts" / "1.jsonl"
        theirs.write_text('{"video": "/half')
        with Folder(tmp_path / "out", {}, rank=0):
            assert theirs.read_text() == '{"video": "/half'

    @pytest.mark.slow
    def test_killed(self, videos, model, tmp_path):
        command = [sys.executable, "-m", "hf_rlt", "predict", str(videos), "--model", str(model), "--batch-size", "2"]
        process = subprocess.Popen([*command, "--output", str(tmp_path / "out")], stderr=subprocess.DEVNULL)
        parts = tmp_path / "out" / "parts" / "0.jsonl"
        while process.poll() is None and (not parts.exists() or parts.read_bytes().count(b"\n") < 6):
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert run(*command[4:], "--output", tmp_path / "out").exit_code == 1
        assert run(*command[4:], "--output", tmp_path / "whole").exit_code == 1
        assert files(tmp_path / "out") == files(tmp_path / "whole")


class TestSeveralProcesses:
    @pytest.mark.slow
    def test_two_processes_write_what_one_does(self, videos, model, tmp_path):
        arguments = [videos, "--model", model, "--batch-size", 2, "--max-tokens", 700, "--features", "pooled"]
        arguments += ["--num-workers", 1]
        command = [*LAUNCH, "predict", *map(str, arguments), "--output", str(tmp_path / "two"), "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        seen = set()
        while process.poll() is None:
            with suppress(FileNotFoundError):  # the parts go at the end
                seen |= {path.name for path in (tmp_path / "two" / "parts").glob("*.jsonl") if path.stat().st_size}
            time.sleep(0.001)
        said, problems = process.communicate()
        assert process.returncode == 0, problems  # one is bad, but launchers take any other code for a crash
        assert {"0.jsonl", "1.jsonl"} <= seen
        assert problems.count("1 of 24 videos could not be read (see above).") == 1
        assert run(*arguments, "--output", tmp_path / "one").exit_code == 1
        assert files(tmp_path / "two") == files(tmp_path / "one")
        assert said == (tmp_path / "one" / "predictions.jsonl").read_text()

    def test_what_one_wrote_is_kept_when_another_dies(self, videos, network, processor, tmp_path):
        options = Options(batch_size=2, num_workers=0)
        list(predict([videos], network, processor, tmp_path / "whole", options))

        def died():
            raise ConnectionError("the other process has ended")

        waits = iter([lambda: None, died])
        share = Rank(1, 2, lambda: next(waits)())
        with pytest.raises(ConnectionError):
            list(predict([videos], network, processor, tmp_path / "out", options, share))
        written = (tmp_path / "out" / "parts" / "1.jsonl").read_text()
        assert written.count("\n") == 8  # the second block: what is left of 24 videos after 8 batches of 2
        Path(processor.log).write_text("")
        list(predict([videos], network, processor, tmp_path / "out", options))
        assert len(opened(processor)) == 24 - 8
        assert files(tmp_path / "out") == files(tmp_path / "whole")

    @pytest.mark.slow
    def test_a_rank_that_is_killed(self, videos, model, tmp_path):
        many = tmp_path / "many"
        for copy in range(20):
            for clip in sorted((videos / "b").iterdir()):
                (many / f"{copy:02}").mkdir(parents=True, exist_ok=True)
                os.link(clip, many / f"{copy:02}" / clip.name)
        arguments = [many, "--model", model, "--batch-size", 2, "--num-workers", 1, "--output", tmp_path / "out"]
        process = subprocess.Popen([*LAUNCH, "predict", *map(str, arguments)], stderr=subprocess.DEVNULL)
        part = tmp_path / "out" / "parts" / "1.jsonl"
        while process.poll() is None and (not part.exists() or part.read_bytes().count(b"\n") < 4):
            time.sleep(0.002)
        for rank in Path("/proc").glob("[0-9]*"):
            try:
                mine = os.fsencode(tmp_path / "out") in rank.joinpath("cmdline").read_bytes().split(b"\0")
                if mine and b"RANK=1" in rank.joinpath("environ").read_bytes().split(b"\0"):
                    os.kill(int(rank.name), signal.SIGKILL)
            except OSError:
                continue  # a process that has ended meanwhile
        assert process.wait(timeout=120) != 0
        written = sum(file.read_bytes().count(b"\n") for file in part.parent.glob("*.jsonl"))
        assert 4 <= written < 240
        done = run(*arguments)
        assert done.exit_code == 0, done.stderr
        assert "240 videos in" in done.stdout
        assert int(done.stdout.split(" known before")[0].split()[-1]) >= written - 1  # a torn line at most
        assert run(*arguments[:-1], tmp_path / "whole").exit_code == 0
        assert files(tmp_path / "out") == files(tmp_path / "whole")


class TestMistakes:
    def test_other_settings_are_refused(self, videos, model, tmp_path):
        out = ("--output", tmp_path / "out")
        assert run(videos / "b", "--model", model, *out).exit_code == 0
        before = files(tmp_path / "out")
        for option in (("--top-k", 2), ("--num-clips", 2), ("--threshold", 0.2), ("--features", "pooled"), ("--bf16",)):
            done = run(videos / "b", "--model", model, *out, *option)
            assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.stderr
            assert f"{tmp_path / 'out'}: holds predictions with" in done.stderr
        other = RLTVideoMAEForVideoClassification.from_pretrained(model)
        with torch.no_grad():
            other.classifier.bias[0] += 1e-3
        other.save_pretrained(tmp_path / "other")
        RLTVideoProcessor.from_pretrained(model).save_pretrained(tmp_path / "other")
        done = run(videos / "b", "--model", tmp_path / "other", *out)
        assert "holds predictions with model" in done.stderr
        assert files(tmp_path / "out") == before
        assert run(videos / "b", "--model", model, *out, "--batch-size", 3, "--num-workers", 1).exit_code == 0

    @pytest.mark.parametrize(
        "foreign", ["parts/one.mp4", "features/mine.pt", "parts/0.jsonl/a.mp4", "features/000001.safetensors"]
    )
    def test_files_of_somebody_else_are_never_removed(self, videos, model, tmp_path, foreign):
        mine = tmp_path / "out" / foreign
        mine.parent.mkdir(parents=True)
        mine.write_text("mine")
        before = files(tmp_path / "out")
        done = run(videos, "--model", model, "--output", tmp_path / "out")
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
        assert ": choose another folder" in done.stderr
        assert files(tmp_path / "out") == before

    @pytest.mark.parametrize("content", ["[1]", "null", "{"])
    def test_settings_of_something_else(self, videos, model, tmp_path, content):
        (tmp_path / "settings.json").write_text(content)
        done = run(videos, "--model", model, "--output", tmp_path)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
        assert f"{tmp_path / 'settings.json'}: expected" in done.stderr

    def test_a_run_that_comes_second_changes_nothing(self, tmp_path):
        with Folder(tmp_path / "out", {"top_k": 1}):
            (tmp_path / "out" / "settings.json").rename(tmp_path / "hidden")  # as if both had begun at once
            with pytest.raises(ValueError, match="of another run are being written to it"):
                Folder(tmp_path / "out", {"top_k": 2})
            assert not (tmp_path / "out" / "settings.json").exists()

    @pytest.mark.slow
    def test_processes_that_cannot_start_end_the_run(self, videos, model, tmp_path):
        script = tmp_path / "unguarded.py"
        script.write_text(f"""from hf_rlt.inference import Options, predict
from hf_rlt.inference.loading import load
list(predict([{str(videos)!r}], *load({str(model)!r}), {str(tmp_path / "out")!r}, Options(num_workers=1)))
""")
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300)
        assert done.returncode == 1
        assert "The processes that read videos cannot start, see above" in done.stderr.splitlines()[-1]
        assert not (tmp_path / "out" / "predictions.jsonl").exists()
        assert (tmp_path / "out" / "parts" / "0.jsonl").read_text() == ""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("nowhere",), "nowhere: expected a video or a folder of videos"),
            (("EMPTY",), "expected videos (.mp4, .avi"),
            (
                ("VIDEOS", "--features", "both"),
                "Expected features to be one of pooled, tokens or None, received 'both'",
            ),
            (("VIDEOS", "--output", "FILE"), "expected a folder to write to (Not a directory): choose another one"),
            (("VIDEOS", "--output", "/proc/no"), "/proc/no: expected a folder to write to"),
            (("VIDEOS", "--output", "FOREIGN"), "holds a predictions.jsonl of something else"),
            (("VIDEOS", "--threshold", "x"), "--threshold: expected a number, none or model"),
        ],
    )
    def test_a_users_mistake_is_one_line_and_code_2(self, videos, model, tmp_path, arguments, message):
        paths = {"VIDEOS": videos, "EMPTY": tmp_path / "empty", "FILE": tmp_path / "file", "FOREIGN": tmp_path / "x"}
        paths["EMPTY"].mkdir()
        paths["FOREIGN"].mkdir()
        paths["FILE"].write_text("text")
        (paths["FOREIGN"] / "predictions.jsonl").write_text("text\n")
        given = [paths.get(argument, argument) for argument in arguments]
        output = () if "--output" in given else ("--output", tmp_path / "out")
        done = run(*given, *output, "--model", model)
        assert done.exit_code == 2, done.output
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert done.stdout == ""
        assert list(paths["FOREIGN"].iterdir()) == [paths["FOREIGN"] / "predictions.jsonl"]

    @pytest.mark.slow
    @pytest.mark.parametrize("features", [(), ("--features", "tokens")])
    def test_a_full_disk_is_one_line_and_the_next_run_goes_on(self, videos, model, tmp_path, features):
        arguments = [str(videos), "--model", str(model), "--batch-size", "2", *features]
        limit = 1_000_000 if features else 1500  # bytes of a file
        command = [sys.executable, "-c", LITTLE_ROOM, str(limit), "predict", *arguments]
        command += ["--output", str(tmp_path / "out")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert "cannot be written" in done.stderr
        assert str(tmp_path / "out") in done.stderr
        assert run(*arguments, "--output", tmp_path / "out").exit_code == 1
        assert run(*arguments, "--output", tmp_path / "whole").exit_code == 1
        assert files(tmp_path / "out") == files(tmp_path / "whole")

    def test_an_annotation_file_stands_for_its_videos(self, videos, model, tmp_path):
        (videos / "list.csv").write_text("path,label\nb/03.mp4,x\nb/01.mp4,y\nb/gone.mp4,x\n")
        done = run(videos / "list.csv", "--model", model, "--output", tmp_path / "out")
        assert done.exit_code == 1
        assert names(tmp_path / "out") == ["03.mp4", "01.mp4", "gone.mp4"]
        assert "gone.mp4: cannot be found (No such file or directory)." in done.stderr

    @pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"max_tokens": 0}, {"num_workers": -1}, {"num_crops": 0}])
    def test_numbers_below_one_are_refused(self, wrong):
        with pytest.raises(ValueError, match=f"Expected {next(iter(wrong))} >= "):
            Options(**wrong)

    def test_batches_that_no_memory_holds_are_refused_before_any_is_taken(self, videos, model, tmp_path, monkeypatch):
        monkeypatch.setattr("hf_rlt.inference.decoder.RawArray", lambda *_: pytest.fail("memory was taken"))
        done = run(videos, "--model", model, "--output", tmp_path / "out", "--batch-size", 10**8)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
        assert "MiB of shared memory for" in done.stderr
        assert "use smaller batches or fewer workers" in done.stderr

    def test_scores_need_a_head(self, model):
        encoder, processor = load(str(model), head=False)
        with pytest.raises(ValueError, match="ask for features"):
            Runner(encoder.base_model, ViewConfig(processor))


def test_names_that_are_no_text_lists_and_what_others_may_read(model, tmp_path):
    source = write_video(tmp_path / "a.mp4", noise(12))
    odd = os.fsencode(tmp_path) + b"/b\xff.mp4"
    shutil.copy(source, odd)
    broken = tmp_path / "broken  x.mp4"
    broken.write_text("no video")
    listed = tmp_path / "list.txt"
    listed.write_bytes(b"\n".join([os.fsencode(source), b"", odd, os.fsencode(broken)]))
    words = [listed, "--model", model, "--output", tmp_path / "out", "--num-workers", 0]
    for _ in range(2):  # the second finds the first one's records
        done = run(*words, "--features", "pooled", "--attn-implementation", "eager")
        assert done.exit_code == 1, done.output
        *records, bad = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
        assert [Path(record["video"]).name for record in records] == ["a.mp4", "b%FF.mp4"]
        assert bad["error"].startswith("not a video")  # its name stands in "video"
        for record in records:
            record["video"].encode()  # as readers of JSON demand
            assert record["scores"] == records[0]["scores"]
    assert ", 2 known before" in done.stdout
    plain = tmp_path / "plain"
    plain.touch()
    for file in (tmp_path / "out").rglob("*.*"):
        assert file.stat().st_mode == plain.stat().st_mode, file
    refused = run(*words, "--attn-implementation", "fastest")
    assert refused.exit_code == 2
    assert "fastest" in refused.stderr


def test_names_that_are_alike_get_their_own_results(alike, network, tmp_path):
    processor = RLTVideoProcessor.from_pretrained(network.config._name_or_path)
    inputs = [processor(path, return_tensors="pt") for path in alike]
    tokens = [int((each["run_lengths"] > 0).sum()) for each in inputs]
    assert len(set(tokens)) == len(alike)
    options = Options(num_workers=0, features="pooled")
    for paths, known in ((alike[::2], 0), (alike, len(alike[::2]))):
        said = list(predict(paths, network, processor, tmp_path / "out", options))
        assert sum(video.cached for video in said) == known
    text = (tmp_path / "out" / "predictions.jsonl").read_bytes()
    assert b"\\ud" not in text  # half a character, which strict readers of JSON refuse
    found = [json.loads(line) for line in text.splitlines()]
    assert [path_of(record["video"]) for record in found] == alike
    assert [record["tokens_computed"] for record in found] == tokens
    for (path, vector), wanted, each in zip(read_features(tmp_path / "out"), alike, inputs, strict=True):
        assert path == wanted
        with torch.inference_mode():
            torch.testing.assert_close(vector, network.base_model(**each).pooler_output[0])
