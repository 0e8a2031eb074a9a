# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Files that would run code, expand in memory, or are no VideoMAE: refused in one sentence, with nothing left behind."""

import functools
import os
import pickle
import random
import resource
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
import torch

from helpers import reference_layouts as layouts
from helpers.checkpoints import prefixed, save, save_stock, settings
from hf_rlt.conversion import convert
from hf_rlt.conversion.weight_files import read_weights

WEIGHTS = layouts.finetuned()


class Harm:
    """Unpickled as usual, it runs a command or a piece of code."""

    def __init__(self, function, *arguments) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda marker: Harm(os.system, f"touch {marker}"), r"(posix|nt)\.system"),
        (lambda marker: Harm(subprocess.call, f"touch {marker}"), r"(subprocess|commands)\.call"),
        (lambda marker: Harm(eval, f"open('{marker}', 'w')"), "eval"),
        (lambda marker: functools.partial(dict, lr=Harm(os.system, f"touch {marker}")), r"(posix|nt)\.system"),
    ],
    ids=["system", "subprocess", "eval", "inside a setting"],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_code_is_never_run(tmp_path, make, name, zipped):
    marker, path = tmp_path / "marker", tmp_path / "w.ckpt"
    content = {"state_dict": prefixed("model.", WEIGHTS), "hyper_parameters": {"x": make(marker)}}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=rf"refused, beside weights it holds objects of {name}.*Nothing was executed"):
        convert(path, tmp_path / "out", settings())
    assert os.listdir(tmp_path) == ["w.ckpt"]
    # The same file does run when it is opened as files used to be: the test would see it.
    if name.endswith("system") and "state_dict" in torch.load(path, weights_only=False):
        assert marker.exists()


def test_code_in_a_folder_is_never_run(tmp_path):
    stock = save_stock(tmp_path / "stock")
    (tmp_path / "stock" / "model.safetensors").unlink()
    harm = {"x": Harm(os.system, f"touch {tmp_path / 'marker'}")}
    save(tmp_path / "stock" / "pytorch_model.bin", {**stock.state_dict(), **harm})
    with pytest.raises(ValueError, match=r"its weights cannot be read .*Nothing in them was executed"):
        convert(tmp_path / "stock", tmp_path / "out")
    assert os.listdir(tmp_path) == ["stock"]


def changed(**changes):
    """Return a maker of a file with a state dict in which weights were replaced (None: removed)."""
    weights = {**WEIGHTS, **{name.replace("__", "."): value for name, value in changes.items()}}
    return holding({"model": {name: value for name, value in weights.items() if value is not None}})


def holding(content):
    return lambda path: save(path, content)


def cut_off(path: Path) -> None:
    save(path, {"model": WEIGHTS})
    path.write_bytes(path.read_bytes()[:-2000])


def short_storage(path: Path) -> None:
    """Write a whole archive in which one tensor claims more numbers than its record holds."""
    save(path, {"model": {"patch_embed.proj.weight": torch.ones(4096)}})
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content[:64] if name.endswith("data/0") else content)


NAN = torch.full((layouts.TINY["width"],), torch.nan)
MANY = {f"blocks__{i}__gamma_{k}": torch.ones(24) for i in range(3) for k in range(1, 5)}
FILES = {
    "cut off": (cut_off, "the end of the file is missing"),
    "text": (lambda path: path.write_text("hello"), "expected a whole checkpoint that torch.save wrote"),
    "git lfs": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "short storage": (short_storage, "could not read it"),
    "a list": (holding([torch.ones(2)]), "expected a dictionary of weights, found list"),
    "other entries": (holding({"epoch": 1}), "1 of 1 entries are something else: epoch"),
    "integers": (changed(head__bias=torch.ones(5, dtype=torch.int64)), "something else: head.bias"),
    "few bytes for many": (changed(head__bias=torch.ones(1).expand(1 << 50)), "at most its own .* found 4,503,599,6"),
    "no VideoMAE": (holding({"conv1.weight": torch.ones(2)}), "found conv1.weight"),
    "Hugging Face's": (
        holding({"videomae.embeddings.patch_embeddings.projection.bias": torch.ones(2)}),
        "pass the folder with its config.json",
    ),
    "NaN": (changed(blocks__1__norm1__bias=NAN), "NaN or infinite values in 1 of .* weights: blocks.1.norm1.bias"),
    "missing": (changed(blocks__1__mlp__fc2__bias=None), "1 missing: blocks.1.mlp.fc2.bias"),
    "unexpected": (changed(**MANY), r"12 unexpected: (blocks\.\d\.gamma_\d, ){7}blocks\.1\.gamma_4 and 4 more\."),
    "both kinds of bias": (changed(blocks__0__attn__qkv__bias=torch.ones(72)), "1 unexpected: blocks.0.attn.qkv.bias"),
    "shape": (
        changed(blocks__2__attn__proj__weight=torch.ones(24, 23)),
        r"1 of another shape: blocks.2.attn.proj.weight \(24, 23\) instead of \(24, 24\)",
    ),
    "flat patches": (changed(patch_embed__proj__weight=torch.ones(24, 384)), "to have 5 dimensions, found shape"),
    "two of a name": (changed(module__head__bias=torch.ones(5)), "two weights are called head.bias"),
}


