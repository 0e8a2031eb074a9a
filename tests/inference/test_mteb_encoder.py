# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Both model families under `mteb.evaluate`, on a tiny task made here."""

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Video

from helpers.tiny import TINY_VJEPA2, make_model, randomise
from helpers.videos import noise, write_video

mteb = pytest.importorskip("mteb")
pytestmark = pytest.mark.slow

from hf_rlt import RLTVJEPA2Config, RLTVJEPA2ForVideoClassification, RLTVJEPA2VideoProcessor  # noqa: E402
from hf_rlt.inference import Options  # noqa: E402
from hf_rlt.inference.batch import RLTBatchPredictor  # noqa: E402
from hf_rlt.inference.mteb_encoder import RLTEncoder  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Videos of two classes, dark and bright ones."""
    folder, rows = tmp_path_factory.mktemp("task"), {"video": [], "label": []}
    for number in range(32):
        bright = number % 2
        frames = (noise(40, number) // 4 + 160 * bright).astype(np.uint8)
        rows["video"].append(str(write_video(folder / f"{number}.mp4", frames)))
        rows["label"].append(bright)
    features = Features({"video": Video(decode=False), "label": ClassLabel(names=["dark", "bright"])})
    whole = Dataset.from_dict(rows, features=features)
    return DatasetDict({"train": whole.select(range(16)), "test": whole.select(range(16, 32))})


def task_of(data):
    from mteb.abstasks.classification import AbsTaskClassification
    from mteb.abstasks.task_metadata import TaskMetadata

    class Tiny(AbsTaskClassification):
        input_column_name, samples_per_label, n_experiments = "video", 4, 3
        metadata = TaskMetadata(
            name="TinyVideoClassification",
            description="Dark or bright.",
            reference="https://example.org",
            dataset={"path": "none", "revision": "1"},
            type="VideoClassification",
            category="v2c",
            modalities=["video"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="accuracy",
            date=("2026-01-01", "2026-01-02"),
            domains=["Scene"],
            task_subtypes=[],
            license="not specified",
            annotations_creators="derived",
            dialect=[],
            sample_creation="created",
            bibtex_citation="",
        )

        def load_data(self, **_):
            self.dataset, self.data_loaded = data, True

    return Tiny()


def make_vjepa2(folder):
    changes = {"crop_size": 64, "frames_per_clip": 16}
    randomise(RLTVJEPA2ForVideoClassification(RLTVJEPA2Config(**{**TINY_VJEPA2, **changes}))).save_pretrained(folder)
    RLTVJEPA2VideoProcessor(num_frames=16, frame_stride=2, patch_size=8, crop_size=64).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("make", [make_model, make_vjepa2])
def test_a_task_at_two_budgets(data, tmp_path, make):
    model = make(tmp_path / "model")
    dense, few = RLTEncoder(str(model), threshold=None), RLTEncoder(str(model), Options(batch_size=4), num_tokens=0.25)
    scores = {}
    for encoder in (dense, few):
        result = mteb.evaluate(encoder, task_of(data), cache=None, co2_tracker=False, show_progress_bar=False)
        scores[encoder] = result.task_results[0].get_score()
        assert result.model_revision == encoder.model.runner.processor.run_rule.describe()
    assert dense.tokens_computed == dense.tokens
    assert few.tokens_computed * 4 == few.tokens
    assert min(scores.values()) > 0.9  # even for random weights
    videos = data["test"]["video"]
    found = few.encode(type("Loader", (), {"dataset": data["test"], "batch_size": 3}))
    predictor = RLTBatchPredictor(str(model), Options(features="pooled"), num_tokens=0.25)
    wanted = np.stack(predictor({"path": [row["path"] for row in videos]})["features"])
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_a_video_that_cannot_be_read_is_named(tmp_path):
    rows = Dataset.from_dict({"video": [str(tmp_path / "gone.mp4")]}).cast_column("video", Video())
    encoder = RLTEncoder(str(make_model(tmp_path / "model")))
    with pytest.raises((ValueError, OSError), match=r"Video 0 of 1: .*gone\.mp4"):
        encoder.encode(type("Loader", (), {"dataset": rows, "batch_size": 3}))
