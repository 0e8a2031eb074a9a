# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Which checkpoints are whole."""

import json

import pytest
import torch
from safetensors.torch import save_file

from hf_rlt import RLTVideoMAEConfig
from hf_rlt.checkpoints import (
    CheckpointError,
    check_output_dir,
    check_same_model,
    checkpoint_folders,
    checkpoint_problem,
    checkpoint_to_resume,
    newest_checkpoint,
    set_aside_damaged,
)


def write(folder, step, ranks=1):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    save_file({"weight": torch.ones(100)}, path / "model.safetensors")
    torch.save({"state": torch.ones(100)}, path / "optimizer.pt")
    torch.save({"step": step}, path / "scheduler.pt")
    for rank in range(ranks):
        torch.save(
            {"cpu": torch.random.get_rng_state()}, path / ("rng_state.pth" if ranks == 1 else f"rng_state_{rank}.pth")
        )
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return path


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    data = bytearray(path.read_bytes())
    place = data.index(b"\x00\x00\x80\x3f" * 8)  # among the ones of the tensor
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "damage", "problem"),
    [
        ("model.safetensors", cut, "model.safetensors is damaged"),
        ("model.safetensors", lambda path: path.unlink(), "model.safetensors is missing"),
        ("optimizer.pt", cut, "optimizer.pt is damaged"),
        ("optimizer.pt", flip, "optimizer.pt is damaged"),
        ("optimizer.pt", lambda path: path.unlink(), "optimizer.pt is missing"),
        ("scheduler.pt", lambda path: path.write_bytes(b""), "scheduler.pt is damaged"),
        ("rng_state.pth", lambda path: path.unlink(), "rng_state.pth is missing"),
        ("trainer_state.json", cut, "trainer_state.json is missing or cut off"),
        ("trainer_state.json", lambda path: path.unlink(), "trainer_state.json is missing or cut off"),
        ("trainer_state.json", lambda path: path.write_text("{}"), "lacks the step"),
    ],
)
def test_damage_is_found_and_the_checkpoint_before_is_taken(tmp_path, caplog, name, damage, problem):
    older, newer = write(tmp_path, 90), write(tmp_path, 100)
    assert newest_checkpoint(tmp_path) == newer
    damage(newer / name)
    assert problem in checkpoint_problem(newer)
    assert checkpoint_to_resume(tmp_path, None) == older
    with pytest.raises(CheckpointError, match=f"Cannot resume from {newer}: .*{older} is whole"):
        checkpoint_to_resume(tmp_path, str(newer))
    for name_aside in ("damaged-checkpoint-100", "damaged-checkpoint-100-2"):
        aside = tmp_path / name_aside
        assert set_aside_damaged(tmp_path) == [aside]
        assert f"Set aside as {aside}: " in caplog.text
        assert problem in caplog.text
        assert set_aside_damaged(tmp_path) == []
        assert checkpoint_folders(tmp_path) == [older]
        damage(write(tmp_path, 100) / name)


def test_whole_checkpoints_of_several_kinds(tmp_path):
    assert checkpoint_problem(write(tmp_path, 1, ranks=3)) is None
    sharded = write(tmp_path, 2)
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index))
    for part in (1, 2):
        save_file({"a": torch.ones(3)}, sharded / f"model-{part}.safetensors")
    (sharded / "model.safetensors").unlink()
    assert checkpoint_problem(sharded) is None
    (sharded / "model-2.safetensors").unlink()
    assert "model-2.safetensors is damaged" in checkpoint_problem(sharded)
    fsdp = write(tmp_path, 3)
    for name in ("model.safetensors", "optimizer.pt"):
        (fsdp / name).unlink()
    (fsdp / "pytorch_model_fsdp_0").mkdir()
    assert checkpoint_problem(fsdp) is None


def test_nothing_to_resume_from(tmp_path):
    assert checkpoint_to_resume(tmp_path / "new", None) is None
    with pytest.raises(CheckpointError, match="found no whole one"):
        checkpoint_to_resume(tmp_path, "True")
    with pytest.raises(CheckpointError, match="there is no such folder"):
        checkpoint_to_resume(tmp_path, str(tmp_path / "checkpoint-9"))


def test_an_output_folder_that_cannot_be_written_is_refused(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", "/proc/nowhere"):
        with pytest.raises(CheckpointError, match="expected a folder that can be written"):
            check_output_dir(folder, 1)
    check_output_dir(tmp_path / "new", 1000)
    assert not caplog.text
    assert not list((tmp_path / "new").iterdir())
    check_output_dir(tmp_path / "new", 10**15)
    assert "a checkpoint takes about 12000000.0 GB" in caplog.text


def test_a_checkpoint_of_the_model_only_is_left_where_it_is(tmp_path):
    folder = write(tmp_path, 5)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (folder / name).unlink()
    assert set_aside_damaged(tmp_path) == []
    assert checkpoint_to_resume(tmp_path, None) is None
    assert checkpoint_to_resume(tmp_path, "False") is None
    with pytest.raises(CheckpointError, match="it holds the model only"):
        checkpoint_to_resume(tmp_path, str(folder))


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    config = RLTVideoMAEConfig(id2label={0: "a", 1: "b"})
    config.save_pretrained(tmp_path)
    check_same_model(tmp_path, config)
    check_same_model(tmp_path / "adapter", config)
    other = RLTVideoMAEConfig(id2label={0: "a", 1: "c"})
    with pytest.raises(CheckpointError, match=r"of another training: its id2label is .*'b'.*, here it is .*'c'"):
        check_same_model(tmp_path, other)
