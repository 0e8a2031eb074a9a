# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Folders as they lie on the Hub, opened with and without hf_rlt, and what plain transformers makes of them."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from huggingface_hub import HfApi
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForVideoClassification,
    AutoProcessor,
    AutoVideoProcessor,
    pipeline,
)
from transformers import TrainingArguments as Arguments
from transformers.utils import logging

import hf_rlt
from helpers.paths import ODD
from helpers.tiny import FRAMES, SIDE, TINY, TINY_VJEPA2, moving_clips, randomise
from helpers.videos import ramp, write_video
from hf_rlt import (
    RLTVideoMAEConfig,
    RLTVideoMAEForVideoClassification,
    RLTVideoProcessor,
    RLTVJEPA2ForVideoClassification,
    RLTVJEPA2VideoProcessor,
    register,
)
from hf_rlt.baselines import RandomMaskingVideoMAEForVideoClassification
from hf_rlt.families import FAMILIES, Family
from hf_rlt.training.trainer import RLTTrainer

REAL = ODD / "base.mp4"
PACKAGE = Path(hf_rlt.__file__).parent / "models"
MODELS = [path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"]

CONFIGS = ("config.json", "video_preprocessor_config.json", "preprocessor_config.json")

# Runs where hf_rlt cannot be imported. Opens FOLDER_OR_ID with and without leave to run its code.
STRANGER = """
import json, sys
sys.modules["hf_rlt"] = None
import torch
from safetensors.torch import save_file
from transformers import (AutoConfig, AutoModel, AutoModelForVideoClassification, AutoProcessor, AutoVideoProcessor,
                          pipeline)
import transformers
name, clip, out, stock = sys.argv[1:]
trust = {"trust_remote_code": True}
report, tensors = {}, {}
model = AutoModelForVideoClassification.from_pretrained(name, **trust)
base = AutoModel.from_pretrained(name, **trust)
processor = AutoVideoProcessor.from_pretrained(name, **trust)
config = AutoConfig.from_pretrained(name, **trust)
by_auto = AutoProcessor.from_pretrained(name, **trust)
report["modules"] = [type(part).__module__ for part in (config, model, base, processor, by_auto)]
report["processors"] = [part.to_dict() for part in (processor, by_auto)]
inputs = processor(clip, num_frames=config.num_frames, return_tensors="pt")
with torch.no_grad():
    tensors.update(inputs, logits=model(**inputs).logits, base=base(**inputs).last_hidden_state)
classify = pipeline("video-classification", model=name, **trust)
report["pipeline"] = classify([clip, clip], batch_size=2, top_k=5)
model.save_pretrained(out + "/again")
processor.save_pretrained(out + "/again")
report["refused"] = {}
for auto in (AutoConfig, AutoModel, AutoModelForVideoClassification, AutoProcessor, AutoVideoProcessor):
    try:
        auto.from_pretrained(name)
    except ValueError as error:
        report["refused"][auto.__name__] = str(error)
dense = getattr(transformers, stock).from_pretrained(name)
with torch.no_grad():
    tensors["dense"] = dense(inputs["pixel_values"]).logits
save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, out + "/tensors.safetensors")
json.dump(report, open(out + "/report.json", "w"))
"""


@pytest.fixture(autouse=True)
def quiet():
    logging.set_verbosity_error()


class Case(NamedTuple):
    """A family, as its folders are saved and opened."""

    family: Family
    settings: dict
    processor: RLTVideoProcessor
    stock: str  # class of transformers that opens the weights dense

    @property
    def code(self) -> set[str]:
        """Names of the files that a folder carries: all but those of other families."""
        own = self.family.config.model_type
        others = [kind for kind, family in FAMILIES.items() if family.carries_code and kind != own]
        return {name for name in MODELS if not name.endswith(tuple(others))}

    def save(self, folder: Path) -> Path:
        """Write model and processor as a user does."""
        randomise(self.family.classifier(self.family.config(**self.settings))).save_pretrained(folder)
        self.processor.save_pretrained(folder)
        return folder


def maps(file: Path) -> dict[str, str]:
    return json.loads(file.read_text()).get("auto_map", {})


def make_processor(**rule) -> RLTVideoProcessor:
    size = {"height": SIDE, "width": SIDE}
    return RLTVideoProcessor(
        size={"shortest_edge": SIDE}, crop_size=size, patch_size=8, frame_stride=2, num_frames=FRAMES, **rule
    )


def make_case(name: str) -> Case:
    if name == "rlt_videomae":
        return Case(FAMILIES[name], TINY, make_processor(), "VideoMAEForVideoClassification")
    options = {"crop_size": SIDE, "patch_size": 8, "frame_stride": 2, "num_frames": FRAMES}
    return Case(FAMILIES[name], TINY_VJEPA2, RLTVJEPA2VideoProcessor(**options), "VJEPA2ForVideoClassification")


@pytest.fixture(scope="module", params=["rlt_videomae", "rlt_vjepa2"])
def case(request) -> Case:
    return make_case(request.param)


@pytest.fixture(scope="module")
def folder(case, tmp_path_factory) -> Path:
    return case.save(tmp_path_factory.mktemp("saved") / "rlt-tiny")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    if REAL.is_file():
        return REAL
    frames = ramp(40)
    frames[:, :16] = 90
    return write_video(tmp_path_factory.mktemp("clip") / "drawn.mp4", frames)


def run_stranger(
    name: str, clip: Path, out: Path, stock: str, **environment: str
) -> tuple[dict, dict[str, torch.Tensor]]:
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(out / "modules"), **environment}
    command = [sys.executable, "-c", STRANGER, name, str(clip), str(out), stock]
    options = {"capture_output": True, "stdin": subprocess.DEVNULL, "text": True, "timeout": 180}
    done = subprocess.run(command, env=variables, cwd=out, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((out / "report.json").read_text()), load_file(out / "tensors.safetensors")


@pytest.fixture(scope="module", params=["folder", "hub"])
def stranger(request, case, folder, clip, tmp_path_factory):
    """What somebody without hf_rlt gets: from a local folder, and from the Hub's cache with the network off."""
    out = tmp_path_factory.mktemp("stranger")
    if request.param == "folder":
        return request.param, out, *run_stranger(str(folder), clip, out, case.stock)
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = out / "hub" / "models--org--rlt-tiny"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    return request.param, out, *run_stranger("org/rlt-tiny", clip, out, case.stock, HF_HUB_CACHE=str(out / "hub"))


@pytest.mark.slow
def test_without_hf_rlt_the_folders_own_code_gives_the_same_logits(stranger, folder, clip):
    _, _, report, tensors = stranger
    assert all(module.startswith("transformers_modules.") for module in report["modules"])
    assert report["processors"][0] == report["processors"][1]
    model = AutoModelForVideoClassification.from_pretrained(folder)
    base = AutoModel.from_pretrained(folder)
    processor = AutoVideoProcessor.from_pretrained(folder)
    inputs = processor(clip, return_tensors="pt")
    assert torch.equal(inputs["run_lengths"], tensors["run_lengths"])
    assert torch.equal(inputs["pixel_values"], tensors["pixel_values"])
    assert (inputs["run_lengths"] == 0).any(), "a clip of which nothing is dropped shows nothing"
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).logits, tensors["logits"], atol=1e-6, rtol=0)
        torch.testing.assert_close(base(**inputs)[0], tensors["base"], atol=1e-5, rtol=0)
    ours = pipeline("video-classification", model=str(folder), device="cpu")(str(clip), top_k=5)
    for answers in report["pipeline"]:
        assert [answer["label"] for answer in answers] == [answer["label"] for answer in ours]
        assert [a["score"] for a in answers] == pytest.approx([a["score"] for a in ours], abs=1e-6)


