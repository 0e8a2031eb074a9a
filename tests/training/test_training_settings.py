# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Which settings a training's result depends on, and how a change is named."""

import shutil
from dataclasses import fields

import pytest
from transformers import TrainingArguments

from hf_rlt.data import VideoList
from hf_rlt.training.arguments import DataArguments, ModelArguments, RecipeArguments
from hf_rlt.training.settings import FREE, LATE, PLACES, changes, length_change, training_settings

KINDS = (ModelArguments, DataArguments, RecipeArguments)
PLACE_NAMES = {name for names in PLACES.values() for name in names}


@pytest.fixture
def make_settings(tmp_path):
    """The settings of arguments, which are sorted into their groups."""
    clips = VideoList([tmp_path / "a.mp4", tmp_path / "b.mp4"], [0, 1], ["a", "b"])

    def make(clips=clips, **given):
        groups = []
        for kind in (*KINDS, TrainingArguments):
            more = {"output_dir": str(tmp_path / "out"), "use_cpu": True, "report_to": []}
            names = {field.name for field in fields(kind) if field.init}
            own = {name: value for name, value in given.items() if name in names}
            groups.append(kind(**(more if kind is TrainingArguments else {}), **own))
        return training_settings(groups, clips, clips)

    return make


def names(texts: list[str]) -> list[str]:
    return [text.split(" ")[0] for text in texts]


def test_each_setting_of_ours_counts_unless_it_is_said_not_to(make_settings):
    before = make_settings()
    ours = [field for kind in KINDS for field in fields(kind) if field.name not in PLACE_NAMES]
    assert len(ours) > 25
    for field in ours:
        value = {str: "0.7", bool: not field.default, int: 9, float: 0.7}.get(type(field.default), 1)
        after = make_settings(**{field.name: [0.1, 0.2] if field.name.endswith("_range") else value})
        assert (field.name in names(changes(before, after, finished=True))) == (field.name not in FREE)
        assert (field.name in names(changes(before, after))) == (field.name not in FREE | LATE)


def test_a_model_folder_may_move_but_not_change(tmp_path, make_settings):
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"123")
    (model / "config.json").write_text("{}")
    moved = shutil.copytree(model, tmp_path / "moved")
    before = make_settings(model_name_or_path=str(model))
    (moved / "README.md").write_text("")
    assert changes(before, make_settings(model_name_or_path=str(moved))) == []
    (moved / "model.safetensors").write_bytes(b"124")
    found = changes(before, make_settings(model_name_or_path=str(moved)))
    assert found[0] == f"model_name_or_path was '{model}', is '{moved}'"
    (model / "config.json").write_text('{"hidden_size": 3}')
    assert names(changes(before, make_settings(model_name_or_path=str(model)))) == ["starting_weights"]
    found = changes(before, make_settings(model_name_or_path="user/model"))
    assert found[0] == f"model_name_or_path was '{model}', is 'user/model'"


def test_a_model_that_is_trained_in_its_own_folder_changes_nothing_by_that(tmp_path, make_settings):
    model = tmp_path / "out"
    model.mkdir()
    before = make_settings(model_name_or_path=str(model))
    (model / "model.safetensors").write_bytes(b"123")
    assert changes(before, make_settings(model_name_or_path=str(model))) == []
    assert changes(before, make_settings())[0] == f"model_name_or_path was '{model}', is None"


def test_videos_may_move_but_not_change(tmp_path, make_settings):
    def clips(folder, count):
        (tmp_path / folder / "x").mkdir(parents=True, exist_ok=True)
        paths = [tmp_path / folder / "x" / f"{number}.mp4" for number in range(count)]
        for path in paths:
            path.write_bytes(b"1")
        return VideoList(paths, [0] * count, ["a", "b"])

    before = make_settings(clips("here", 3), train_dir="here")
    there = clips("there", 3)
    assert changes(before, make_settings(there, train_dir="there")) == []
    there.sources[0].write_bytes(b"12")
    found = changes(before, make_settings(there, train_dir="there"))
    assert names(found) == ["train_dir", "training_videos", "validation_videos"]
    assert changes(before, make_settings(clips("here", 2)))[1].startswith("training_videos was '3 videos (")


def test_of_many_classes_those_that_differ_are_named():
    names = [f"a class with number {number}" for number in range(400)]
    one, other = ({"classes": [*names, last]} for last in ("x", "y"))
    assert changes(one, other) == ["classes was with ['x'], is with ['y']"]
    assert "number 0" in changes(one, {"classes": one["classes"][::-1]})[0]


def test_a_setting_of_another_version_of_transformers_does_not_count(make_settings):
    settings = make_settings()
    assert changes({**settings, "gone": 1}, {**settings, "new": 2}) == []
    assert length_change(settings, settings) == (None, False)


def test_a_setting_that_is_newer_than_a_record_had_its_default_there(make_settings):
    old = {name: value for name, value in make_settings().items() if name not in ("rule", "budget_range")}
    assert changes(old, make_settings()) == []
    assert changes(old, make_settings(rule="anchor")) == ["rule was None, is 'anchor'"]
    assert changes(old, make_settings(budget_range=[0.1, 0.6])) == ["budget_range was None, is [0.1, 0.6]"]
