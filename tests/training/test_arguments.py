# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Command lines, recipes, and the model that they name."""

import json
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from transformers import VideoMAEConfig, VideoMAEForPreTraining, VideoMAEImageProcessor

from helpers.tiny import TINY, make_model, randomise
from helpers.training import words
from hf_rlt import HfRltError, RLTVideoMAEForVideoClassification, RunRule
from hf_rlt.training import finetune
from hf_rlt.training.arguments import ModelArguments
from hf_rlt.training.model import load_model
from hf_rlt.training.parsing import read_arguments, resolve_training_args
from hf_rlt.training.recipes import DIGITS, recipe, scaled_learning_rate


def test_explicit_options_take_precedence_over_the_recipe_and_the_recipe_over_trainer(tmp_path):
    *_, ours = read_arguments([])
    assert ours.num_train_epochs == DIGITS["num_train_epochs"]
    *_, theirs = read_arguments(["--num_train_epochs", "3", "--threshold", "none"])
    assert (theirs.num_train_epochs, theirs.output_dir) == (3, "outputs/digits-dense")
    (tmp_path / "job.json").write_text('{"num_train_epochs": 5, "train_dir": "videos"}')
    _, data, _, from_json = read_arguments([str(tmp_path / "job.json")])
    assert (from_json.num_train_epochs, from_json.output_dir, data.train_dir) == (5, "outputs/finetuned", "videos")
    assert from_json.learning_rate != DIGITS["learning_rate"]


@pytest.mark.parametrize(
    ("options", "frames", "stride", "folder"),
    [
        ((), 16, 2, "digits"),
        (("--num_frames", "32"), 32, 1, "digits"),
        (("--digits_set", "hard"), 16, 4, "digits-hard"),
        (("--digits_set", "hard", "--num_frames", "64"), 64, 1, "digits-hard"),
        (("--digits_set", "hard", "--frame_stride", "3", "--threshold", "none"), 16, 3, "digits-hard-dense"),
        (("--train_dir", "x"), 16, 2, "finetuned"),
    ],
)
def test_a_clip_of_a_small_model_spans_the_videos_of_a_built_in_set(options, frames, stride, folder):
    model, data, _, args = read_arguments(options)
    _, processor = load_model(model, ["a", "b"], data.clip_frames)
    assert (processor.num_frames, processor.frame_stride) == (frames, stride)
    assert args.output_dir == f"outputs/{folder}"


