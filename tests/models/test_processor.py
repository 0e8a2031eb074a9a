# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The processor: every kind of input, sampling, saving, messages."""

import io
import json

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoVideoProcessor, VideoMAEImageProcessor

from helpers.tiny import SIDE
from helpers.videos import ramp
from hf_rlt import RLTVideoMAEConfig, RLTVideoProcessor, find_runs


def make(**changes):
    sizes = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}, "patch_size": 8}
    return RLTVideoProcessor(**{**sizes, **changes})


def shown(pixel_values, processor=None):
    """Tell which frames of a ramp (values `5 * i + 10`) the clips `(B, F, C, H, W)` show."""
    processor = processor or make()
    mean, std = torch.tensor(processor.image_mean)[:, None, None], torch.tensor(processor.image_std)[:, None, None]
    values = (pixel_values * std + mean).mean((2, 3, 4)) * 255
    return ((values - 10) / 5).round().int().tolist()


class TestInputs:
    def test_a_file_in_any_form_gives_the_same_clip(self, video_file):
        path, processor = video_file(frames=30), make(num_frames=8, frame_stride=2)
        content = path.read_bytes()
        expected = processor(str(path), return_tensors="pt")
        assert expected["pixel_values"].shape == (1, 8, 3, SIDE, SIDE)
        assert expected["pixel_values"].dtype == torch.float32
        assert expected["run_lengths"].shape == (1, 64)
        assert expected["run_lengths"].dtype == torch.int64
        with path.open("rb") as file:
            for video in (path, content, io.BytesIO(content), file, [str(path)], [path], (content,)):
                got = processor(video, return_tensors="pt")
                assert got.keys() == expected.keys()
                assert all(torch.equal(got[name], expected[name]) for name in expected)

    def test_several_files_make_a_batch_in_order(self, video_file):
        files = [video_file("a.mp4", 30), str(video_file("b.mp4", 9)), video_file("c.mp4", 1).read_bytes()]
        processor = make(num_frames=8, frame_stride=2)
        batch = processor(files, return_tensors="pt")
        for b, file in enumerate(files):
            alone = processor(file, return_tensors="pt")
            assert all(torch.equal(batch[name][b : b + 1], alone[name]) for name in batch)

    def test_without_return_tensors_lists_come_back(self):
        output = make()([ramp(4), ramp(6)])
        assert [tuple(clip.shape) for clip in output["pixel_values"]] == [(4, 3, SIDE, SIDE), (6, 3, SIDE, SIDE)]
        assert [len(lengths) for lengths in output["run_lengths"]] == [32, 48]


class TestSampling:
    def test_files_are_always_sampled_and_arrays_never_unless_asked(self, video_file):
        path = video_file(frames=40)
        assert make()(path, return_tensors="pt")["pixel_values"].shape[1] == 16
        for asked in (True, False):
            pixels = make(num_frames=4, frame_stride=3)(path, return_tensors="pt", do_sample_frames=asked)
            assert shown(pixels["pixel_values"]) == [[15, 18, 21, 24]]
        processor = make(num_frames=4, frame_stride=3)
        assert processor(ramp(40), return_tensors="pt")["pixel_values"].shape[1] == 40
        asked = processor(ramp(40), return_tensors="pt", do_sample_frames=True)
        assert shown(asked["pixel_values"]) == [[15, 18, 21, 24]]

    def test_settings_of_a_call_go_before_the_processors(self, video_file):
        path, processor = video_file(frames=40), make(num_frames=4, frame_stride=3)
        assert shown(processor(path, num_frames=2, return_tensors="pt")["pixel_values"]) == [[18, 21]]
        assert shown(processor(path, frame_stride=1, return_tensors="pt")["pixel_values"]) == [[18, 19, 20, 21]]
        assert shown(processor(path, sampling="uniform", return_tensors="pt")["pixel_values"]) == [[5, 15, 25, 35]]
        assert shown(processor(path, fps=5, return_tensors="pt")["pixel_values"]) == [[16, 18, 20, 22]]
        assert shown(processor(path, return_tensors="pt")["pixel_values"]) == [[15, 18, 21, 24]]

    def test_short_videos_repeat_the_last_frame(self, video_file):
        pixels = make(num_frames=8, frame_stride=2)(video_file(frames=5), return_tensors="pt")
        assert shown(pixels["pixel_values"]) == [[0, 2, 4, 4, 4, 4, 4, 4]]
        lengths = pixels["run_lengths"].view(4, 16)
        assert lengths.tolist() == [[1] * 16, [3] * 16, [0] * 16, [0] * 16]  # repeated frames cost nothing

    def test_fps_follows_the_time_stamps_of_a_variable_rate(self, video_file):
        # Ten frames within a second, then one every second.
        path = video_file(frames=16, pts=[*range(0, 100, 10), 100, 200, 300, 400, 500, 600])
        pixels = make(num_frames=6, fps=1)(path, return_tensors="pt")["pixel_values"]
        start = (6.0 - 5.0) / 2
        instants = [start + i for i in range(6)]
        stamps = [*(i / 10 for i in range(10)), 1, 2, 3, 4, 5, 6]
        assert shown(pixels) == [[max(i for i, stamp in enumerate(stamps) if stamp <= t + 1e-6) for t in instants]]

    def test_fetch_videos_reads_and_samples(self, video_file):
        path, processor = video_file(frames=20), make(num_frames=4, frame_stride=2)
        frames, metadata = processor.fetch_videos(str(path))
        assert frames.shape == (4, 48, 64, 3)
        assert metadata.frames_indices == [6, 8, 10, 12]
        assert metadata.total_num_frames == 20
        many, _ = processor.fetch_videos([str(path), str(path)])
        assert len(many) == 2


