# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Class names from files, and settings that are refused."""

import pytest

from helpers import reference_layouts as layouts
from helpers.checkpoints import convert_original
from hf_rlt import RLTVideoMAEConfig
from hf_rlt.conversion import ConversionSettings

WEIGHTS = layouts.finetuned()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.txt", "ä\nb c\nc\nd\ne\n"),
        ("l.json", '["ä", "b c", "c", "d", "e"]'),
        ("l.json", '{"1": "b c", "0": "ä", "2": "c", "3": "d", "4": "e"}'),
        ("l.json", '{"b c": 1, "ä": "0", "c": 2, "d": 3, "e": 4}'),
    ],
    ids=["text", "list", "index to name", "name to index"],
)
def test_labels_from_a_file(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    done = convert_original({"model": WEIGHTS}, tmp_path / "out", labels=tmp_path / name)
    config = RLTVideoMAEConfig.from_pretrained(tmp_path / "out")
    assert config.id2label == {0: "ä", 1: "b c", 2: "c", 3: "d", 4: "e"}
    assert config.label2id["b c"] == 1
    assert not any("LABEL_" in note for note in done.notes)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.txt", b"a\nb\n", "expected 5 class names.*found 2"),
        ("l.txt", b"a\nb\nc\nd\na\n", "'a' 2 times"),
        ("l.txt", b"a\nb\n\nd\ne\n", "an empty one"),
        ("l.txt", b"\xff\xfe\x00", "found the byte|zero byte"),
        ("l.json", b"{", "expected a JSON file"),
        ("l.json", b'{"0": "a", "2": "b"}', "a dictionary from 0, 1, 2"),
        ("l.json", b"3", "expected a JSON list"),
        ("l.json", b'["a", "b", "c", "d", ["e"]]', "expected a JSON list of class names"),
    ],
)
def test_other_labels_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        convert_original({"model": WEIGHTS}, tmp_path / "out", labels=tmp_path / name)


def test_an_encoder_has_no_labels(tmp_path):
    with pytest.raises(ValueError, match="has no classifier"):
        convert_original(layouts.pretrained(), tmp_path / "out", labels="l.txt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_attention_heads": None}, r"its width is 24.*--num-attention-heads"),
        ({"num_attention_heads": 5}, "5 attention heads do not divide its width 24"),
        ({"pooling": "first"}, "was trained with pooling 'mean'"),
        ({"num_frames": 10**6}, "expected num_frames to be a whole number from 1 to 65,536"),
        ({"dtype": "float16"}, r"not finite: these weights overflow in torch\.float16"),
    ],
)
def test_settings_that_are_needed_or_contradict(tmp_path, changes, message):
    weights = {**WEIGHTS, "head.weight": WEIGHTS["head.weight"] * 1e6}
    with pytest.raises(ValueError, match=message):
        convert_original({"model": weights}, tmp_path / "out", **changes)


def test_settings_of_no_meaning():
    wrong = {"num_frames": 0, "dtype": "int8", "pooling": "max"}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=f"Expected {name} "):
            ConversionSettings(**{name: value})
    with pytest.raises(ValueError, match="threshold is NaN"):
        ConversionSettings(rule={"threshold": float("nan")})