def test_the_recipe_is_videomaes(tmp_path, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    base = ["--recipe", "videomae", "--train_dir", "x", "--output_dir", str(tmp_path)]
    model, data, ours, args = read_arguments([*base, "--gradient_accumulation_steps", "4"])
    resolved = resolve_training_args(ours, args)
    assert resolved.learning_rate == pytest.approx(1e-3 * 8 * 4 / 256)
    assert (args.label_smoothing_factor, resolved.label_smoothing_factor) == (0.1, 0.0)
    assert not resolved.remove_unused_columns
    assert (ours.layer_decay, ours.mixup, ours.cutmix, model.drop_path_rate) == (0.75, 0.8, 1.0, 0.1)
    assert (args.num_train_epochs, args.lr_scheduler_type, args.warmup_steps) == (100, "cosine_with_min_lr", 0.05)
    assert args.lr_scheduler_kwargs == {"min_lr_rate": 1e-3}
    assert (data.num_clips, data.num_crops, ours.horizontal_flip) == (5, 3, 0.5)
    _, _, ours, args = read_arguments([*base, "--learning_rate", "0.5", "--mixup", "0", "--horizontal-flip=0"])
    assert (resolve_training_args(ours, args).learning_rate, ours.mixup, ours.horizontal_flip) == (0.5, 0, 0)
    model, data, ours, args = read_arguments([*base, "--recipe", "videomae-ssv2"])
    assert (ours.horizontal_flip, model.sampling, data.num_clips, args.num_train_epochs) == (0, "uniform", 2, 50)
    assert (recipe("videomae", 1024)["num_train_epochs"], recipe("videomae", 1280)["drop_path_rate"]) == (35, 0.2)
    assert scaled_learning_rate(1e-3, 64) == 2.5e-4
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(HfRltError, match=r"Expected 2 processes to train together, found 1: .*--use_cpu True"):
        resolve_training_args(ours, args)


BUDGET = ("--max_tokens_per_batch", "300")
STREAM = ("--train_dir", "", "--validation_dir", "", "--dataset_name", "a", "--streaming", "True")
BY_DIFFERENCE = ("--method", "by_difference", "--num_tokens", "0.2")
BALANCED = ("--train_sampling_strategy", "batch_rebalance")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--recipe", "mae"), "expected none, small, videomae, videomae-ssv2, received 'mae'"),
        (("--num_train_epochs", "many"), "invalid float value: 'many'"),
        (("--speed", "9"), "not used by the HfArgumentParser: ['--speed', '9']"),
        (("--model_name_or_path", "nowhere"), "nowhere: expected a model folder or a Hub id"),
        (("--train_file", "b"), "Expected one of --train_dir"),
        (
            ("--digits_set", "hard"),
            "Expected one of --train_dir, --train_file, --dataset_name, --digits_dir or --digits_set",
        ),
        (
            ("--train_dir", "", "--validation_dir", "", "--digits_set", "soft"),
            "expected standard or hard, received 'soft'",
        ),
        (("--train_dir", "nowhere"), "nowhere: expected a folder"),
        (("--sampling", "unifrom"), 'Expected sampling to be "clip" or "uniform", received \'unifrom\''),
        (("--threshold", "high"), "--threshold: expected a number, none or model, received 'high'"),
        (("--drop_path_rate", "2"), "Expected drop_path_rate in [0, 1), received 2"),
        (("--dataloader_drop_last", "True", "--per_device_train_batch_size", "17"), "at least 17 training clips"),
        (("--on_bad_video", "ignore"), "Expected on_bad_video to be one of"),
        (("--output_dir", "/proc/nowhere"), "expected a folder that can be written"),
        (("--resume_from_checkpoint", "nowhere"), "Cannot resume from nowhere: there is no such folder"),
        (("--mixup", "-1"), "Expected mixup and cutmix >= 0"),
        (("--method", "magic"), "--method: expected one of tome, by_difference, received 'magic'"),
        (("--method", "tome"), "--method tome needs --tome_r: add it"),
        (("--method", "by_difference"), "--method by_difference needs --num_tokens: add it"),
        ((*BY_DIFFERENCE, "--tome_r", "3"), "--tome_r is for ToMe: leave out that, or --method by_difference"),
        ((*BY_DIFFERENCE, "--rule", "anchor"), "Expected rule='threshold' with selection by difference"),
        ((*BY_DIFFERENCE, "--token_keep_ratio", "0.5"), "chooses from all tokens of a clip"),
        (("--token_keep_ratio", "0"), "Expected token_keep_ratio in [0.001, 1]"),
        (("--model_type", "vit"), "expected a model with RLT"),
        (("--train_only", "tail"), "--train_only: expected one of all, head, received 'tail'"),
        (("--lora_r", "4", "--train_only", "head"), "--lora_r: expected a rank from 1 on, with --model_name_or_path"),
        (("--lora_r", "4"), "--lora_r: expected a rank from 1 on, with --model_name_or_path"),
        (("--lora_r", "-1"), "and without --train_only head, received -1"),
        (("--layer_decay", "2", "--max_steps", "1"), "Expected layer_decay in (0, 1], received 2"),
        ((*BALANCED, "--threshold_range", "0", "0.2"), "--threshold_range draws another for each clip: leave one out"),
        (("--budget_range", "0.2", "0.5", "--threshold_range", "0", "0.2"), "received both: leave one out"),
        ((*BUDGET, "--budget_range", "0.2", "0.5"), "--budget_range draws another for each clip: leave one out"),
        (("--budget_range", "0.2", "1.5"), "Expected num_tokens to be"),
        (
            ("--budget_range", "0.2", "0.5", "--num_tokens", "0.3", "--budget", "batch"),
            'own num_tokens: expected budget="clip", received "batch"',
        ),
        (("--threshold_range", "0", "0.2", "--num_tokens", "0.3"), "which num_tokens=0.3 would ignore in evaluation"),
        (("--threshold", "0.2", "--num_tokens", "0.3"), "Expected --threshold or --num_tokens, which ignores it"),
        (("--num_tokens", "1_00"), "--num_tokens: expected a number of tokens such as 512, or a share such as 0.2"),
        (("--budget", "batch"), 'Expected max_tokens or num_tokens with budget="batch", which divides them: add one'),
        (("--budget_groups", "2", "--threshold", "0.2"), "with budget_groups=2, which divides them: add one"),
        (("--rule", "anchor", "--threshold", "none"), 'a threshold or num_tokens with rule="anchor", received none'),
        ((*BUDGET, "--threshold_range", "0", "0.2"), "--threshold_range draws another for each clip: leave one out"),
        ((*BUDGET, "--per_device_train_batch_size", "4"), "leave out that, or --per_device_train_batch_size"),
        ((*BUDGET, *BALANCED), "leave out that, or --train_sampling_strategy batch_rebalance"),
        ((*BUDGET, "--auto_find_batch_size", "True"), "leave out that, or --auto_find_batch_size"),
        (("--seed", "-1"), "Seed must be between 0"),
        (("--report_to", "nonsense"), "nonsense is not supported"),
        (("--max_steps", "1", "--learning_rate", "-1"), "Invalid learning rate: -1.0"),
        (
            ("--max_steps", "1", "--lr_scheduler_type", "cosine_with_min_lr"),
            "One of min_lr or min_lr_rate should be set",
        ),
        (("--max_tokens_per_batch", "0"), "expected 1 or more, received 0"),
        ((*STREAM,), "--streaming needs --validation_split and --max_steps"),
        (
            (*STREAM, "--validation_split", "a", "--max_steps", "9", *BALANCED),
            "which a stream does not tell: leave one out",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_users_mistake_is_one_line_and_code_2(rendered_digits, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(SystemExit) as stopped:
        finetune.main(words(rendered_digits, tmp_path / "out", *options))
    assert stopped.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("finetune.py: error: ")]
    assert len(lines) == 1
    assert message in lines[0]


def test_a_json_file_says_the_same(rendered_digits, tmp_path):
    sets = {"train_dir": str(rendered_digits / "train"), "validation_dir": str(rendered_digits / "validation")}
    job = tmp_path / "job.json"
    for threshold, expected in ((0.2, 0.2), (None, None), ("none", None)):
        job.write_text(json.dumps({**sets, "output_dir": str(tmp_path / "out"), "threshold": threshold}))
        trainer = finetune.make_job([str(job)]).trainer
        assert trainer.model.config.threshold == trainer.processing_class.threshold == expected
    for text, message in (("[1]", "a JSON object"), ("{", "a JSON file of arguments"), ('{"speed": 9}', "not used")):
        job.write_text(text)
        with pytest.raises(HfRltError, match=message):
            read_arguments([str(job)])


def test_a_bug_shows_its_traceback_and_the_user_can_ask_for_one(monkeypatch):
    def broken(error):
        def make_job(*_):
            raise error

        monkeypatch.setattr(finetune, "make_job", make_job)

    broken(ValueError("of a library"))
    with pytest.raises(ValueError, match="of a library"):
        finetune.main([])
    broken(HfRltError("of the user"))
    monkeypatch.setenv("HF_RLT_TRACEBACK", "1")
    with pytest.raises(HfRltError, match="of the user"):
        finetune.main([])


@pytest.mark.parametrize("error", [finetune.FinishedError("finished"), HfRltError("other settings")])
def test_all_processes_end_alike_and_the_first_one_says_why(monkeypatch, capsys, error):
    sent = []

    def broadcast(box):
        sent or sent.extend(box)
        box[:] = sent

    def find(rank):
        if rank:
            pytest.fail("only the first process looks")
        raise error

    monkeypatch.setattr(finetune, "broadcast_object_list", broadcast)
    for rank in (0, 1):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        args = SimpleNamespace(world_size=2, process_index=rank)
        monkeypatch.setattr(
            finetune, "make_job", lambda *_, a=args: finetune.from_first_process(a, partial(find, a.process_index))
        )
        with pytest.raises(SystemExit) as end:
            finetune.main([])
        assert end.value.code == (0 if isinstance(error, finetune.FinishedError) else 2)
        said = "".join(capsys.readouterr())
        assert said.endswith(f"{error}\n") if rank == 0 else not said


def test_a_new_head_starts_small_and_an_old_one_is_kept(tmp_path):
    arguments = ModelArguments(head_init_scale=0.001)
    names = ["falls", "grows", "hops", "rolls", "waits"]
    fresh, processor = load_model(arguments, names)
    assert 0 < float(fresh.classifier.weight.detach().abs().max()) < 0.001
    assert (processor.frame_stride, processor.num_frames, processor.crop_size["height"]) == (2, 16, 64)
    arguments.model_name_or_path = str(make_model(tmp_path))
    kept, processor = load_model(arguments, names)
    head = RLTVideoMAEForVideoClassification.from_pretrained(tmp_path).classifier
    assert torch.equal(kept.classifier.weight, head.weight)
    assert kept.config.length_embedding  # as the model has it
    assert processor.frame_stride == 2
    replaced, _ = load_model(arguments, names[:3])
    assert replaced.classifier.weight.shape[0] == 3
    assert float(replaced.classifier.weight.detach().abs().max()) < 0.001


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {"num_tokens": 0.5, "budget_groups": 2, "rule": "anchor"}),
        ({"num_tokens": "20"}, {"num_tokens": 20, "budget_groups": 2, "rule": "anchor"}),
        ({"max_tokens": "0.4"}, {"max_tokens": 0.4, "budget_groups": 2, "rule": "anchor"}),
        ({"threshold": "0.2"}, {"threshold": 0.2, "budget_groups": 2, "rule": "anchor"}),
        ({"threshold": "0.2", "rule": "threshold", "budget_groups": 1}, {"threshold": 0.2}),
    ],
)
def test_fine_tuning_keeps_a_models_own_rule_but_for_what_is_asked(tmp_path, given, wanted):
    make_model(tmp_path, num_tokens=0.5, budget_groups=2, rule="anchor")
    model, processor = load_model(ModelArguments(model_name_or_path=str(tmp_path), **given), ["a", "b"])
    assert model.config.run_rule == processor.run_rule == RunRule(**{"patch_size": 8, **wanted})


