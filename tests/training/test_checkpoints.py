# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Which checkpoints are whole, which are kept, and which one is taken."""

import json
import random
import shutil

import pytest
import torch
from safetensors.torch import save_file

from hf_rlt.training.checkpoints import (
    CheckpointError,
    check_output_dir,
    checkpoint_folders,
    checkpoint_problem,
    checkpoint_to_resume,
    complete_checkpoint,
    delete_old_checkpoints,
    newest_checkpoint,
    set_aside,
)
from hf_rlt.training.record import RECORD, read_record, write_record

FILES = (
    "model.safetensors",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "trainer_state.json",
    "config.json",
    RECORD,
)


def write(folder, step, seed=0, ranks=1):
    """Write a checkpoint as Trainer does: file by file, the record last."""
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    save_file({"weight": torch.randn(100, generator=generator)}, path / "model.safetensors")
    torch.save({"state": torch.randn(100, generator=generator)}, path / "optimizer.pt")
    torch.save({"step": step, "rate": seed}, path / "scheduler.pt")
    for rank in range(ranks):
        name = "rng_state.pth" if ranks == 1 else f"rng_state_{rank}.pth"
        torch.save({"cpu": torch.randn(10, generator=generator)}, path / name)
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step, "seed": seed}))
    (path / "config.json").write_text(json.dumps({"seed": seed}))
    complete_checkpoint(path, {"seed": seed}, step)
    return path


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :]


