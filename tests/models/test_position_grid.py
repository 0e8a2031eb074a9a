# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Clips of other lengths and resolutions than the weights were trained on: positions are resized, not made anew."""

import json
import math
from fractions import Fraction

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForVideoClassification,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    pipeline,
)
from transformers.models.videomae.modeling_videomae import get_sinusoid_encoding_table
from typer.testing import CliRunner

from helpers import reference
from helpers.tiny import FRAMES, GRID, SIDE, TINY, moving_clips, randomise
from helpers.videos import ramp, write_video
from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, RLTVideoMAEModel, RLTVideoProcessor, find_runs
from hf_rlt.cli import app
from hf_rlt.cli.options import sampling_settings as rate
from hf_rlt.inference.loading import load
from hf_rlt.models.layers_rlt_videomae import position_table

WIDTH = TINY["hidden_size"]
OWN = list(GRID)
# What is changed, and the grid that it gives.
CHANGES = [
    ({"num_frames": 4 * FRAMES}, (16, 4, 4)),
    ({"num_frames": 2}, (1, 4, 4)),
    ({"image_size": 48}, (4, 6, 6)),
    ({"image_size": [24, 56]}, (4, 3, 7)),
    ({"num_frames": 2 * FRAMES, "image_size": (40, 16)}, (8, 5, 2)),
]


def expected_table(trained, grid):
    return reference.resized_positions(get_sinusoid_encoding_table(math.prod(trained), WIDTH)[0], trained, grid)


def table_of(model):
    return getattr(model, "videomae", model).embeddings.position_embeddings


def assert_table(model, trained, grid):
    table = table_of(model)
    assert table.dtype == torch.float32
    assert table.shape == (1, math.prod(grid), WIDTH)
    torch.testing.assert_close(table[0].double(), expected_table(trained, grid), atol=1e-6, rtol=1e-6)


def stretched(clips, times):
    """The same video at a frame rate `times` as high."""
    return clips.repeat_interleave(times, dim=1)


def random_clips(frames, height, width, batch=4):
    """Clip b changes in its first b rows of patches."""
    generator = torch.Generator().manual_seed(1)
    clips = torch.randn(batch, 1, 3, height, width, generator=generator).repeat(1, frames, 1, 1, 1)
    for b in range(batch):
        clips[b, :, :, : 8 * b] = torch.randn(frames, 3, 8 * b, width, generator=generator)
    return clips


@pytest.fixture
def stock():
    return randomise(VideoMAEForVideoClassification(VideoMAEConfig(**TINY)))


@pytest.fixture(params=["stock", "ours"])
def folder(request, tmp_path, stock):
    """A folder of a checkpoint for 8 frames of 32 pixels."""
    stock.save_pretrained(tmp_path / "stock")
    if request.param == "ours":
        RLTVideoMAEForVideoClassification.from_pretrained(tmp_path / "stock").save_pretrained(tmp_path / "ours")
    return tmp_path / request.param


class TestTable:
    @pytest.mark.parametrize(
        ("trained", "grid"),
        [(GRID, (16, 4, 4)), (GRID, (4, 6, 3)), (GRID, (2, 3, 1)), ((3, 5, 2), (7, 4, 6)), ((1, 2, 3), (5, 3, 2))],
    )
    def test_equals_the_blend_of_neighbours(self, trained, grid):
        table = position_table(grid, trained, WIDTH)
        assert table.shape == (1, math.prod(grid), WIDTH)
        torch.testing.assert_close(table[0].double(), expected_table(trained, grid), atol=1e-6, rtol=1e-6)

    def test_of_the_trained_grid_is_videomaes_bit_for_bit(self):
        assert torch.equal(position_table((3, 5, 2), (3, 5, 2), 50), get_sinusoid_encoding_table(30, 50))