@pytest.mark.parametrize(("make", "message"), FILES.values(), ids=FILES)
def test_other_files_are_refused(tmp_path, make, message):
    path = tmp_path / "w.pth"
    make(path)
    with pytest.raises(ValueError, match=f"^{path}: .*{message}"):
        convert(path, tmp_path / "out", settings())
    assert os.listdir(tmp_path) == ["w.pth"]


LEGACY = b"".join(pickle.dumps(each, protocol=2) for each in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
EMPTY = pickle.dumps({}, protocol=2)
NESTED = b"\x80\x02}K\x01" + b"q\x01h\x01\x86" * 60 + b"K\x01s."  # a key of 2^60 numbers
COPIES = b"\x80\x02](" + b"N" * 100_000 + b"eq\x00\x85q\x010c__builtin__\nset\nq\x02" + b"h\x02h\x01R" * 100_000 + b"."


def archive(path: Path, data: bytes, compression: int = zipfile.ZIP_STORED, weight: bytes = b"") -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in {"data.pkl": data, "byteorder": "little", "data/0": weight, "version": "3\n"}.items():
            file.writestr(f"archive/{name}", content)
    return path


def overlapping(path: Path) -> None:
    with zipfile.ZipFile(archive(path, EMPTY, weight=bytes(400)), "a") as file:
        entry = file.getinfo("archive/data/0")
        for number in range(1, 9):
            twin = zipfile.ZipInfo(f"archive/data/{number}")
            for name in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(twin, name, getattr(entry, name))
            file.filelist.append(twin)
        file._didModify = True


def zipped(data: bytes, **options):
    return lambda path: archive(path, data, **options)


def legacy(data: bytes):
    return lambda path: path.write_bytes(LEGACY + data)


LONG = b"\x80\x02" + b"]" * (5 << 20)
BOMBS = {
    "compressed": (zipped(pickle.dumps([0] * 4_000_000, 2), compression=zipfile.ZIP_DEFLATED), "not compressed"),
    "files over one another": (overlapping, "each once"),
    "long pickle": (zipped(LONG), "at most 1,048,576 bytes"),
    "long pickle, no archive": (legacy(LONG), "at most 1,048,576 b"),
    "nested key": (zipped(NESTED), "a pickle of more than 8,388,608 copies"),
    "many copies": (zipped(COPIES), "a pickle of more than 8,388,608 copies"),
    "any number of bytes": (zipped(b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R."), "bytearray"),
    "one weight, many names": (
        holding({"model": dict.fromkeys(map(str, range(1000)), torch.zeros(100_000))}),
        "found 400,000,000, of which several names share some",
    ),
}


@pytest.mark.parametrize(("make", "message"), BOMBS.values(), ids=BOMBS)
def test_files_that_expand_in_memory_are_refused(tmp_path, make, message):
    make(tmp_path / "w.pth")
    start, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=rf"w\.pth: refused, .*{message}.*: pass the checkpoint as its training wrote"):
        read_weights(tmp_path / "w.pth")
    assert time.process_time() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 1 << 20  # KiB


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_with_all_that_trainings_keep_pass(tmp_path, zipped):
    model = torch.nn.Linear(30, 20)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 30)).sum().backward()
    optimizer.step()
    content = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "settings": {("a", 1): {1, 2}}}
    content |= {"half": torch.zeros(3).half(), "bytes": b"abc", "numbers": [1.5], "random": random.getstate()}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert set(read_weights(tmp_path / "w.pth").weights) == {"weight", "bias"}
