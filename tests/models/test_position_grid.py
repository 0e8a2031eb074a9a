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

from helpers import reference
from helpers.tiny import FRAMES, GRID, SIDE, TINY, moving_clips, randomise
from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEModel, RLTVideoProcessor
from hf_rlt import RLTVideoMAEForVideoClassification as Classifier
from hf_rlt.inference.loading import load
from hf_rlt.models.layers_rlt_videomae import position_table
from hf_rlt.models.packing import packed_layout

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


def save(model, folder):
    model.save_pretrained(folder)
    return folder


def random_clips(frames, height, width, batch=4):
    """Clip b changes in its first b rows of patches."""
    generator = torch.Generator().manual_seed(1)
    clips = torch.randn(batch, 1, 3, height, width, generator=generator).repeat(1, frames, 1, 1, 1)
    for b in range(batch):
        clips[b, :, :, : 8 * b] = torch.randn(frames, 3, 8 * b, width, generator=generator)
    return clips


@pytest.fixture(scope="module")
def stock():
    return randomise(VideoMAEForVideoClassification(VideoMAEConfig(**TINY)))


@pytest.fixture(scope="module", params=["stock", "ours"])
def folder(request, tmp_path_factory, stock):
    """A folder of a checkpoint for 8 frames of 32 pixels."""
    folder = tmp_path_factory.mktemp(request.param)
    model = stock if request.param == "stock" else Classifier(RLTVideoMAEConfig(**TINY))
    model.load_state_dict(stock.state_dict())
    model.save_pretrained(folder)
    return folder


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
    @pytest.mark.parametrize(("changes", "grid"), CHANGES)
    def test_a_changed_grid_is_noticed(self, folder, stock, changes, grid):
        for cls, prefix in ((Classifier, ""), (RLTVideoMAEModel, "videomae.")):
            model, info = cls.from_pretrained(folder, **changes, output_loading_info=True)
            assert not info["missing_keys"]
            assert not info["mismatched_keys"]
            assert model.config.position_grid == OWN
            assert model.config.num_frames == changes.get("num_frames", FRAMES)
            assert_table(model, GRID, grid)
            state = model.state_dict(prefix=prefix)
            assert all(torch.equal(stock.state_dict()[name], value) for name, value in state.items())
        assert_table(RLTVideoMAEModel(RLTVideoMAEConfig.from_pretrained(folder, **changes)), GRID, grid)

    @pytest.mark.parametrize(
        "changes", [{}, {"num_frames": FRAMES}, {"num_frames": FRAMES + 1}, {"image_size": [32, 39]}]
    )
    def test_the_same_grid_needs_nothing(self, folder, changes):
        config = RLTVideoMAEConfig.from_pretrained(folder, **changes, threshold=0.2)
        assert (config.position_grid, config.threshold) == (None, 0.2)

    def test_what_a_folder_leaves_out_is_videomaes(self, tmp_path):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "videomae"}))
        assert RLTVideoMAEConfig.from_pretrained(tmp_path).position_grid is None
        config, unused = RLTVideoMAEConfig.from_pretrained(tmp_path, num_frames=64, other=1, return_unused_kwargs=True)
        assert (config.position_grid, unused) == ([8, 14, 14], {"other": 1})

    def test_auto_classes_load_and_the_pipeline_notice_too(self, stock, tmp_path):
        Classifier.from_pretrained(save(stock, tmp_path / "stock")).save_pretrained(tmp_path)
        side = {"height": SIDE, "width": SIDE}
        RLTVideoProcessor(num_frames=FRAMES, patch_size=8, size=side, crop_size=side).save_pretrained(tmp_path)
        assert AutoConfig.from_pretrained(tmp_path, num_frames=32).position_grid == OWN
        model, processor = load(str(tmp_path), num_frames=32, sampling={"frame_stride": 1})
        assert (processor.num_frames, processor.frame_stride) == (32, 1)
        opened = [cls.from_pretrained(tmp_path, num_frames=32) for cls in (AutoModel, AutoModelForVideoClassification)]
        classify = pipeline("video-classification", str(tmp_path), model_kwargs={"num_frames": 32}, device="cpu")
        for each in (model, *opened, classify.model):
            assert each.config.position_grid == OWN
            assert_table(each, GRID, (16, 4, 4))

    def test_the_caller_goes_first(self, folder, tmp_path):
        model = Classifier.from_pretrained(folder, num_frames=32, position_grid=(2, 3, 4))
        assert model.config.position_grid == (2, 3, 4)
        assert_table(model, (2, 3, 4), (16, 4, 4))
        off = Classifier.from_pretrained(folder, num_frames=32, position_grid=None)
        assert off.config.position_grid is None
        assert torch.equal(table_of(off), get_sinusoid_encoding_table(16 * 16, WIDTH))
        assert torch.equal(table_of(Classifier.from_pretrained(save(off, tmp_path))), table_of(off))

    @torch.no_grad()
    def test_a_recorded_grid_is_saved_and_leads_back_to_videomae(self, folder, stock, tmp_path):
        model, clips = Classifier.from_pretrained(folder, num_frames=32, image_size=[24, 56]), random_clips(32, 24, 56)
        save(model, tmp_path)
        assert json.loads((tmp_path / "config.json").read_text())["position_grid"] == OWN
        assert torch.equal(AutoModelForVideoClassification.from_pretrained(tmp_path)(clips).logits, model(clips).logits)
        between = Classifier.from_pretrained(tmp_path, num_frames=16, image_size=SIDE)
        assert between.config.position_grid == OWN
        assert_table(between, GRID, (8, 4, 4))
        back = Classifier.from_pretrained(tmp_path, num_frames=FRAMES, image_size=SIDE, threshold=None)
        assert back.config.position_grid == OWN
        assert torch.equal(back(moving_clips()).logits, stock(moving_clips()).logits)