def damages(data, seed):
    """Yield (name, damaged bytes; None for no file)."""
    draw = random.Random(seed)
    yield "gone", None
    yield "empty", b""
    yield "longer", data + b"\0"
    yield "of another kind", b"5"
    for share in (0.1, 0.5, 0.99):
        cut = int(len(data) * share)
        yield f"cut to {share}", data[:cut]
        if any(data[cut:]):
            yield f"zeros behind {share}", data[:cut] + bytes(len(data) - cut)
    for place in (0, len(data) // 2, len(data) - 2, *(draw.randrange(len(data) - 1) for _ in range(8))):
        yield f"bit flipped at {place}", flipped(data, place)


@pytest.mark.parametrize("name", FILES)
def test_no_damage_of_any_file_is_taken_for_whole_and_the_one_before_is_taken(tmp_path, caplog, name):
    older, newer = write(tmp_path, 90), write(tmp_path, 100)
    path, whole = newer / name, (newer / name).read_bytes()
    tried = 0
    for kind, data in damages(whole, seed=FILES.index(name)):
        path.unlink(missing_ok=True)
        if data is not None:
            path.write_bytes(data)
        problem = checkpoint_problem(newer)
        assert problem is not None, kind
        assert name in problem, kind
        assert newest_checkpoint(tmp_path) == older, kind
        path.write_bytes(whole)
        tried += 1
    assert tried >= 15
    assert newest_checkpoint(tmp_path) == newer
    path.unlink()
    with pytest.raises(CheckpointError, match=f"Cannot resume from {newer}: .*{name} is missing.*{older} is whole"):
        checkpoint_to_resume(tmp_path / "elsewhere", str(newer))
    for aside in ("damaged-checkpoint-100", "damaged-checkpoint-100-2"):
        damaged = {}
        assert checkpoint_to_resume(tmp_path, None, damaged) == older
        assert list(damaged) == [newer]
        set_aside(damaged)
        assert f"Set aside as {tmp_path / aside}: {name} is missing" in caplog.text
        assert checkpoint_folders(tmp_path) == [older]
        (write(tmp_path, 100) / name).unlink()


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_training_or_of_another_step_is_found(tmp_path, name):
    newer, earlier, other = write(tmp_path, 100), write(tmp_path, 90), write(tmp_path / "other", 100, seed=1)
    for source in (other, earlier):
        if (source / name).read_bytes() != (newer / name).read_bytes():
            whole = (newer / name).read_bytes()
            shutil.copy(source / name, newer / name)
            assert checkpoint_problem(newer) is not None
            (newer / name).write_bytes(whole)
    assert checkpoint_problem(newer) is None


@pytest.mark.parametrize(
    "state",
    ["5", "null", "[]", '"global_step"', "{}", '{"global_step": "5"}', "true", "[" * 5000, "1" * 5000, "\ufeff{}"],
)
def test_a_record_or_state_of_another_kind_is_no_whole_checkpoint(tmp_path, state):
    for name in ("trainer_state.json", RECORD):
        folder = write(tmp_path / name, 10)
        (folder / name).write_text(state)
        assert f"{name} is damaged" in checkpoint_problem(folder)
        assert newest_checkpoint(tmp_path / name) is None
    with pytest.raises(ValueError, match=f"{RECORD} is damaged"):
        read_record(folder)


def test_a_subfolder_excuses_nothing_and_what_belongs_to_it_counts(tmp_path):
    folder = write(tmp_path, 10)
    (folder / "notes").mkdir()
    (folder / "notes" / "notes.txt").write_text("")
    for name in ("optimizer.pt", "scheduler.pt"):
        data = (folder / name).read_bytes()
        (folder / name).unlink()
        assert f"{name} is missing" in checkpoint_problem(folder)
        (folder / name).write_bytes(data)
    assert checkpoint_problem(folder) is None  # nobody is kept from leaving notes
    (folder / "pytorch_model_fsdp_0").mkdir()
    assert "pytorch_model_fsdp_0 does not belong to it" in checkpoint_problem(folder)


def test_a_sharded_checkpoint_needs_the_files_of_all_ranks(tmp_path):
    folder = write(tmp_path, 20, ranks=3)
    shard = folder / "pytorch_model_fsdp_0" / "shard"
    shard.parent.mkdir()
    shard.write_bytes(b"12345")
    complete_checkpoint(folder, None, 20)
    assert checkpoint_problem(folder) is None
    shard.write_bytes(b"12340")
    assert "pytorch_model_fsdp_0/shard is damaged" in checkpoint_problem(folder)
    shard.write_bytes(b"12345")
    (folder / "rng_state_2.pth").unlink()
    assert "rng_state_2.pth is missing" in checkpoint_problem(folder)


def test_only_what_is_called_as_trainer_calls_it_is_a_checkpoint(tmp_path):
    whole = write(tmp_path, 10)
    names = (
        "checkpoint-²",
        "checkpoint-12 (copy)",
        "checkpoint-010",
        "checkpoint-12.bak",
        "checkpoint-",
        "checkpoint--3",
    )
    names += (
        "checkpoint-١٢",
        "checkpoint-12\n",
        "checkpoint-best",
        "Checkpoint-99",
        "checkpoint-1e3",
        "checkpoint-" + "9" * 200,
    )
    for name in names:
        shutil.copytree(whole, tmp_path / name)
    assert [path.name for path in checkpoint_folders(tmp_path)] == ["checkpoint-" + "9" * 200, "checkpoint-10"]
    assert "it is of step 10" in checkpoint_problem(tmp_path / ("checkpoint-" + "9" * 200))
    assert newest_checkpoint(tmp_path) == whole
    delete_old_checkpoints(whole, 1, None)
    assert {path.name for path in tmp_path.iterdir()} == {*names, "checkpoint-10"} - {"checkpoint-" + "9" * 200}


def test_files_and_links_that_are_called_like_checkpoints_are_set_aside(tmp_path, caplog):
    older = write(tmp_path, 8)
    (tmp_path / "checkpoint-10").write_text("")
    (tmp_path / "checkpoint-11").symlink_to(tmp_path / "nowhere")
    (tmp_path / "damaged-checkpoint-11").symlink_to(tmp_path / "nowhere either")
    (tmp_path / "checkpoint-12").symlink_to(tmp_path / "checkpoint-12")
    assert newest_checkpoint(tmp_path) == older
    damaged = {}
    assert checkpoint_to_resume(tmp_path, None, damaged) == older
    set_aside(damaged)
    assert caplog.text.count("it is no folder") == 3
    names = {"checkpoint-8", "damaged-checkpoint-10", "damaged-checkpoint-11", "damaged-checkpoint-11-2"}
    assert {path.name for path in tmp_path.iterdir()} == names | {"damaged-checkpoint-12"}
    shutil.move(older, tmp_path / "disk" / "moved")
    older.symlink_to(tmp_path / "disk" / "moved")  # a link to a whole one is one
    assert newest_checkpoint(tmp_path) == older


def test_nothing_to_resume_from(tmp_path):
    assert checkpoint_to_resume(tmp_path / "new", None) is None
    with pytest.raises(CheckpointError, match="found no whole one"):
        checkpoint_to_resume(tmp_path, "True")
    with pytest.raises(CheckpointError, match="there is no such folder"):
        checkpoint_to_resume(tmp_path, str(tmp_path / "checkpoint-9"))


def test_old_checkpoints_are_deleted_but_for_the_new_and_the_best_one(tmp_path):
    def left(limit, best=None, newest=5):
        shutil.rmtree(tmp_path)
        folders = [write(tmp_path, step) for step in (1, 2, 3, 4, 5)]
        delete_old_checkpoints(folders[newest - 1], limit, best and str(folders[best - 1]))
        return [int(path.name.split("-")[1]) for path in checkpoint_folders(tmp_path)]

    assert left(None) == left(0) == left(-1) == left(5) == [5, 4, 3, 2, 1]
    assert left(1) == [5]
    assert left(3) == [5, 4, 3]
    assert left(1, best=2) == left(2, best=2) == [5, 2]
    assert left(3, best=2) == [5, 4, 2]
    assert left(1, newest=3) == [3]


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
    complete_checkpoint(folder, None, 5)
    damaged = {}
    assert checkpoint_to_resume(tmp_path, None, damaged) is None
    assert checkpoint_to_resume(tmp_path, "False", damaged) is None
    assert not damaged
    with pytest.raises(CheckpointError, match="it holds the model only"):
        checkpoint_to_resume(tmp_path, str(folder))


def test_the_record_of_a_run_that_began_makes_no_checkpoint(tmp_path):
    folder = write(tmp_path, 5)
    write_record(folder, {"seed": 0})
    assert "is missing" in checkpoint_problem(folder)