def test_each_family_is_loaded_as_what_it_is(tmp_path):
    for kind, model_type in (("sta", "sta_videomae"), ("tome", "tome_videomae"), ("videomae", "rlt_videomae")):
        arguments = ModelArguments(model_name_or_path=str(make_model(tmp_path / kind, kind)))
        assert load_model(arguments, ["a", "b"])[0].config.model_type == model_type
    merged = load_model(ModelArguments(model_name_or_path=str(tmp_path / "videomae"), tome_r=3), ["a", "b"])[0].config
    assert (merged.model_type, merged.r) == ("tome_videomae", 3)
    arguments = ModelArguments(model_name_or_path=str(tmp_path / "videomae"), method="by_difference", num_tokens="0.3")
    for _ in range(2):  # from a stock model, and from itself
        model, processor = load_model(arguments, ["a", "b"])
        assert (model.config.model_type, model.config.num_tokens) == ("by_difference_videomae", 0.3)
        assert processor.run_rule == RunRule(None, 2, 8)  # the model needs every token to choose from
        arguments.method, arguments.model_name_or_path = None, str(tmp_path / "own")
        model.save_pretrained(tmp_path / "own")
        processor.save_pretrained(tmp_path / "own")
    (tmp_path / "sta" / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(HfRltError):
        load_model(ModelArguments(model_name_or_path=str(tmp_path / "sta")), ["a", "b"])


@pytest.mark.parametrize("kind", ["rlt_videomae", "rlt_vjepa2"])
def test_a_small_model_of_each_family_from_scratch_and_its_head_alone(tmp_path, kind):
    arguments = ModelArguments(model_type=kind, num_frames=8)
    model, processor = load_model(arguments, ["a", "b"], clip_frames=32)
    assert (model.config.model_type, model.config.grid, processor.frame_stride) == (kind, (4, 8, 8), 4)
    assert (processor.clip_shape, model.num_parameters() < 1.1e6) == ((8, 3, 64, 64), True)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    arguments = ModelArguments(model_name_or_path=str(tmp_path), train_only="head")
    probe, _ = load_model(arguments, ["a", "b", "c"])
    probe(torch.rand(2, 8, 3, 64, 64), labels=torch.tensor([0, 1])).loss.backward()
    trained = {name.split(".")[0] for name, each in probe.named_parameters() if each.grad is not None}
    assert trained == {"rlt_videomae": {"fc_norm", "classifier"}, "rlt_vjepa2": {"pooler", "classifier"}}[kind]
    arguments.model_type = kind
    with pytest.raises(HfRltError, match="--model_type is for a model from scratch"):
        load_model(arguments, ["a", "b"])


def test_a_pre_trained_checkpoint_is_fine_tuned_on_the_mean_of_its_tokens(tmp_path):
    stock = randomise(VideoMAEForPreTraining(VideoMAEConfig(**TINY, use_mean_pooling=False)))
    stock.save_pretrained(tmp_path)
    VideoMAEImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    arguments = ModelArguments(model_name_or_path=str(tmp_path))
    model, processor = load_model(arguments, ["a", "b", "c"])
    assert model.config.use_mean_pooling
    assert model.fc_norm is not None
    theirs, ours = stock.videomae.encoder.state_dict(), model.base_model.encoder.state_dict()
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)
    # A classifier that already pools otherwise keeps doing so.
    model.config.use_mean_pooling = False
    RLTVideoMAEForVideoClassification(model.config).save_pretrained(tmp_path / "trained")
    processor.save_pretrained(tmp_path / "trained")
    arguments.model_name_or_path = str(tmp_path / "trained")
    assert not load_model(arguments, ["a", "b", "c"])[0].config.use_mean_pooling


def test_arguments_come_from_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["finetune.py", "--help"])
    with pytest.raises(SystemExit):
        finetune.main()
    shown = capsys.readouterr().out
    assert "usage: finetune.py" in shown
    assert "outputs/digits" in shown  # defaults are those of the job
