# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt predict`: its results are those of one video after the other, at the cost of one pass over them."""

import os
import shutil
import time
import tracemalloc

import pytest
import torch

from helpers.predictions import features_in, lines, names, run
from helpers.videos import noise, write_video
from hf_rlt import RLTVideoMAEForVideoClassification, RLTVideoProcessor
from hf_rlt.data import EvalDataset, VideoList
from hf_rlt.inference import Options, path_of, predict
from hf_rlt.inference.decoder import Decoder, VideoJob, view_size
from hf_rlt.inference.runner import Runner
from hf_rlt.jobs.worker_pool import Failure, Task

ORDER = [f"{i:02}.mp4" for i in (*range(0, 24, 2), *range(1, 24, 2))]


def inputs_of(line: dict, processor, clips: int = 1, crops: int = 1) -> dict[str, torch.Tensor]:
    """Return the model's inputs for a line's video, with a batch dimension, as evaluation during training makes them."""
    item = EvalDataset(VideoList([line["video"]], [0], ["a"]), processor, clips, crops)[0]
    return {name: item[name][None] for name in ("pixel_values", "run_lengths")}


@pytest.mark.parametrize(
    ("clips", "crops", "features"), [(1, 1, None), (1, 1, "tokens"), (2, 1, "pooled"), (2, 3, "tokens")]
)
@torch.inference_mode()
def test_scores_and_features(videos, network, processor, tmp_path, features, clips, crops):
    processor.size = {"height": 64, "width": 80} if crops > 1 else processor.size
    views = clips * crops
    options = Options(clips, crops, 5, 600 * views, 0, 5, features)
    yielded = list(predict([videos], network, processor, tmp_path, options))
    found = lines(tmp_path)
    assert names(tmp_path) == ORDER
    for video in yielded:
        line = next(line for line in found if line["video"] == video.record["video"])
        assert {**video.record, "features": None} == {**line, "features": None}
    vectors = features_in(tmp_path) if features else {}
    assert len(vectors) == (23 if features else 0)
    for line in found:
        if line["video"].endswith("04.mp4"):
            assert "not a video that can be opened" in line["error"]
            continue
        inputs = inputs_of(line, processor, clips, crops)
        wanted = network(**inputs).logits[0].softmax(-1)
        scores = dict(zip(line["labels"], line["scores"], strict=True))
        assert (line["label"], line["score"]) == next(iter(scores.items()))
        assert list(scores.values()) == sorted(scores.values(), reverse=True)
        assert [scores[network.config.id2label[k]] for k in range(5)] == pytest.approx(wanted.tolist(), abs=1e-5)
        assert line["tokens_computed"] == int((inputs["run_lengths"] > 0).sum())
        assert line["tokens"] == inputs["run_lengths"].numel()
        if features:
            flat = {name: value.flatten(0, 1) if views > 1 else value for name, value in inputs.items()}
            encoded = network.base_model(**flat)
            tokens = encoded.last_hidden_state if views > 1 else encoded.last_hidden_state[0]
            wanted = encoded.pooler_output.mean(0) if features == "pooled" else tokens
            torch.testing.assert_close(vectors[line["video"]], wanted.half(), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("labels", "problem", "answer"),
    [
        (1, None, torch.nn.Identity()),
        (3, "regression", torch.nn.Identity()),
        (3, "multi_label_classification", torch.sigmoid),
    ],
)
def test_numbers_and_several_labels(videos, network, processor, tmp_path, labels, problem, answer):
    config = network.config
    config.num_labels, config.problem_type = labels, problem
    other = RLTVideoMAEForVideoClassification(config).eval()
    list(predict([videos / "b"], other, processor, tmp_path / "out", Options(2, num_workers=0)))
    for line in lines(tmp_path / "out"):
        with torch.inference_mode():
            wanted = answer(other(**inputs_of(line, processor, 2)).logits[0]).sort(descending=True).values
        assert line["scores"] == pytest.approx(wanted.tolist(), abs=1e-5)