class TestLoading:
    @pytest.mark.parametrize("cls", [RLTVideoMAEForVideoClassification, RLTVideoMAEModel])
    @pytest.mark.parametrize(("changes", "grid"), CHANGES)
    def test_a_changed_grid_is_noticed(self, folder, stock, cls, changes, grid):
        model, info = cls.from_pretrained(folder, **changes, output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["mismatched_keys"]
        assert model.config.position_grid == OWN
        assert model.config.num_frames == changes.get("num_frames", FRAMES)
        assert_table(model, GRID, grid)
        weights = stock.state_dict()
        state = model.state_dict(prefix="videomae." if cls is RLTVideoMAEModel else "")
        assert all(torch.equal(weights[name], value) for name, value in state.items())
        config = RLTVideoMAEConfig.from_pretrained(folder, **changes)
        assert config.position_grid == OWN
        assert_table(RLTVideoMAEModel(config), GRID, grid)

    @pytest.mark.parametrize(
        "changes", [{}, {"num_frames": FRAMES}, {"num_frames": FRAMES + 1}, {"image_size": [32, 39]}]
    )
    def test_the_same_grid_needs_nothing(self, folder, changes):
        config = RLTVideoMAEConfig.from_pretrained(folder, **changes, threshold=0.2)
        assert config.position_grid is None
        assert config.threshold == 0.2

    def test_what_a_folder_leaves_out_is_videomaes(self, tmp_path):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "videomae"}))
        assert RLTVideoMAEConfig.from_pretrained(tmp_path).position_grid is None
        assert RLTVideoMAEConfig.from_pretrained(tmp_path, num_frames=64).position_grid == [8, 14, 14]

    def test_unused_settings_are_handed_back(self, folder):
        config, unused = RLTVideoMAEConfig.from_pretrained(folder, num_frames=16, other=1, return_unused_kwargs=True)
        assert unused == {"other": 1}
        assert (config.num_frames, config.position_grid) == (16, OWN)

    @pytest.mark.parametrize("folder", ["ours"], indirect=True)
    def test_auto_classes_and_the_pipeline_notice_too(self, folder):
        assert AutoConfig.from_pretrained(folder, num_frames=32).position_grid == OWN
        for cls in (AutoModel, AutoModelForVideoClassification):
            model = cls.from_pretrained(folder, num_frames=32)
            assert model.config.position_grid == OWN
            assert_table(model, GRID, (16, 4, 4))
        side = {"height": SIDE, "width": SIDE}
        RLTVideoProcessor(num_frames=FRAMES, patch_size=8, size=side, crop_size=side).save_pretrained(folder)
        classify = pipeline("video-classification", str(folder), model_kwargs={"num_frames": 32}, device="cpu")
        assert_table(classify.model, GRID, (16, 4, 4))
        video = write_video(folder / "clip.mp4", ramp(40))
        with torch.no_grad():
            inputs = classify.video_processor(video, num_frames=32, return_tensors="pt")
            expected = classify.model(**inputs).logits.softmax(-1).max().item()
        assert classify(str(video))[0]["score"] == pytest.approx(expected, abs=1e-6)

    def test_half_precision_leaves_the_table_alone(self, folder):
        model = RLTVideoMAEForVideoClassification.from_pretrained(folder, num_frames=32, dtype=torch.bfloat16)
        assert model.dtype == torch.bfloat16
        assert_table(model, GRID, (16, 4, 4))

    def test_the_caller_goes_first(self, folder, tmp_path):
        model = RLTVideoMAEForVideoClassification.from_pretrained(folder, num_frames=32, position_grid=(2, 3, 4))
        assert model.config.position_grid == (2, 3, 4)
        assert_table(model, (2, 3, 4), (16, 4, 4))
        off = RLTVideoMAEForVideoClassification.from_pretrained(folder, num_frames=32, position_grid=None)
        assert off.config.position_grid is None
        assert torch.equal(table_of(off), get_sinusoid_encoding_table(16 * 16, WIDTH))
        off.save_pretrained(tmp_path / "off")
        again = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path / "off")
        assert torch.equal(table_of(again), table_of(off))

    @torch.no_grad()
    def test_a_saved_folder_gives_identical_logits(self, folder, tmp_path):
        clips = random_clips(32, 24, 56)
        model = RLTVideoMAEForVideoClassification.from_pretrained(folder, num_frames=32, image_size=[24, 56])
        model.save_pretrained(tmp_path / "saved")
        saved = json.loads((tmp_path / "saved" / "config.json").read_text())
        assert saved["position_grid"] == OWN
        for cls in (RLTVideoMAEForVideoClassification, AutoModelForVideoClassification):
            again = cls.from_pretrained(tmp_path / "saved")
            assert again.config.position_grid == OWN
            assert torch.equal(again(clips).logits, model(clips).logits)

    @torch.no_grad()
    def test_a_recorded_grid_is_kept_and_leads_back_to_videomae(self, folder, stock, tmp_path):
        RLTVideoMAEForVideoClassification.from_pretrained(folder, num_frames=32).save_pretrained(tmp_path / "long")
        between = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path / "long", num_frames=16)
        assert between.config.position_grid == OWN
        assert_table(between, GRID, (8, 4, 4))
        back = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path / "long", num_frames=FRAMES, threshold=None)
        assert back.config.position_grid == OWN
        assert torch.equal(back(moving_clips()).logits, stock(moving_clips()).logits)


