# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Files that promise far more than they hold are refused before memory is spent on them."""

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError

from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, RLTVideoMAEModel
from hf_rlt.baselines import ToMeVideoMAEForVideoClassification
from hf_rlt.conversion import convert
from hf_rlt.conversion.pickle_bombs import check_size
from hf_rlt.conversion.weight_files import read_weights
from hf_rlt.hub.repo_config import read_config

LEGACY = b"".join(pickle.dumps(each, protocol=2) for each in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
NESTED = b"\x80\x02}K\x01q\x01" + b"h\x01h\x01\x86q\x01" * 60 + b"K\x01s."  # a key of 2^60 numbers


class Declaring(pickle.Pickler):
    """Pickles None as a storage of so many numbers."""

    numel = 0

    def persistent_id(self, thing):
        return ("storage", torch.FloatStorage, "0", "cpu", self.numel) if thing is None else None


def declaring(numel: int) -> bytes:
    stream = io.BytesIO()
    pickler = Declaring(stream, protocol=2)
    pickler.numel = numel
    pickler.dump({"model": {"a": None}})
    return stream.getvalue()


def archive(path: Path, data: bytes, compression: int = zipfile.ZIP_STORED, weight: bytes = b"") -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", data)
        file.writestr("archive/byteorder", "little")
        file.writestr("archive/data/0", weight)
        file.writestr("archive/version", "3\n")
    return path


def longer_directory(path: Path) -> Path:
    content = archive(path, declaring(0)).read_bytes()
    end = content.rindex(b"PK\x05\x06")
    path.write_bytes(content[: end + 12] + struct.pack("<I", 1 << 30) + content[end + 16 :])
    return path


def overlapping(path: Path) -> Path:
    with zipfile.ZipFile(archive(path, declaring(100), weight=bytes(400)), "a") as file:
        entry = file.getinfo("archive/data/0")
        for number in range(1, 9):
            twin = zipfile.ZipInfo(f"archive/data/{number}")
            for name in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(twin, name, getattr(entry, name))
            file.filelist.append(twin)
        file._didModify = True
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


BOMBS = {
    "compressed pickle": (
        lambda path: archive(path, pickle.dumps([0] * 4_000_000, 2), zipfile.ZIP_DEFLATED),
        "files that are not compressed, as torch.save writes them, found archive/data.pkl of 8,",
    ),
    "compressed weight": (
        lambda path: archive(path, declaring(1 << 20), zipfile.ZIP_BZIP2, bytes(4 << 20)),
        "files that are not compressed",
    ),
    "files over one another": (overlapping, "files of at most its own .* bytes in it"),
    "endless directory": (longer_directory, "expected a list of at most 16 MiB"),
    "storage beyond its file": (
        lambda path: archive(path, declaring(10**12), weight=b"1234"),
        "4,000,000,000,000 bytes",
    ),
    "storage that is not there": (lambda path: written(path, LEGACY + declaring(10**12)), "found 4,000,000,000,000"),
    "long pickle": (
        lambda path: archive(path, b"\x80\x02" + b"]" * (5 << 20)),
        "at most 4,194,304 bytes, found one of 5,",
    ),
    "long pickle, no archive": (
        lambda path: written(path, LEGACY + b"\x80\x02" + b"]" * (5 << 20)),
        "at most 4,194,304 b",
    ),
    "nested key": (lambda path: archive(path, NESTED), "expected names of weights and settings, found a tuple for one"),
    "nested key, no archive": (lambda path: written(path, LEGACY + NESTED), "found a tuple for one"),
    "any number of bytes": (
        lambda path: archive(path, b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R."),
        "bytearray",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_one_sentence(tmp_path, name):
    make, message = BOMBS[name]
    with pytest.raises(
        ValueError, match=rf"w\.pth: refused, .*{message}.*: pass the checkpoint as its training wrote it\.$"
    ):
        read_weights(make(tmp_path / "w.pth"))


def test_one_weight_under_many_names_is_refused(tmp_path):
    torch.save({"model": dict.fromkeys(map(str, range(1000)), torch.zeros(100_000))}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="found 400,000,000, of which several names share some"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("archived", [True, False])
def test_checkpoints_with_all_that_trainings_keep_pass(tmp_path, archived):
    model = torch.nn.Linear(30, 20)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 30)).sum().backward()
    optimizer.step()
    rest = {
        "epoch": 3,
        "settings": {("a", 1): {1, 2}},
        "half": torch.zeros(3).half(),
        "bytes": b"abc",
        "numbers": [1.5],
    }
    content = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), **rest}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=archived)
    check_size(tmp_path / "w.pth")
    assert set(read_weights(tmp_path / "w.pth").weights) == {"weight", "bias"}


WRONG = [
    *[(field, 10**9) for field in ("num_frames", "image_size", "patch_size", "tubelet_size", "num_channels")],
    *[(field, 10**9) for field in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")],
    *[
        ("num_labels", 10**9),
        ("image_size", [10**9, 64]),
        ("position_grid", [10**9, 1, 1]),
        ("position_grid", "8 14 14"),
    ],
    *[
        ("num_frames", True),
        ("num_frames", 16.0),
        ("num_frames", None),
        ("hidden_size", "768"),
        ("intermediate_size", [1]),
    ],
    *[("num_frames", 65_536), ("num_hidden_layers", -1), ("patch_size", 0), ("num_labels", "5")],
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_numbers_that_no_model_has_are_refused_before_anything_is_built(
    tmp_path, tiny_config, monkeypatch, field, value
):
    folder = tmp_path / "model"
    tiny_config(image_size=224).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    if field == "num_labels":
        del config["id2label"], config["label2id"]
    (folder / "config.json").write_text(json.dumps({**config, field: value}))
    monkeypatch.setattr(torch.nn.Module, "__init__", lambda *args, **kwargs: pytest.fail("something was built"))
    for opened in (
        RLTVideoMAEConfig.from_pretrained,
        RLTVideoMAEModel.from_pretrained,
        RLTVideoMAEForVideoClassification.from_pretrained,
        ToMeVideoMAEForVideoClassification.from_pretrained,
        lambda name: read_config(str(name)),
        lambda name: convert(name, tmp_path / "out"),
    ):
        with pytest.raises(
            ValueError, match=f"^{folder}: expected .*{field}.* in its config.json .*, (found|received) "
        ):
            opened(folder)


def test_numbers_that_are_asked_for_are_refused_too(tmp_path, tiny_config):
    tiny_config().save_pretrained(tmp_path)
    for field in ("num_frames", "image_size", "num_labels"):
        with pytest.raises(ValueError, match=rf"expected {field} to be a whole number from 1 to .*, found 1000000000"):
            RLTVideoMAEConfig.from_pretrained(tmp_path, **{field: 10**9})
    with pytest.raises(StrictDataclassError, match="num_frames to be a whole number"):
        RLTVideoMAEConfig(num_frames=10**9)


def test_a_config_of_more_weights_than_the_files_hold_is_refused(tmp_path, tiny_config):
    RLTVideoMAEForVideoClassification(tiny_config()).save_pretrained(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    wide = {"hidden_size": 16_384, "intermediate_size": 65_536}
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, **wide}))
    with pytest.raises(
        ValueError, match=r"model: expected weights for the model in its config\.json, 9,\d+,\d+,\d+ numbers"
    ):
        convert(tmp_path / "model", tmp_path / "out")