class TestModel:
    @pytest.mark.parametrize("length_embedding", [True, False])
    @torch.no_grad()
    def test_a_still_clip_scores_the_same_at_any_frame_rate(self, tiny_config, tmp_path, length_embedding):
        """Only its first tubelets are computed: they lie at the start, and last for the whole clip, at any rate."""
        model = randomise(Classifier(tiny_config(length_embedding=length_embedding)))
        save(model, tmp_path)
        still = moving_clips()[:1]
        for times in (2, 4, 8):
            fast = Classifier.from_pretrained(tmp_path, num_frames=times * FRAMES)
            got = fast(still.repeat_interleave(times, dim=1))
            assert (got.run_lengths > 0).sum() == 16
            assert got.run_lengths.max() == times * GRID[0]
            torch.testing.assert_close(got.logits, model(still).logits, atol=1e-6, rtol=1e-6)

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
            torch.testing.assert_close(state[length > 0], expected, atol=5e-5, rtol=1e-5)


class TestLengthEmbedding:
    @pytest.mark.parametrize("tubelets", [1, 3, 4, 16])
    @torch.no_grad()
    def test_run_lengths_are_measured_in_tubelets_of_the_trained_grid(self, tiny_config, tubelets):
        config = tiny_config(num_frames=2 * tubelets, position_grid=GRID, length_embedding=True)
        embeddings = randomise(RLTVideoMAEModel(config)).embeddings
        table = embeddings.run_length_embeddings.weight
        assert table.shape == (GRID[0], WIDTH)
        clips = random_clips(2 * tubelets, SIDE, SIDE, batch=1)
        for length in range(1, tubelets + 1):
            lengths = torch.zeros(1, tubelets, 16, dtype=torch.int64)
            lengths[:, 0] = length
            layout = packed_layout(lengths.flatten(1))
            plain = embeddings.patch_embeddings(clips, layout) + embeddings._positions(clips, layout)
            row = math.ceil(Fraction(length, tubelets) * GRID[0]) - 1
            got = embeddings(clips, lengths.flatten(1), layout)[:, :16] - plain[:, :16]
            torch.testing.assert_close(got, table[row].expand_as(got), atol=1e-5, rtol=1e-5)

    def test_a_trained_table_is_loaded_as_it_is(self, tiny_config, tmp_path):
        model = randomise(Classifier(tiny_config(length_embedding=True)))
        save(model, tmp_path)
        table = Classifier.from_pretrained(tmp_path, num_frames=32).videomae.embeddings.run_length_embeddings.weight
        assert torch.equal(table, model.videomae.embeddings.run_length_embeddings.weight)
        with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
            Classifier.from_pretrained(tmp_path, num_frames=32, position_grid=None)
        Classifier.from_pretrained(tmp_path, num_frames=32, position_grid=None, length_embedding=False)


class TestErrors:
    @pytest.mark.parametrize("grid", [[4, 4], [4, 4, 0], (4, -1, 4), [], "4x4x4", 4, [4.0, 4.0, 4.0], [True, 4, 4]])
    def test_a_wrong_grid_is_named(self, grid):
        with pytest.raises((ValueError, StrictDataclassError), match="position_grid"):
            RLTVideoMAEConfig(position_grid=grid)

    def test_a_clip_without_a_whole_tubelet_is_refused(self, folder):
        with pytest.raises(ValueError, match="holds no whole tubelet"):
            Classifier.from_pretrained(folder, num_frames=1)