@pytest.mark.slow
def test_what_is_saved_again_without_hf_rlt_is_whole(stranger, case, folder):
    again = stranger[1] / "again"
    assert {path.name for path in again.iterdir()} == {path.name for path in folder.iterdir()}
    for name in CONFIGS:
        assert maps(again / name) == maps(folder / name)
    assert type(AutoModelForVideoClassification.from_pretrained(again)) is case.family.classifier


@pytest.mark.slow
def test_plain_transformers_refuses_with_the_remedy_and_opens_the_weights_dense(stranger, case, folder):
    _, _, report, tensors = stranger
    assert len(report["refused"]) == 5
    assert all("trust_remote_code=True" in message for message in report["refused"].values())
    dense = case.family.classifier.from_pretrained(folder, threshold=None)
    with torch.no_grad():
        expected = dense(tensors["pixel_values"]).logits
    torch.testing.assert_close(tensors["dense"], expected, atol=1e-6, rtol=0)
    assert not torch.equal(tensors["dense"], tensors["logits"])


@pytest.mark.slow
def test_without_hf_rlt_a_folder_keeps_its_rule_and_budget(clip, tmp_path):
    folder = tmp_path / "rlt-tiny"
    config = RLTVideoMAEConfig(**TINY, rule="anchor", num_tokens=0.4, budget_groups=2)
    randomise(RLTVideoMAEForVideoClassification(config)).save_pretrained(folder)
    processor = make_processor(rule="anchor", num_tokens=0.4, budget_groups=2)
    processor.save_pretrained(folder)
    assert {"run_rule", "budget", "rule_threshold", "rule_anchor"} <= {path.stem for path in folder.glob("*.py")}
    (tmp_path / "out").mkdir()
    report, tensors = run_stranger(str(folder), clip, tmp_path / "out", "VideoMAEForVideoClassification")
    assert all(module.startswith("transformers_modules.") for module in report["modules"])
    assert torch.equal(processor(clip, return_tensors="pt")["run_lengths"], tensors["run_lengths"])
    assert (tensors["run_lengths"] > 0).sum() == 26  # of 64
    model = RLTVideoMAEForVideoClassification.from_pretrained(folder)
    with torch.no_grad():  # with the model's own runs, which are the processor's
        torch.testing.assert_close(model(tensors["pixel_values"]).logits, tensors["logits"], atol=1e-6, rtol=0)
    for kind in (RLTVideoMAEConfig, RLTVideoProcessor):
        assert kind.from_pretrained(tmp_path / "out" / "again").run_rule == config.run_rule


