# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Imports point down: the list of layers, held by reading the source."""

import ast
import sys
from pathlib import Path

import pytest

import hf_rlt

ROOT = Path(hf_rlt.__file__).parent
# From the bottom up. Modules of one line do not import each other.
LAYERS = [
    ["runs", "packing", "sampling", "video_stream", "nal_units", "downloads"],
    ["indexing"],
    ["reading"],
    ["configuration_rlt_videomae", "video_frames"],
    ["video_inputs"],
    ["attention_rlt_videomae", "video_processing_rlt"],
    ["layers_rlt_videomae"],
    ["modeling_rlt_videomae"],
    [
        "registration",
        "data",
        "baselines",
        "metrics",
        "arguments",
        "timing",
        "model_folders",
        "whole_files",
    ],
    ["training_record"],
    ["checkpoints", "training_settings"],
    [
        "resuming",
        "training",
        "evaluation",
        "measure",
        "visualize",
        "counting",
        "hub",
        "errors",
        "opening",
        "conversion",
    ],
    ["drawing", "classification", "inference"],
    ["recipes", "benchmark"],
    ["cli"],
    ["__main__"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
CORE = [name for names in LAYERS[:8] for name in names]
PLAIN = [name for names in LAYERS[:3] for name in names]


def unit(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path, tree: ast.AST) -> list[tuple[str, bool]]:
    """Returns the units of hf_rlt that a file imports, each with whether it was imported as `from .name import x`."""
    depth = len(path.relative_to(ROOT).parts)  # 1: flat file
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "hf_rlt":
                    found.append((parts[1] if len(parts) > 1 else "__init__", False))
        elif isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".")
            if node.level == 0 and parts[0] == "hf_rlt":
                names = parts[1:2] or [alias.name for alias in node.names]
                found += [(name, False) for name in names]
            elif node.level == depth:
                names = [parts[0]] if parts[0] else [alias.name for alias in node.names]
                found += [(name, bool(parts[0]) and len(parts) == 1) for name in names]
    return found


FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    own = unit(path)
    assert own in LEVEL, f"{own} stands in no layer: add it to LAYERS."
    for other, _ in imports(path, ast.parse(path.read_text())):
        if other != own:
            assert LEVEL.get(other, 99) < LEVEL[own], f"{own} (layer {LEVEL[own]}) imports {other}: imports point down."


@pytest.mark.parametrize("name", CORE)
def test_core_files_carry_themselves_to_the_hub(name):
    path = ROOT / f"{name}.py"
    tree = ast.parse(path.read_text())
    for other, plain in imports(path, tree):
        assert plain, f"{name} imports {other}: write `from .{other} import ...`, which remote code understands."
        assert other in CORE


@pytest.mark.parametrize("name", CORE)
def test_core_files_need_only_what_somebody_without_hf_rlt_has(name):
    there = {"av", "huggingface_hub", "numpy", "PIL", "torch", "transformers", *sys.stdlib_module_names}
    for node in ast.walk(ast.parse((ROOT / f"{name}.py").read_text())):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
        assert {module.split(".")[0] for module in modules} <= there


@pytest.mark.parametrize("name", PLAIN)
def test_plain_functions_know_no_model(name):
    path = ROOT / f"{name}.py"
    tree = ast.parse(path.read_text())
    assert {other for other, _ in imports(path, tree)} <= set(PLAIN)
    for node in ast.walk(tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not [module for module in modules if module.split(".")[0] == "transformers"]


def test_names_for_nothing_in_particular_do_not_exist():
    assert not [path for path in FILES if path.stem in {"utils", "helpers", "common", "misc"}]