def test_frames_that_are_squeezed_and_not_cut(videos, network, processor, tmp_path):
    processor.size, processor.do_center_crop = processor.crop_size, False
    processor.crop_size = {"height": 224, "width": 224}  # what a file that leaves it out means
    list(predict([videos / "b"], network, processor, tmp_path / "out", Options(num_workers=0)))
    for line in lines(tmp_path / "out"):
        with torch.inference_mode():
            wanted = network(**processor(line["video"], return_tensors="pt")).logits[0].softmax(-1)
        assert line["score"] == pytest.approx(float(wanted.max()), abs=1e-5)
    processor.do_resize, processor.size = False, {"height": 48, "width": 48}
    list(predict([videos / "b"], network, processor, tmp_path / "uncut", Options(num_workers=0)))
    assert all(
        "leave the processor's resizing and centre crop on" in line["error"] for line in lines(tmp_path / "uncut")
    )
    processor.size = {"shortest_edge": 64}
    with pytest.raises(ValueError, match="Expected a processor whose frames have one size"):
        view_size(processor, Options())


def test_an_encoder_without_a_head_gives_features_only(videos, model, network, tmp_path):
    network.base_model.save_pretrained(tmp_path / "encoder")
    RLTVideoProcessor.from_pretrained(model).save_pretrained(tmp_path / "encoder")
    found = []
    for name in (tmp_path / "encoder", model):
        out = tmp_path / f"{name.name}_out"
        done = run(videos, "--model", name, "--output", out, "--features", "pooled")
        assert done.exit_code == 1, done.output
        found.append(features_in(out))
    assert "scores" not in lines(tmp_path / "encoder_out")[0]
    torch.testing.assert_close(*found, atol=1e-3, rtol=1e-3)
    refused = run(videos, "--model", tmp_path / "encoder", "--output", tmp_path / "no")
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
    assert "expected a classifier, found weights without classifier" in refused.stderr