class TestRuns:
    @pytest.mark.parametrize("threshold", [0.0, 0.1, None])
    def test_preprocess_is_its_three_steps(self, video_file, threshold):
        processor, path = make(threshold=threshold, num_frames=8), video_file(frames=30)
        output = processor(path, return_tensors="pt")
        pixels = processor.pixels(processor.decode(path))
        assert torch.equal(output["pixel_values"], pixels)
        assert torch.equal(output["run_lengths"], processor.run_rule.find(pixels))
        assert torch.equal(output["run_lengths"], find_runs(pixels, threshold, 2, 8))

    def test_tokens_are_the_computed_tubelets_in_order(self, video_file):
        processor, paths = make(num_frames=8), [video_file(frames=30), video_file(frames=9)]
        whole = processor(paths, return_tensors="pt")
        found = processor(paths, return_tensors="pt", return_tokens=True)
        assert sorted(found) == ["run_lengths", "tubelets"]
        assert torch.equal(found["run_lengths"], whole["run_lengths"])
        wanted, side = [], SIDE // 8
        for clip, runs in zip(whole["pixel_values"], whole["run_lengths"], strict=True):
            for place in runs.nonzero()[:, 0].tolist():
                time, y, x = place // side**2, 8 * (place // side % side), 8 * (place % side)
                wanted.append(clip[2 * time : 2 * time + 2, :, y : y + 8, x : x + 8])
        assert torch.equal(found["tubelets"], torch.stack(wanted))
        assert 0 < len(processor(paths[1], return_tokens=True)["tubelets"]) < len(wanted)

    def test_tokens_of_clips_that_cannot_be_stacked_and_of_every_call_are_refused(self):
        videos = [np.zeros((8, 3, side, 32), np.uint8) for side in (32, 40)]
        with pytest.raises(ValueError, match="Cannot stack clips of shapes"):
            make(do_resize=False, do_center_crop=False)(videos, return_tokens=True)
        with pytest.raises(ValueError, match="return_tokens is a choice of one call"):
            make(return_tokens=True)

    def test_a_still_video_costs_one_tubelet_in_time(self):
        output = make()(np.full((8, SIDE, SIDE, 3), 90, np.uint8), return_tensors="pt")
        assert output["run_lengths"].view(4, 16).tolist() == [[4] * 16, [0] * 16, [0] * 16, [0] * 16]

    def test_threshold_and_sizes_of_a_call(self):
        still = np.full((8, SIDE, SIDE, 3), 90, np.uint8)
        assert make()(still, threshold=-1, return_tensors="pt")["run_lengths"].sum() == 64
        assert make()(still, tubelet_size=4, return_tensors="pt")["run_lengths"].shape == (1, 32)
        assert make()(still, patch_size=16, return_tensors="pt")["run_lengths"].shape == (1, 16)
        dense = make()(still, threshold=None, return_tensors="pt")["run_lengths"]
        assert torch.equal(dense, torch.ones(1, 64, dtype=torch.int64))