class TestModel:
    @torch.no_grad()
    def test_the_own_grid_is_videomae_bit_for_bit(self, stock, tiny_config):
        model = RLTVideoMAEForVideoClassification(tiny_config(threshold=None, position_grid=GRID)).eval()
        model.load_state_dict(stock.state_dict())
        assert torch.equal(model(moving_clips()).logits, stock(moving_clips()).logits)

    @pytest.mark.parametrize("length_embedding", [True, False])
    @torch.no_grad()
    def test_a_still_clip_scores_the_same_at_any_frame_rate(self, tiny_config, tmp_path, length_embedding):
        """Only its first tubelets are computed: they lie at the start, and last for the whole clip, at any rate."""
        model = randomise(RLTVideoMAEForVideoClassification(tiny_config(length_embedding=length_embedding)))
        model.save_pretrained(tmp_path)
        still = moving_clips()[:1]
        expected = model(still)
        for times in (2, 4, 8):
            fast = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path, num_frames=times * FRAMES)
            got = fast(stretched(still, times))
            assert (got.run_lengths > 0).sum() == 16
            assert got.run_lengths.max() == times * GRID[0]
            torch.testing.assert_close(got.logits, expected.logits, atol=1e-6, rtol=1e-6)
        anew = RLTVideoMAEModel.from_pretrained(tmp_path, num_frames=32, position_grid=GRID, image_size=48)
        assert anew(random_clips(32, 48, 48)).last_hidden_state.shape == (4, 16 * 36, WIDTH)

    @pytest.mark.parametrize(("frames", "height", "width"), [(32, SIDE, SIDE), (8, 48, 48), (16, 40, 24)])
    @torch.no_grad()
    def test_packed_equals_one_by_one(self, tiny_config, tmp_path, frames, height, width):
        randomise(RLTVideoMAEForVideoClassification(tiny_config(length_embedding=True))).save_pretrained(tmp_path)
        changes = {"num_frames": frames, "image_size": [height, width]}
        model = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path, **changes)
        clips = random_clips(frames, height, width)
        lengths = find_runs(clips, 0.1, 2, 8)
        assert len(set((lengths > 0).sum(1).tolist())) == len(clips)
        packed = model(clips)
        assert torch.equal(packed.run_lengths, lengths)
        alone = [
            model(clip[None], run_lengths=length[None]).logits for clip, length in zip(clips, lengths, strict=True)
        ]
        torch.testing.assert_close(packed.logits, torch.cat(alone), atol=1e-5, rtol=1e-5)
        assert (packed.logits[0] - packed.logits[1]).abs().max() > 1e-2

    @torch.no_grad()
    def test_computed_tokens_carry_the_resized_positions(self, stock, tiny_config):
        """VideoMAE with the table put in by hand, and its own masking, is the reference."""
        long = randomise(VideoMAEForVideoClassification(VideoMAEConfig(**{**TINY, "num_frames": 32}))).videomae
        long.load_state_dict(stock.videomae.state_dict())
        long.embeddings.position_embeddings = expected_table(GRID, (16, 4, 4)).float()[None]
        model = RLTVideoMAEModel(tiny_config(num_frames=32, position_grid=GRID)).eval()
        model.load_state_dict(stock.videomae.state_dict())
        clips = random_clips(32, SIDE, SIDE)
        got = model(clips)
        for clip, length, state in zip(clips, got.run_lengths, got.last_hidden_state, strict=True):
            expected = long(clip[None], bool_masked_pos=(length == 0)[None]).last_hidden_state[0]
            torch.testing.assert_close(state[length > 0], expected, atol=1e-5, rtol=1e-5)


class TestLengthEmbedding:
    @pytest.mark.parametrize("tubelets", [1, 2, 3, 4, 6, 16])
    @torch.no_grad()
    def test_run_lengths_are_measured_in_tubelets_of_the_trained_grid(self, tiny_config, tubelets):
        config = tiny_config(num_frames=2 * tubelets, position_grid=GRID, length_embedding=True)
        model = randomise(RLTVideoMAEModel(config))
        assert model.embeddings.run_length_embeddings.weight.shape == (GRID[0], WIDTH)
        table = model.embeddings.run_length_embeddings.weight.clone()
        for length in range(1, tubelets + 1):
            lengths = torch.zeros(1, tubelets, 16, dtype=torch.int64)
            lengths[:, 0] = length
            row = math.ceil(Fraction(length, tubelets) * GRID[0]) - 1
            asked = {"run_lengths": lengths.flatten(1), "output_hidden_states": True}
            clips = random_clips(2 * tubelets, SIDE, SIDE, batch=1)
            got = model(clips, **asked).hidden_states[0][:, :16]
            model.embeddings.run_length_embeddings.weight.zero_()
            plain = model(clips, **asked).hidden_states[0][:, :16]
            model.embeddings.run_length_embeddings.weight.copy_(table)
            torch.testing.assert_close(got - plain, table[row].expand_as(got), atol=1e-5, rtol=1e-5)

    def test_a_trained_table_is_loaded_as_it_is(self, tiny_config, tmp_path):
        model = randomise(RLTVideoMAEForVideoClassification(tiny_config(length_embedding=True)))
        model.save_pretrained(tmp_path)
        long, info = RLTVideoMAEForVideoClassification.from_pretrained(
            tmp_path, num_frames=32, output_loading_info=True
        )
        assert not info["mismatched_keys"]
        table = long.videomae.embeddings.run_length_embeddings.weight
        assert torch.equal(table, model.videomae.embeddings.run_length_embeddings.weight)
        with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
            RLTVideoMAEForVideoClassification.from_pretrained(tmp_path, num_frames=32, position_grid=None)
        RLTVideoMAEForVideoClassification.from_pretrained(
            tmp_path, num_frames=32, position_grid=None, length_embedding=False
        )