@pytest.mark.parametrize(("max_tokens", "clips", "largest"), [(None, 1, 4), (700, 1, 4), (1, 1, 1), (None, 2, 2)])
def test_each_video_is_opened_once_and_batches_keep_to_the_budget(
    videos, network, processor, tmp_path, monkeypatch, max_tokens, clips, largest
):
    launched, launch = [], Runner.launch
    count = lambda batch: launched.append([int((runs > 0).sum()) for _, runs in batch])  # noqa: E731
    monkeypatch.setattr(Runner, "launch", lambda self, batch: (count(batch), launch(self, batch))[1])
    options = Options(clips, batch_size=4, max_tokens_per_batch=max_tokens, num_workers=0)
    list(predict([videos], network, processor, tmp_path / "out", options))
    assert sorted(processor.take_log()) == sorted(ORDER)
    assert max(map(len, launched)) == largest
    wanted = [line["tokens_computed"] for line in lines(tmp_path / "out") if "error" not in line]
    assert sorted(n for batch in launched for n in batch) == sorted(wanted)
    if max_tokens is None:
        assert len(launched) == -(-23 // largest)
    else:
        assert all(sum(batch) <= max_tokens or len(batch) == 1 for batch in launched)


@pytest.mark.slow
def test_decoding_goes_on_while_the_model_computes(videos, network, processor, tmp_path, monkeypatch):
    ready, launch, opened = [], Runner.launch, []

    def slow(self, batch):
        processor.take_log()
        deadline, opened[:] = time.monotonic() + (0 if ready else 20), []
        while len(opened) < 4 and time.monotonic() < deadline:
            opened.extend(processor.take_log())
            time.sleep(0.01)
        ready.append(len(opened))
        return launch(self, batch)

    monkeypatch.setattr(Runner, "launch", slow)
    list(predict([videos], network, processor, tmp_path / "out", Options(batch_size=4, num_workers=1)))
    assert ready[0] >= 4  # opened while this process was busy with the first batch


def test_no_more_videos_are_under_way_than_there_are_slots(videos, processor):
    taken = []
    decoder = Decoder(processor, Options(batch_size=2, num_workers=2))
    source = (taken.append(path) or Task(VideoJob(str(path))) for path in sorted(videos.rglob("*.mp4")))
    for number, task in enumerate(decoder.decoded(source), start=1):
        assert len(taken) <= number + decoder.window
        assert len(decoder.free) >= decoder.slots.number - decoder.window - 1
        if not isinstance(task.result, Failure):  # one that failed has none any more
            decoder.release(task.item)
    assert (number, len(decoder.free)) == (24, decoder.slots.number)
    assert decoder.slots.number == 2 * 3 + 4 + 1


def test_results_are_fetched_after_the_next_batch_was_launched(videos, network, processor, tmp_path, monkeypatch):
    order, launch, fetch, init = [], Runner.launch, Runner.fetch, Runner.__init__

    def delayed(self, *arguments):
        init(self, *arguments)
        self.delay = 1  # as on a device that computes by itself

    monkeypatch.setattr(Runner, "__init__", delayed)
    monkeypatch.setattr(Runner, "launch", lambda self, clips: (order.append("launch"), launch(self, clips))[1])
    monkeypatch.setattr(Runner, "fetch", lambda self, done: (order.append("fetch"), fetch(self, done))[1])
    list(predict([videos], network, processor, tmp_path / "out", Options(batch_size=2, num_workers=0)))
    assert order == ["launch", *["launch", "fetch"] * 11, "fetch"]
    assert names(tmp_path / "out") == ORDER


@pytest.mark.slow
def test_memory_stays(network, model, tmp_path):
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


def test_lists_of_videos_and_what_others_may_read(model, tmp_path):
    source = write_video(tmp_path / "a.mp4", noise(12))
    odd = os.fsencode(tmp_path) + b"/b\xff.mp4"
    shutil.copy(source, odd)
    (tmp_path / "list.txt").write_bytes(b"\n".join([os.fsencode(source), b"", odd]))
    (tmp_path / "list.csv").write_text("path,label\na.mp4,x\ngone.mp4,y\n")
    words = [tmp_path / "list.txt", tmp_path / "list.csv", "--model", model, "--output", tmp_path / "out"]
    done = run(*words, "--features", "pooled", "--attn-implementation", "eager")
    assert done.exit_code == 1, done.output
    assert names(tmp_path / "out") == ["a.mp4", "b%FF.mp4", "a.mp4", "gone.mp4"]
    assert "gone.mp4: cannot be found (No such file or directory)." in done.stderr
    (tmp_path / "plain").touch()
    for file in (tmp_path / "out").rglob("*.*"):
        assert file.stat().st_mode == (tmp_path / "plain").stat().st_mode, file


def test_names_that_are_alike_get_their_own_results(alike, network, processor, tmp_path):
    inputs = [processor(path, return_tensors="pt") for path in alike]
    tokens = [int((each["run_lengths"] > 0).sum()) for each in inputs]
    assert len(set(tokens)) == len(alike)
    options = Options(num_workers=0, features="pooled")
    for paths, known in ((alike[::2], 0), (alike, len(alike[::2]))):
        found = list(predict(paths, network, processor, tmp_path / "out", options))
        assert sum(video.cached for video in found) == known
    assert [path_of(line["video"]) for line in lines(tmp_path / "out")] == alike
    assert [line["tokens_computed"] for line in lines(tmp_path / "out")] == tokens
    for (name, vector), wanted, each in zip(features_in(tmp_path / "out").items(), alike, inputs, strict=True):
        assert path_of(name) == wanted
        with torch.inference_mode():
            expected = network.base_model(**each).pooler_output[0].half()
        torch.testing.assert_close(vector, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"max_tokens_per_batch": 0}, {"num_workers": -1}, {"num_crops": 0}]
)
def test_numbers_below_one_are_refused(wrong):
    with pytest.raises(ValueError, match=f"Expected {next(iter(wrong))} >= "):
        Options(**wrong)