class TestSaving:
    def test_every_setting_comes_back(self, tmp_path, video_file):
        settings = {"threshold": 0.3, "tubelet_size": 4, "frame_stride": 3, "sampling": "uniform", "num_frames": 8}
        processor = make(**settings)
        processor.save_pretrained(tmp_path)
        for again in (RLTVideoProcessor.from_pretrained(tmp_path), AutoVideoProcessor.from_pretrained(tmp_path)):
            assert type(again) is RLTVideoProcessor
            assert {name: getattr(again, name) for name in settings} == settings
            assert again.patch_size == 8
            path = video_file(frames=20)
            left, right = again(path, return_tensors="pt"), processor(path, return_tensors="pt")
            assert all(torch.equal(left[name], right[name]) for name in right)

    def test_threshold_none_comes_back(self, tmp_path):
        make(threshold=None).save_pretrained(tmp_path)
        assert json.loads((tmp_path / "video_preprocessor_config.json").read_text())["threshold"] is None
        assert RLTVideoProcessor.from_pretrained(tmp_path).threshold is None
        assert AutoVideoProcessor.from_pretrained(tmp_path).threshold is None
        assert RLTVideoProcessor.from_pretrained(tmp_path, threshold=0.2).threshold == 0.2
        make().save_pretrained(tmp_path)
        assert RLTVideoProcessor.from_pretrained(tmp_path, threshold=None).threshold is None

    def test_an_image_processor_is_written_beside_it(self, tmp_path):
        make(image_mean=[0.4, 0.4, 0.4]).save_pretrained(tmp_path)
        assert (tmp_path / "preprocessor_config.json").is_file()
        image = AutoImageProcessor.from_pretrained(tmp_path)
        assert isinstance(image, VideoMAEImageProcessor) or type(image).__name__.startswith("VideoMAEImageProcessor")
        assert list(image.image_mean) == [0.4, 0.4, 0.4]
        assert image.crop_size["height"] == SIDE

    def test_a_stock_preprocessor_file_is_read(self, tmp_path):
        sizes = {"crop_size": {"height": 64, "width": 64}, "size": {"shortest_edge": 64}}
        scale = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
        stock = {"image_processor_type": "VideoMAEImageProcessor", "do_resize": True, **sizes, **scale}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(stock))
        processor = RLTVideoProcessor.from_pretrained(tmp_path, num_frames=8)
        assert (list(processor.image_mean), list(processor.image_std)) == ([0.4, 0.5, 0.6], [0.2, 0.3, 0.4])
        output = processor(np.zeros((8, 70, 80, 3), np.uint8), return_tensors="pt")
        assert output["pixel_values"].shape == (1, 8, 3, 64, 64)
        assert output["run_lengths"].shape == (1, 4 * 4 * 4)


class TestErrors:
    def test_files_and_arrays_do_not_mix(self, video_file):
        with pytest.raises(ValueError, match="1 files and 1 arrays"):
            make()([video_file(), ramp(8)])

    def test_clips_of_unequal_length_are_not_stacked(self):
        with pytest.raises(ValueError, match=r"\(4, 3, 32, 32\).*\(6, 3, 32, 32\).*do_sample_frames"):
            make()([ramp(4), ramp(6)], return_tensors="pt")

    def test_bad_settings_are_refused(self, video_file):
        with pytest.raises(ValueError, match=r"clip.*uniform.*received 'random'"):
            make(sampling="random")
        with pytest.raises(ValueError, match="received 0"):
            make(frame_stride=0)
        with pytest.raises(ValueError, match="num_frames must be positive, received 0"):
            make()(video_file(), num_frames=0)
        with pytest.raises(ValueError, match="NaN"):
            make(threshold=float("nan"))(ramp(4))

    def test_arrays_with_too_few_frames_are_refused(self):
        with pytest.raises(ValueError, match="4"):
            make(num_frames=8)(ramp(4), do_sample_frames=True)
        with pytest.raises(ValueError, match="1 frames"):
            make()(ramp(1))


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (lambda: RLTVideoProcessor(thresholds=0.1), "thresholds"),
        (lambda: RLTVideoProcessor()(torch.zeros(16, 3, 224, 224), num_token=0.5), "num_token"),
        (lambda: RLTVideoMAEConfig.from_dict({}, thresholds=0.1), "thresholds"),
    ],
)
def test_a_misspelt_setting_names_the_nearest(made, name):
    meant = {"thresholds": "threshold", "num_token": "num_tokens"}[name]
    with pytest.raises(ValueError, match=f"received '{name}': did you mean '{meant}'?"):
        made()
    assert RLTVideoProcessor(something_of_a_file=1).something_of_a_file == 1
