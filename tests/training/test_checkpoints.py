# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Which checkpoints are complete, which are kept, and which one is chosen."""

import random
import shutil

import pytest

from helpers.training import write_checkpoint
from hf_rlt import HfRltError
from hf_rlt.training.checkpoints import (
    RECORD,
    CheckpointError,
    check_output_dir,
    checkpoint_folders,
    checkpoint_problem,
    complete_checkpoint,
    delete_old_checkpoints,
    newest_checkpoint,
    read_record,
    set_aside,
    write_record,
)
from hf_rlt.training.resume import choose_checkpoint

FILES = (
    "model.safetensors",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "trainer_state.json",
    "config.json",
    RECORD,
)


def damages(data, seed):
    """Yield (name, damaged bytes; None for no file)."""
    draw = random.Random(seed)
    yield from (("gone", None), ("empty", b""), ("longer", data + b"\0"), ("of another kind", b"5"))
    for share in (0.1, 0.99):
        cut = int(len(data) * share)
        yield f"cut to {share}", data[:cut]
        if any(data[cut:]):
            yield f"zeros behind {share}", data[:cut] + bytes(len(data) - cut)
    for place in (0, len(data) - 2, *(draw.randrange(len(data) - 1) for _ in range(6))):
        yield f"bit flipped at {place}", data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :]


@pytest.mark.parametrize("name", FILES)
def test_no_damage_of_any_file_is_taken_for_whole_and_the_one_before_is_taken(tmp_path, caplog, name):
    older, newer = write_checkpoint(tmp_path, 90), write_checkpoint(tmp_path, 100)
    other = write_checkpoint(tmp_path / "other", 100, seed=1)
    path, whole = newer / name, (newer / name).read_bytes()
    foreign = {(folder / name).read_bytes() for folder in (older, other)} - {whole}
    for kind, data in [*damages(whole, seed=FILES.index(name)), *(("of another training", data) for data in foreign)]:
        path.unlink(missing_ok=True)
        if data is not None:
            path.write_bytes(data)
        assert checkpoint_problem(newer) is not None, kind
        assert newest_checkpoint(tmp_path)[0] == older, kind
        path.write_bytes(whole)
    assert newest_checkpoint(tmp_path) == (newer, {})
    path.unlink()
    with pytest.raises(CheckpointError, match=f"Cannot resume from {newer}: .*{name} is missing.*{older} is whole"):
        choose_checkpoint(tmp_path / "elsewhere", str(newer))
    for aside in ("damaged-checkpoint-100", "damaged-checkpoint-100-2"):
        found, damaged = choose_checkpoint(tmp_path, None)
        assert (found, list(damaged)) == (older, [newer])
        set_aside(damaged)
        assert f"Set aside as {tmp_path / aside}: {name} is missing" in caplog.text
        assert checkpoint_folders(tmp_path) == [older]
        (write_checkpoint(tmp_path, 100) / name).unlink()


@pytest.mark.parametrize(
    "state",
    ["5", "null", "[]", '"global_step"', "{}", '{"global_step": "5"}', "true", "[" * 5000, "1" * 5000, "\ufeff{}"],
)
def test_a_record_or_state_of_another_kind_is_no_whole_checkpoint(tmp_path, state):
    for name in ("trainer_state.json", RECORD):
        folder = write_checkpoint(tmp_path / name, 10)
        (folder / name).write_text(state)
        assert f"{name} is damaged" in checkpoint_problem(folder)
    with pytest.raises(HfRltError, match=f"{RECORD} is damaged"):
        read_record(folder)


def test_a_checkpoint_needs_the_files_of_all_ranks_and_no_shards_of_another(tmp_path):
    folder = write_checkpoint(tmp_path, 20, ranks=3)
    shard = folder / "pytorch_model_fsdp_0" / "shard"
    shard.parent.mkdir()
    assert "pytorch_model_fsdp_0 does not belong to it" in checkpoint_problem(folder)
    shard.write_bytes(b"12345")
    complete_checkpoint(folder, None, 20)
    (folder / "notes").mkdir()
    (folder / "notes" / "notes.txt").write_text("")
    assert checkpoint_problem(folder) is None  # nobody is kept from leaving notes
    shard.write_bytes(b"12340")
    assert "pytorch_model_fsdp_0/shard is damaged" in checkpoint_problem(folder)
    shard.write_bytes(b"12345")
    (folder / "rng_state_2.pth").unlink()
    assert "rng_state_2.pth is missing" in checkpoint_problem(folder)


def test_only_what_is_called_as_trainer_calls_it_is_a_checkpoint(tmp_path):
    whole, far = write_checkpoint(tmp_path, 10), "checkpoint-" + "9" * 200
    ends = ("²", "12 (copy)", "010", "12.bak", "", "-3", "\u0661\u0662", "12\n", "best", "1e3")
    names = {"Checkpoint-99", far, *(f"checkpoint-{end}" for end in ends)}
    for name in names:
        shutil.copytree(whole, tmp_path / name)
    assert [path.name for path in checkpoint_folders(tmp_path)] == [far, "checkpoint-10"]
    assert "it is of step 10" in checkpoint_problem(tmp_path / far)
    assert newest_checkpoint(tmp_path)[0] == whole
    delete_old_checkpoints(whole, 1, None)
    assert {path.name for path in tmp_path.iterdir()} == {*names, "checkpoint-10"} - {far}


def test_files_and_links_that_are_called_like_checkpoints_are_set_aside(tmp_path):
    older = write_checkpoint(tmp_path, 8)
    (tmp_path / "checkpoint-10").write_text("")
    (tmp_path / "checkpoint-11").symlink_to(tmp_path / "nowhere")
    (tmp_path / "damaged-checkpoint-11").symlink_to(tmp_path / "nowhere either")
    found, damaged = newest_checkpoint(tmp_path)
    assert (found, set(damaged.values())) == (older, {"it is no folder"})
    set_aside(damaged)
    names = {"checkpoint-8", "damaged-checkpoint-10", "damaged-checkpoint-11", "damaged-checkpoint-11-2"}
    assert {path.name for path in tmp_path.iterdir()} == names
    shutil.move(older, tmp_path / "disk" / "moved")
    older.symlink_to(tmp_path / "disk" / "moved")  # a link to a whole one is one
    assert newest_checkpoint(tmp_path)[0] == older


def test_nothing_to_resume_from(tmp_path):
    folder = write_checkpoint(tmp_path / "model only", 5)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (folder / name).unlink()
    complete_checkpoint(folder, None, 5)
    for place in (tmp_path / "new", folder.parent):
        assert choose_checkpoint(place, None) == choose_checkpoint(place, "False") == (None, {})
    for asked, message in (
        ("True", "found no whole one"),
        (str(tmp_path / "checkpoint-9"), "there is no such folder"),
        (str(folder), "it holds the model only"),
    ):
        with pytest.raises(CheckpointError, match=message):
            choose_checkpoint(tmp_path, asked)
    write_record(folder, {"seed": 0})  # of a training that has only begun
    assert "is missing" in checkpoint_problem(folder)


def test_old_checkpoints_are_deleted_but_for_the_new_and_the_best_one(tmp_path):
    def left(limit, best=None, newest=5):
        shutil.rmtree(tmp_path)
        for step in (1, 2, 3, 4, 5):
            (tmp_path / f"checkpoint-{step}").mkdir(parents=True)
        folders = checkpoint_folders(tmp_path)
        delete_old_checkpoints(folders[-newest], limit, best and str(folders[-best]))
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
