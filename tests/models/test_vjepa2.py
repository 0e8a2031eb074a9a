# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""RLT-V-JEPA 2: what the tests of every family (`test_families.py`) do not say."""

import pytest
import torch
from transformers import VJEPA2ForVideoClassification

from helpers.reference_vjepa2 import alone, rotated_grid
from helpers.tiny import SIDE, TINY_VJEPA2, moving_clips, randomise
from hf_rlt.families import FAMILIES
from hf_rlt.models.attention_rlt_vjepa2 import rotary_tables, rotate
from hf_rlt.models.errors import HfRltError

CLASSES = FAMILIES["rlt_vjepa2"]
close = torch.testing.assert_close


def pair(backend="sdpa", **changes):
    """Make RLT-V-JEPA 2 and stock V-JEPA 2 with the same weights."""
    config = CLASSES.config(**{**TINY_VJEPA2, "threshold": None, **changes})
    config._attn_implementation = backend
    model = randomise(CLASSES.classifier(config))
    stock_config = VJEPA2ForVideoClassification.config_class.from_dict(config.to_dict())
    stock_config._attn_implementation = backend
    stock = VJEPA2ForVideoClassification(stock_config).eval()
    stock.load_state_dict(model.state_dict())
    return model, stock


def clips_of(frames, batch=2):
    """Make clips of any number of frames, in which the left half stands still."""
    generator = torch.Generator().manual_seed(frames)
    clips = torch.randn(batch, frames, 3, SIDE, SIDE, generator=generator)
    clips[..., : SIDE // 2] = clips[:, :1, ..., : SIDE // 2]
    clips[0, :, :, :8, :8] = torch.randn(frames, 3, 8, 8, generator=generator)
    return clips


class TestRotary:
    @pytest.mark.parametrize("size", [24, 32, 36, 64, 80])
    def test_it_is_the_literal_one(self, size):
        states = torch.randn(2, 3 * 2 * 2, size, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
        places = torch.arange(12)
        tables = rotary_tables(places[None, None], 2, size, torch.float64)
        close(rotate(states[None], tables)[0], rotated_grid(states, 3, 2))

    def test_any_places_get_the_rows_of_the_whole_table(self):
        whole = rotary_tables(torch.arange(64)[None, None], 4, 32, torch.bfloat16)
        places = torch.tensor([[[3, 17, 18, 60]], [[0, 1, 62, 63]]])
        some = rotary_tables(places, 4, 32, torch.bfloat16)
        for table, rows in zip(whole, some, strict=True):
            assert rows.dtype == torch.bfloat16
            assert torch.equal(rows, table[0, 0][places])


class TestDroppedTokens:
    @pytest.mark.parametrize("backend", ["sdpa", "eager"])
    @torch.no_grad()
    def test_computed_tokens_equal_v_jepa_2s_with_the_other_tokens_removed(self, backend):
        model, stock = pair(backend, threshold=0.1)
        clips = moving_clips()
        output, states = model(clips), model.vjepa2(clips).last_hidden_state
        assert (output.run_lengths == 0).any()
        for clip in range(len(clips)):
            kept = output.run_lengths[clip] > 0
            tokens, logits = alone(stock, clips[clip], kept)
            close(states[clip][kept], tokens, atol=1e-5, rtol=1e-5)
            close(output.logits[clip], logits, atol=1e-5, rtol=1e-5)


class TestFrames:
    @pytest.mark.parametrize("frames", [1, 2, 4, 6, 7, 8, 16, 22])
    @torch.no_grad()
    def test_any_number_of_frames_dense_and_packed(self, frames):
        """The configuration says 8; a single frame is an image."""
        model, stock = pair()
        clips, expected = clips_of(frames), stock(clips_of(frames)).logits
        assert torch.equal(model(clips).logits, expected)
        tubelets = max(frames // 2, 1)
        states = model.vjepa2(clips).last_hidden_state
        assert torch.equal(states, stock.vjepa2(clips, skip_predictor=True).last_hidden_state)
        assert states.shape == (2, tubelets * 16, 64)
        model.config.threshold = 0.1
        packed = model(clips)
        assert packed.run_lengths.shape == (2, tubelets * 16)
        assert (packed.run_lengths == 0).any() == (tubelets > 1)
        assert packed.run_lengths.max() == tubelets
        again = model(clips, run_lengths=packed.run_lengths)
        assert torch.equal(again.logits, packed.logits)
        for clip in range(2):
            logits = alone(stock, clips[clip], packed.run_lengths[clip] > 0)[1]
            close(packed.logits[clip], logits, atol=1e-5, rtol=1e-5)

    @torch.no_grad()
    def test_views_of_an_image(self):
        model, _ = pair(threshold=0.1)
        image = clips_of(1, batch=4)
        each = model(image).logits.softmax(-1).unflatten(0, (2, 2)).mean(1)
        close(model(image.unflatten(0, (2, 2))).logits.exp(), each)

    def test_other_sizes_are_refused(self):
        model, _ = pair()
        for clips, sentence in (
            (torch.zeros(1, 8, 3, 24, 32), r"\(3, 32, 32\).*\(3, 24, 32\)"),
            (torch.zeros(1, 8, 1, 32, 32), r"\(3, 32, 32\).*\(1, 32, 32\)"),
            (torch.zeros(8, 3, 32, 32), r"batch, frames.*\(8, 3, 32, 32\)"),
            (None, r"batch, frames.*None"),
        ):
            with pytest.raises(HfRltError, match=sentence):
                model(clips)

    def test_run_lengths_of_another_number_of_frames_are_refused(self):
        model, _ = pair()
        with pytest.raises(HfRltError, match=r"\(2, 64\).*\(2, 32\)"):
            model(clips_of(8), run_lengths=torch.ones(2, 32, dtype=torch.int64))


class TestItsOwnInterface:
    @torch.no_grad()
    def test_pixel_values_videos_is_another_name(self):
        model, clips = pair(threshold=0.1)[0], moving_clips()
        for each, field in ((model, "logits"), (model.vjepa2, "last_hidden_state")):
            assert torch.equal(each(pixel_values_videos=clips)[field], each(clips)[field])
            with pytest.raises(HfRltError, match="received both"):
                each(clips, pixel_values_videos=clips)
        views = clips.unflatten(0, (2, 2))
        assert torch.equal(model(pixel_values_videos=views).logits, model(views).logits)

    @torch.no_grad()
    def test_get_vision_features(self):
        model, stock = pair()
        clips = moving_clips()
        assert torch.equal(model.vjepa2.get_vision_features(clips), stock.vjepa2.get_vision_features(clips))
        model.config.threshold = 0.1
        features = model.vjepa2.get_vision_features(clips)
        assert torch.equal(features, model.vjepa2(clips).last_hidden_state)
        assert features.shape == (4, 64, 64)

    @torch.no_grad()
    def test_a_tuple_is_returned_if_asked_for(self):
        model, clips = pair(threshold=0.1)[0], moving_clips()
        for each in (model, model.vjepa2):
            expected = each(clips, output_hidden_states=True)
            as_tuple = each(clips, output_hidden_states=True, return_dict=False)
            assert len(as_tuple) == len(expected.to_tuple())
            assert torch.equal(as_tuple[0], expected[0])


class TestPredictor:
    MASKS = (
        {},
        {
            "context_mask": [torch.arange(0, 40).expand(4, -1)],
            "target_mask": [torch.arange(64).expand(4, -1).flip(1)[:, :20]],
        },
        {  # other places in each clip
            "context_mask": [torch.arange(0, 40) + 6 * torch.arange(4)[:, None]],
            "target_mask": [torch.arange(0, 20) + 14 * torch.arange(4)[:, None]],
        },
    )

    @pytest.mark.parametrize("masks", MASKS, ids=["all", "some", "others"])
    @pytest.mark.parametrize("backend", ["sdpa", "eager"])
    @torch.no_grad()
    def test_it_is_stocks_on_the_grid(self, backend, masks):
        model, stock = pair(backend)
        clips = moving_clips()
        expected, output = stock.vjepa2(clips, **masks), model.vjepa2(clips, skip_predictor=False, **masks)
        assert torch.equal(output.last_hidden_state, expected.last_hidden_state)
        assert torch.equal(output.masked_hidden_state, expected.masked_hidden_state)
        for field in ("last_hidden_state", "target_hidden_state"):
            assert torch.equal(output.predictor_output[field], expected.predictor_output[field])
        model.config.threshold = 0.1
        packed = model.vjepa2(clips, skip_predictor=False, **masks)
        used = {"context_mask": self.everything, "target_mask": self.everything, **masks}
        found = model.vjepa2.predictor(packed.last_hidden_state, **used).last_hidden_state
        assert torch.equal(packed.predictor_output.last_hidden_state, found)

    everything = [torch.arange(64).expand(4, -1)]  # noqa: RUF012

    @torch.no_grad()
    def test_without_it_only_what_is_asked_for_is_made(self):
        model, stock = pair()
        clips, masks = moving_clips(), self.MASKS[1]
        plain = model.vjepa2(clips)
        assert plain.predictor_output is None
        assert plain.masked_hidden_state is None
        for context in (masks["context_mask"], torch.stack(masks["context_mask"])):
            masked = model.vjepa2(clips, context_mask=context, return_last_hidden_state=False)
            expected = stock.vjepa2(clips, context_mask=context, skip_predictor=True)
            assert masked.predictor_output is None
            assert torch.equal(masked.masked_hidden_state, expected.masked_hidden_state)

    @pytest.mark.parametrize("predict", [False, True])
    @torch.no_grad()
    def test_hidden_states_are_the_encoders(self, predict):
        model, stock = pair("eager")
        asked = {"output_hidden_states": True, "output_attentions": True, "skip_predictor": not predict}
        expected, output = stock.vjepa2(moving_clips(), **asked), model.vjepa2(moving_clips(), **asked)
        for field in ("hidden_states", "attentions"):
            assert len(output[field]) == len(expected[field]) >= 3
            assert all(torch.equal(a, b) for a, b in zip(output[field], expected[field], strict=True))

    def test_its_weights_train_when_it_runs(self):
        config = CLASSES.config(**{**TINY_VJEPA2, "threshold": 0.1})
        model = randomise(CLASSES.model(config)).train()
        output = model(moving_clips(), skip_predictor=False)
        output.predictor_output.last_hidden_state.square().sum().backward()
        assert {n for n, p in model.named_parameters() if p.grad is None} == set()

    def test_its_weights_are_saved_loaded_and_frozen_in_a_classifier(self, tmp_path):
        model, _ = pair()
        model.save_pretrained(tmp_path)
        for again in (CLASSES.classifier.from_pretrained(tmp_path), model):
            predictor = dict(again.vjepa2.predictor.named_parameters())
            assert all(not parameter.requires_grad for parameter in predictor.values())
            assert all(torch.equal(p, model.vjepa2.predictor.get_parameter(n)) for n, p in predictor.items())
        base = CLASSES.model.from_pretrained(tmp_path)
        assert all(parameter.requires_grad for parameter in base.parameters())
        assert torch.equal(base.predictor.proj.weight, model.vjepa2.predictor.proj.weight)
