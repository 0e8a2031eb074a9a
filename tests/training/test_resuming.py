# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A command that is started again: finished, longer, with other settings, after damage, on other data."""

import importlib
import json
import shutil
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import TrainingArguments

from helpers.paths import ROOT
from hf_rlt.data import VideoList
from hf_rlt.training.arguments import DataArguments, ModelArguments, RecipeArguments
from hf_rlt.training.checkpoints import CheckpointError, checkpoint_problem, complete_checkpoint
from hf_rlt.training.record import RECORD, read_record
from hf_rlt.training.resume import FinishedError, begin, find_start
from hf_rlt.training.settings import FREE, LATE, PLACES, changes, longer, training_settings

STEPS = ("--max_steps", "6", "--save_strategy", "steps", "--save_steps", "2", "--lr_scheduler_type", "constant")
RANDOM = ("--mixup", "0.8", "--drop_path_rate", "0.3", "--random_clips", "True")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small trainings on a busy machine wait for one another's threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def finetune():
    """The script as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "examples"))
        yield importlib.import_module("finetune")


@pytest.fixture(scope="module")
def start(finetune, rendered_digits):
    """Train in this process as the script does, in a folder; returns the trainer."""

    def start(output, *options, data=rendered_digits):
        sets = ("--train_dir", data / "train", "--validation_dir", data / "validation", "--learning_rate", "1e-3")
        plain = ("--output_dir", output, "--disable_tqdm", "True", "--logging_steps", "1")
        argv = [*sets, *plain, "--per_device_train_batch_size", "4", *STEPS, *RANDOM, *options]
        job = finetune.make_trainer([str(word) for word in argv])
        finetune.run(*job)
        return job[0]

    return start


@pytest.fixture(scope="module")
def runs(start, tmp_path_factory):
    """A finished run, and the checkpoints of one with another seed: equal shapes, other weights."""
    folder = tmp_path_factory.mktemp("runs")
    start(folder / "first")
    settings = read_record(folder / "first").settings
    for step in (4, 6):
        other = shutil.copytree(folder / "first" / f"checkpoint-{step}", folder / "second" / f"checkpoint-{step}")
        tensors = load_file(other / "model.safetensors")
        save_file({name: -tensor for name, tensor in tensors.items()}, other / "model.safetensors", {"format": "pt"})
        complete_checkpoint(other, {**settings, "seed": 1}, step)
    return folder


@pytest.fixture
def run(runs, tmp_path):
    """A copy of a finished run that may be spoilt."""
    return shutil.copytree(runs / "first", tmp_path / "run")


def unfinished(folder: Path, last: int) -> Path:
    """Make of a finished run what is left of it after a kill behind a checkpoint."""
    settings = read_record(folder).settings
    for path in folder.iterdir():
        if path.is_file() or int(path.name.split("-")[1]) > last:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    begin(folder, settings)
    return folder


def content(folder: Path) -> dict:
    paths = [folder, *sorted(folder.rglob("*"))]
    return {path: (path.lstat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in paths}


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def difference(first: Path, second: Path) -> float:
    one, other = (load_file(folder / "model.safetensors") for folder in (first, second))
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--resume_from_checkpoint", "True"),
        ("--logging_steps", "3", "--save_steps", "3", "--save_total_limit", "1", "--dataloader_num_workers", "2"),
        ("--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "2", "--threshold", "0.10"),
        ("--max_steps", "6", "--num_train_epochs", "50", "--on_bad_video", "skip", "--cache_megabytes", "1"),
    ],
)
def test_a_finished_run_says_so_in_one_line_and_is_left_as_it_is(start, runs, options):
    before = content(runs / "first")
    with pytest.raises(FinishedError, match=r"finished, after 6 steps; nothing is done.*another --output_dir.*larger"):
        start(runs / "first", *options)
    assert content(runs / "first") == before


def test_the_command_line_ends_with_code_0_and_one_line(finetune, monkeypatch, capsys):
    def finished(argv):
        raise FinishedError("done:\nall of it")

    monkeypatch.setattr(finetune, "make_trainer", finished)
    assert finetune.main() is None
    assert capsys.readouterr().out == "done: all of it\n"


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--learning_rate", "1e-2"), ["learning_rate was 0.001, is 0.01"]),
        (("--seed", "3", "--threshold", "none"), ["threshold was 0.1, is null", "seed was 42, is 3"]),
        (("--max_steps", "5"), ["max_steps was 6, is 5"]),
        (("--max_steps", "-1", "--num_train_epochs", "9"), ["max_steps was 6, num_train_epochs is 9"]),
        (("--max_steps", "8", "--mixup", "0"), ["mixup was 0.8, is 0.0"]),
        (("--per_device_train_batch_size", "3"), ["clips_per_step was 4, is 3"]),
        (("--eval_strategy", "epoch"), ["eval_strategy was no, is epoch"]),
        (("--label_smoothing_factor", "0.1"), ["label_smoothing_factor was 0.0, is 0.1"]),
        (("--recipe", "videomae"), ["recipe was none, is videomae", "layer_decay was null, is 0.75"]),
        (("--tome_r", "2"), ["tome_r was 0, is 2"]),
    ],
)
def test_other_settings_are_refused_by_name_and_nothing_is_touched(start, runs, run, finished, options, named):
    folder = runs / "first" if finished else unfinished(run, 4)
    before = content(folder)
    with pytest.raises(CheckpointError, match="holds a training with other settings: ") as refused:
        start(folder, *options)
    message = str(refused.value)
    assert all(name in message for name in named)
    assert "Pass another --output_dir to start anew" in message
    assert "\n" not in message
    assert content(folder) == before


def test_what_counts_at_the_end_only_may_change_until_then(start, runs, run):
    with pytest.raises(CheckpointError, match=r"num_clips was 1, is 2\..*hf-rlt evaluate"):
        start(runs / "first", "--num_clips", "2")
    start(unfinished(run, 4), "--num_clips", "2")
    assert weights(run) == weights(runs / "first")


def test_a_longer_run_goes_on_and_ends_as_if_it_had_been_as_long_from_the_start(start, runs, tmp_path, caplog):
    short = start(tmp_path / "run", "--max_steps", "4")
    assert short.state.global_step == 4
    longer_one = start(tmp_path / "run")  # 6 steps, with a constant learning rate
    assert longer_one._initial_global_step == 4
    assert difference(tmp_path / "run", runs / "first") == 0
    assert "is of a training with max_steps 4, this one has max_steps 6: the learning rate follows" in caplog.text
    with pytest.raises(FinishedError, match="after 6 steps"):
        start(tmp_path / "run")
    with pytest.raises(CheckpointError, match="max_steps was 6, is 4"):
        start(tmp_path / "run", "--max_steps", "4")


def test_a_run_of_epochs_goes_on_for_more_epochs_or_steps(start, tmp_path):
    epochs = ("--max_steps", "-1", "--save_strategy", "epoch", "--num_train_epochs")
    assert start(tmp_path, *epochs, "0.5").state.global_step == 2
    with pytest.raises(CheckpointError, match=r"num_train_epochs was 0.5, max_steps is 2"):
        start(tmp_path, "--max_steps", "2")
    assert start(tmp_path, *epochs, "0.75").state.global_step == 3
    longer_one = start(tmp_path, "--max_steps", "4", "--save_strategy", "no")
    assert (longer_one._initial_global_step, longer_one.state.global_step) == (3, 4)
    settings = read_record(tmp_path).settings
    unfinished(tmp_path, 3)  # killed before its first checkpoint, it goes on as well
    assert find_start(tmp_path, settings) == tmp_path / "checkpoint-3"


def test_a_run_without_checkpoints_is_finished_too_and_cannot_be_longer(start, tmp_path):
    start(tmp_path, "--max_steps", "1", "--save_strategy", "no")
    before = content(tmp_path)
    with pytest.raises(FinishedError, match=r"to start anew; hf-rlt evaluate"):
        start(tmp_path, "--max_steps", "1")
    with pytest.raises(CheckpointError, match=r"finished after 1 steps and left no whole checkpoint to go on from"):
        start(tmp_path, "--max_steps", "2")
    assert content(tmp_path) == before


def test_a_run_that_was_killed_while_it_was_evaluated_keeps_what_its_training_gave(start, runs, run):
    (run / RECORD).unlink()
    (run / "eval_results.json").unlink()
    begin(run, read_record(runs / "first").settings)
    trained = json.loads((run / "train_results.json").read_text())
    trainer = start(run)
    assert trainer.state.global_step == trainer._initial_global_step == 6
    assert weights(run) == weights(runs / "first")
    assert json.loads((run / "train_results.json").read_text()) == trained
    assert json.loads((run / "all_results.json").read_text())["train_loss"] == trained["train_loss"] > 1
    losses = [entry["loss"] for entry in json.loads((run / "trainer_state.json").read_text())["log_history"][:6]]
    assert min(losses) > 1
    assert not (run / "checkpoint-7").exists()
    assert "loss | 0" not in (run / "README.md").read_text()


def test_after_damage_the_checkpoint_before_is_taken_and_the_end_is_the_same(start, runs, run, caplog):
    unfinished(run, 4)
    data = (run / "checkpoint-4" / "model.safetensors").read_bytes()
    (run / "checkpoint-4" / "model.safetensors").write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    assert start(run)._initial_global_step == 2
    assert "damaged-checkpoint-4: model.safetensors is damaged" in caplog.text
    assert f"Resuming from {run / 'checkpoint-2'}" in caplog.text
    assert difference(run, runs / "first") == 0


def test_damage_of_all_checkpoints_means_a_new_start_that_is_said_aloud(run, caplog):
    settings = read_record(run).settings
    unfinished(run, 4)
    for step in (2, 4):
        (run / f"checkpoint-{step}" / "scheduler.pt").unlink()
    assert find_start(run, settings) is None
    assert "left no whole checkpoint (checkpoint-4: scheduler.pt is missing): starting anew" in caplog.text
    assert "damaged-checkpoint-2: scheduler.pt is missing" in caplog.text


def test_checkpoints_of_another_run_are_not_resumed_from(start, runs, run, caplog):
    unfinished(run, 4)
    shutil.copytree(runs / "second" / "checkpoint-6", run / "checkpoint-6")
    with pytest.raises(CheckpointError, match=r"checkpoint-6: holds a training with other settings: seed was 1, is 42"):
        start(run)
    other = runs / "second" / "checkpoint-4"
    with pytest.raises(CheckpointError, match=r"checkpoint-4: holds .*seed was 1, is 42"):
        start(run, "--resume_from_checkpoint", other)
    shutil.rmtree(run / "checkpoint-6")
    shutil.copy(other / "model.safetensors", run / "checkpoint-4")  # of equal shapes
    settings = read_record(run).settings
    assert find_start(run, settings) == run / "checkpoint-2"
    assert "model.safetensors is damaged, or of another training" in caplog.text
    (run / RECORD).unlink()  # what the checkpoints say counts then
    assert find_start(run, settings) == run / "checkpoint-2"
    with pytest.raises(CheckpointError, match="seed was 42, is 1"):
        find_start(run, {**settings, "seed": 1})


def test_a_finished_model_that_is_gone_is_made_again_and_one_that_differs_is_nobodys_to_overwrite(start, runs, run):
    settings = read_record(run).settings
    data = weights(run)
    (run / "model.safetensors").write_bytes(data[:-1] + b"\1")
    before = content(run)
    with pytest.raises(CheckpointError, match=r"finished, but model.safetensors is damaged.*remove that file"):
        find_start(run, settings)
    assert content(run) == before
    (run / "model.safetensors").unlink()
    start(run)
    assert weights(run) == data
    with pytest.raises(FinishedError):
        find_start(run, settings)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "holds a training without .*, so nobody knows"),
        (lambda path: path.write_text("5"), "is damaged, so nobody knows"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"0.001", b"0.002")), "is damaged"),
    ],
)
def test_a_run_without_a_readable_record_is_refused_and_left(runs, run, spoil, message):
    settings = read_record(run).settings
    for path in run.glob("checkpoint-*"):
        shutil.rmtree(path)
    spoil(run / RECORD)
    before = content(run)
    with pytest.raises(CheckpointError, match=f"{message}.*pass another --output_dir"):
        find_start(run, settings)
    assert content(run) == before


def test_checkpoints_that_another_program_wrote_are_refused_and_left(run):
    settings = read_record(run).settings
    for path in (run, *run.glob("checkpoint-*")):
        (path / RECORD).unlink()
    (run / "trainer_state.json").unlink()
    before = content(run)
    with pytest.raises(CheckpointError, match=r"no whole checkpoint \(checkpoint-6: .* is missing: it was not written"):
        find_start(run, settings)
    assert content(run) == before


def test_a_step_may_be_shared_out_otherwise_which_is_said_aloud(run, caplog):
    settings = read_record(run).settings
    unfinished(run, 4)
    split = {"per_device_train_batch_size": 1, "processes": 2, "gradient_accumulation_steps": 2}
    assert find_start(run, {**settings, "split": split}) == run / "checkpoint-4"
    assert "gradient_accumulation_steps was 4 x 1 x 1, is 1 x 2 x 2: " in caplog.text


def test_a_start_that_left_nothing_does_not_bind_the_next_one(tmp_path, caplog):
    settings = {"seed": 1, "length": {"max_steps": 1}, "split": {}}
    begin(tmp_path, settings)
    assert find_start(tmp_path, {**settings, "seed": 2}) is None
    assert "starting anew" in caplog.text
    assert find_start(tmp_path / "new", settings) is None


def test_videos_may_move_but_not_change(start, runs, run, rendered_digits, tmp_path):
    moved = shutil.copytree(rendered_digits, tmp_path / "moved")
    with pytest.raises(FinishedError):
        start(runs / "first", data=moved)
    clip = next((moved / "train" / "grows").iterdir())
    with clip.open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(CheckpointError, match=r"train_dir was .*, is .*moved/train; training_videos was 16 videos \("):
        start(runs / "first", data=moved)
    clip.unlink()
    with pytest.raises(CheckpointError, match=r"training_videos was 16 videos \(\w+\), is 15 videos \(") as refused:
        start(runs / "first", data=moved)
    assert "validation" not in str(refused.value)


def make_settings(tmp_path, **given):
    """Return the settings of arguments that are sorted into their groups."""
    groups = []
    for kind in (ModelArguments, DataArguments, RecipeArguments, TrainingArguments):
        names = {field.name for field in fields(kind) if field.init}
        own = {name: value for name, value in given.items() if name in names}
        more = {"output_dir": str(tmp_path / "out"), "use_cpu": True, "report_to": []}
        groups.append(kind(**(more if kind is TrainingArguments else {}), **own))
    clips = VideoList([tmp_path / "a.mp4", tmp_path / "b.mp4"], [0, 1], ["a", "b"])
    return training_settings(*groups, clips, clips, 0.0)


OURS = [field for kind in (ModelArguments, DataArguments, RecipeArguments) for field in fields(kind)]
AT = {name for names in PLACES.values() for name in names}


@pytest.mark.parametrize("field", [field for field in OURS if field.name not in AT], ids=lambda field: field.name)
def test_each_setting_of_ours_counts_unless_it_is_said_not_to(tmp_path, field):
    value = {str: "0.7", bool: not field.default, int: 9, float: 0.7}.get(type(field.default), 1)
    if field.name == "threshold_range":
        value = [0.0, 0.1]
    before, after = make_settings(tmp_path), make_settings(tmp_path, **{field.name: value})
    named = {text.split(" ")[0] for text in changes(before, after, finished=True)}
    assert (field.name in named) == (field.name not in FREE)
    assert (field.name in {text.split(" ")[0] for text in changes(before, after)}) == (field.name not in FREE | LATE)


def test_a_model_folder_may_move_but_not_change(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"123")
    (model / "config.json").write_text("{}")
    moved = shutil.copytree(model, tmp_path / "moved")
    before = make_settings(tmp_path, model_name_or_path=str(model))
    assert changes(before, make_settings(tmp_path, model_name_or_path=str(moved))) == []
    (moved / "README.md").write_text("")
    assert changes(before, make_settings(tmp_path, model_name_or_path=str(moved))) == []
    (moved / "model.safetensors").write_bytes(b"124")
    found = changes(before, make_settings(tmp_path, model_name_or_path=str(moved)))
    assert found[0] == f"model_name_or_path was {model}, is {moved}"
    (model / "config.json").write_text('{"hidden_size": 3}')
    found = changes(before, make_settings(tmp_path, model_name_or_path=str(model)))
    assert [text.split(" ")[0] for text in found] == ["starting_weights"]
    found = changes(before, make_settings(tmp_path, model_name_or_path="user/model"))
    assert found[0] == f"model_name_or_path was {model}, is user/model"


def test_of_many_classes_those_that_differ_are_named(tmp_path):
    names = [f"a class with number {number}" for number in range(400)]
    one, other = ({"classes": [*names, last]} for last in ("x", "y"))
    assert changes(one, other) == ['classes was with ["x"], is with ["y"]']
    assert "number 0" in changes(one, {"classes": one["classes"][::-1]})[0]


def test_a_model_that_is_trained_in_its_own_folder_changes_nothing_by_that(tmp_path):
    model = tmp_path / "out"
    model.mkdir()
    before = make_settings(tmp_path, model_name_or_path=str(model))
    (model / "model.safetensors").write_bytes(b"123")
    assert changes(before, make_settings(tmp_path, model_name_or_path=str(model))) == []
    assert changes(before, make_settings(tmp_path))[0] == f"model_name_or_path was {model}, is null"


def test_checkpoints_of_a_trainer_that_was_told_no_settings_are_refused(run):
    settings = read_record(run).settings
    unfinished(run, 4)
    for told in (None, {"mine": 1}):
        complete_checkpoint(run / "checkpoint-4", told, 4)
        with pytest.raises(CheckpointError, match="checkpoint-4: does not say with which settings"):
            find_start(run, settings)


def test_a_setting_of_another_version_of_transformers_does_not_count(tmp_path):
    settings = make_settings(tmp_path)
    assert changes({**settings, "gone": 1}, {**settings, "new": 2}) == []
    assert not longer(settings, settings)


def test_all_processes_end_alike_and_the_first_one_says_why(finetune, monkeypatch, capsys):
    class Args:
        world_size, process_index = 2, 0

    sent = []
    monkeypatch.setattr(finetune, "broadcast_object_list", lambda box: sent.append(list(box)))
    monkeypatch.setattr(finetune.PartialState, "destroy_process_group", lambda self: None)

    def find(error):
        raise error

    for error, code in ((FinishedError("finished"), 0), (CheckpointError("other settings"), 2)):
        with pytest.raises(SystemExit) as end:
            finetune.from_first_process(Args, lambda error=error: find(error))
        assert (end.value.code, sent.pop()) == (code, [None, code])
        said = capsys.readouterr()
        assert (said.out if code == 0 else said.err).endswith(f"{error}\n")
        monkeypatch.setattr(Args, "process_index", 1)
        monkeypatch.setattr(finetune, "broadcast_object_list", lambda box, code=code: box.__setitem__(1, code))
        with pytest.raises(SystemExit) as end:
            finetune.from_first_process(Args, lambda: pytest.fail("only the first one looks"))
        assert end.value.code == code
        assert capsys.readouterr() == ("", "")
        monkeypatch.setattr(Args, "process_index", 0)
        monkeypatch.setattr(finetune, "broadcast_object_list", lambda box: sent.append(list(box)))
    assert finetune.from_first_process(Args, lambda: 5) == 5


def test_the_last_checkpoint_is_kept_until_the_next_one_is_whole(start, tmp_path, monkeypatch):
    import hf_rlt.training.trainer as training

    seen = []
    complete = training.complete_checkpoint

    def watched(folder, *args):
        seen.append([path.name for path in sorted(Path(folder).parent.glob("checkpoint-*")) if path != folder])
        assert all(checkpoint_problem(tmp_path / name) is None for name in seen[-1])
        complete(folder, *args)

    monkeypatch.setattr(training, "complete_checkpoint", watched)
    trainer = start(tmp_path, "--save_total_limit", "1", "--max_steps", "3", "--save_steps", "1")
    assert seen == [[], ["checkpoint-1"], ["checkpoint-2"]]
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-3"]
    assert trainer.args.save_total_limit == 1