def test_a_folder_carries_the_packages_files_unchanged(case, folder):
    carried = sorted(folder.glob("*.py"))
    assert {path.stem for path in carried} == case.code
    for path in carried:
        assert path.read_bytes() == (PACKAGE / path.name).read_bytes()
    entries = {name: place for file in CONFIGS for name, place in maps(folder / file).items()}
    models = {"AutoConfig", "AutoModel", "AutoModelForVideoClassification"}
    assert set(entries) == {*models, "AutoProcessor", "AutoVideoProcessor"}
    for place in entries.values():
        module, name = place.split(".")
        assert f"class {name}" in (folder / f"{module}.py").read_text()


@pytest.mark.parametrize("options", [{}, {"trust_remote_code": True}], ids=["plain", "trusting"])
def test_with_hf_rlt_imported_its_own_classes_open_the_folder(case, folder, options):
    assert type(AutoConfig.from_pretrained(folder, **options)) is case.family.config
    assert type(AutoModel.from_pretrained(folder, **options)) is case.family.model
    assert type(AutoVideoProcessor.from_pretrained(folder, **options)) is case.family.processor
    assert type(AutoProcessor.from_pretrained(folder, **options)) is case.family.processor
    classify = pipeline("video-classification", model=str(folder), device="cpu", **options)
    assert type(classify.model) is case.family.classifier


def test_names_of_the_repository_it_came_from_are_replaced(case, folder, tmp_path):
    model = case.family.classifier.from_pretrained(folder)
    for name, place in model.config.auto_map.items():
        model.config.auto_map[name] = f"org/base--{place}"  # as transformers does when it comes from the Hub
    model.save_pretrained(tmp_path)
    assert "org/base" not in (tmp_path / "config.json").read_text()
    assert len(maps(tmp_path / "config.json")) == 3


class Derived(RLTVideoMAEForVideoClassification):
    """A user's own class; its code is the user's to carry."""


class DerivedVJEPA2(RLTVJEPA2ForVideoClassification):
    """A user's own class; its code is the user's to carry."""