class TestErrors:
    @pytest.mark.parametrize("grid", [[4, 4], [4, 4, 0], (4, -1, 4), [], [4, 4, 4, 4]])
    def test_a_wrong_grid_is_named(self, folder, grid):
        message = r"position_grid.* three positive integers .* received "
        with pytest.raises((ValueError, StrictDataclassError), match=message):
            RLTVideoMAEConfig(**TINY, position_grid=grid)
        for cls in (RLTVideoMAEConfig, RLTVideoMAEForVideoClassification):
            with pytest.raises((ValueError, StrictDataclassError), match=message):
                cls.from_pretrained(folder, position_grid=grid)

    @pytest.mark.parametrize("grid", ["4x4x4", 4, [4.0, 4.0, 4.0], [True, 4, 4]])
    def test_a_grid_of_the_wrong_type_is_named(self, folder, grid):
        for make in (lambda: RLTVideoMAEConfig(position_grid=grid), lambda: self._opened(folder, grid)):
            with pytest.raises((ValueError, StrictDataclassError), match="position_grid"):
                make()

    @staticmethod
    def _opened(folder, grid):
        return RLTVideoMAEConfig.from_pretrained(folder, position_grid=grid)

    def test_a_clip_without_a_whole_tubelet_is_refused(self, folder):
        with pytest.raises(ValueError, match="holds no whole tubelet"):
            RLTVideoMAEForVideoClassification.from_pretrained(folder, num_frames=1)


class TestCommand:
    @pytest.fixture
    def digits_model(self, digits_processor, rendered_digits, tmp_path):
        names = sorted(path.name for path in (rendered_digits / "validation").iterdir())
        settings = {**TINY, "num_frames": 16, "image_size": 64, "num_labels": len(names)}
        config = VideoMAEConfig(
            **settings, id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)}
        )
        randomise(VideoMAEForVideoClassification(config)).save_pretrained(tmp_path)
        digits_processor.fps = 5.0
        digits_processor.sampling = "uniform"
        digits_processor.save_pretrained(tmp_path)
        return tmp_path

    def test_model_and_processor_follow_num_frames(self, digits_model):
        network, processor = load(str(digits_model), num_frames=64, sampling=rate(1, None))
        assert (network.config.num_frames, network.config.position_grid) == (64, [8, 8, 8])
        assert (processor.num_frames, processor.frame_stride, processor.fps, processor.sampling) == (
            64,
            1,
            None,
            "clip",
        )
        network, processor = load(str(digits_model), num_frames=None, sampling=rate(None, 12.5))
        assert (network.config.num_frames, network.config.position_grid) == (16, None)
        assert (processor.num_frames, processor.fps, processor.sampling) == (16, 12.5, "clip")
        _, processor = load(str(digits_model), num_frames=None, sampling=rate(None, None))
        assert (processor.frame_stride, processor.fps, processor.sampling) == (2, 5.0, "uniform")

    def test_evaluation_with_more_frames(self, digits_model, rendered_digits):
        command = ["evaluate", str(digits_model), str(rendered_digits / "validation"), "--workers", "0", "--json"]
        shares = []
        for frames, stride in (("16", "2"), ("32", "1")):
            done = CliRunner().invoke(app, [*command, "--num-frames", frames, "--frame-stride", stride])
            assert done.exit_code == 0, done.output
            shares.append(json.loads(done.stdout)["tokens_computed"])
        assert shares[1] < shares[0]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--frame-stride", "2", "--fps", "8"), "Expected --frame-stride or --fps, received both (2 and 8)"),
            (("--fps", "0"), "--fps: expected frames per second above 0, received 0"),
            (("--num-frames", "1"), "holds no whole tubelet"),
        ],
    )
    def test_a_users_mistake_is_one_line_and_code_2(self, digits_model, rendered_digits, options, message):
        done = CliRunner().invoke(app, ["evaluate", str(digits_model), str(rendered_digits / "validation"), *options])
        assert done.exit_code == 2
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