@pytest.mark.parametrize("kind", [Derived, DerivedVJEPA2, RandomMaskingVideoMAEForVideoClassification])
def test_classes_derived_from_ours_claim_no_code_that_is_not_there(tmp_path, kind):
    folder = make_case("rlt_vjepa2" if kind is DerivedVJEPA2 else "rlt_videomae").save(tmp_path / "of its base")
    tmp_path = tmp_path / "own"
    kind.from_pretrained(folder).save_pretrained(tmp_path)
    entries = maps(tmp_path / "config.json")
    assert set(entries) <= {"AutoConfig"}
    assert all((tmp_path / f"{place.split('.')[0]}.py").is_file() for place in entries.values())
    assert not list(tmp_path.glob("modeling_*.py"))
    torch.testing.assert_close(
        kind.from_pretrained(tmp_path)(moving_clips()).logits, kind.from_pretrained(folder)(moving_clips()).logits
    )


def test_a_configuration_saved_alone_names_no_file_that_is_not_there(case, folder, tmp_path):
    AutoConfig.from_pretrained(folder).save_pretrained(tmp_path)
    kind = case.family.config
    assert maps(tmp_path / "config.json") == {"AutoConfig": f"configuration_{kind.model_type}.{kind.__name__}"}
    assert (tmp_path / f"configuration_{kind.model_type}.py").is_file()


def test_code_can_be_left_out(case, folder, tmp_path):
    register(carry_code=False)
    try:
        case.family.classifier.from_pretrained(folder).save_pretrained(tmp_path)
        AutoVideoProcessor.from_pretrained(folder).save_pretrained(tmp_path)
    finally:
        register()
    assert not list(tmp_path.glob("*.py"))
    assert not any(maps(tmp_path / name) for name in CONFIGS)
    assert type(AutoModelForVideoClassification.from_pretrained(tmp_path)) is case.family.classifier


def test_pushing_while_saving_uploads_every_file_of_the_processor(tmp_path, monkeypatch):
    uploaded = []

    def upload(self, working_dir, repo_id, files_timestamps, **kwargs):
        uploaded.append((repo_id, {name for name in os.listdir(working_dir) if name not in files_timestamps}))

    class Api:
        def create_repo(self, repo_id, **kwargs):
            return type("Url", (), {"repo_id": f"me/{repo_id}"})

    monkeypatch.setattr(RLTVideoProcessor, "_upload_modified_files", upload)
    monkeypatch.setattr("transformers.utils.hub.hf_api", lambda *args, **kwargs: Api())
    make_processor().save_pretrained(tmp_path / "mine", push_to_hub=True)
    ((repo_id, files),) = uploaded
    assert repo_id == "me/mine"
    assert {"video_preprocessor_config.json", "preprocessor_config.json", "video_processing_rlt.py"} <= files


@pytest.mark.slow
def test_what_is_pushed_during_training_is_whole(case, folder, tmp_path, monkeypatch):
    pushed = []

    def upload(*_, **options) -> Future:
        pushed.append(set(os.listdir(tmp_path)))
        done = Future()
        done.set_result(None)
        return done

    monkeypatch.setattr(HfApi, "upload_folder", upload)
    monkeypatch.setattr(HfApi, "create_repo", lambda *_, **options: SimpleNamespace(repo_id="me/mine"))
    model = case.family.classifier.from_pretrained(folder)
    options = {"max_steps": 1, "save_steps": 1, "use_cpu": True, "report_to": [], "disable_tqdm": True}
    args = Arguments(output_dir=str(tmp_path), push_to_hub=True, hub_model_id="me/mine", **options)
    data = [{"pixel_values": clip, "labels": 1} for clip in moving_clips()]
    trainer = RLTTrainer(model=model, args=args, train_dataset=data, processing_class=case.processor)
    trainer.train()
    assert {path.stem for path in (tmp_path / "checkpoint-1").glob("*.py")} == case.code
    assert len(maps(tmp_path / "checkpoint-1" / "config.json")) == 3
    assert pushed
    assert {f"{name}.py" for name in case.code} <= pushed[-1]
