# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Imports point down: the list of layers, held by reading the source."""

import ast
import sys
from pathlib import Path

import pytest

import hf_rlt

ROOT = Path(hf_rlt.__file__).parent
# Folders and loose modules from the bottom up. Those of one line do not import each other.
LAYERS = [
    ["models"],
    ["errors", "families"],
    ["baselines", "jobs", "rule_options"],
    ["data"],
    ["tokens", "hub"],
    ["inference", "drawing", "conversion"],
    ["training", "export", "streaming"],
    ["cli"],
    ["__main__"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODELS = sorted(path.stem for path in (ROOT / "models").glob("*.py") if path.stem != "__init__")
PLAIN = [
    "errors",
    "runs",
    "packing",
    "sampling",
    "downloads",
    "nal_units",
    "video_stream",
    "video_index",
    "video_reader",
]


def unit(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path, tree: ast.AST) -> list[tuple[str, bool]]:
    """List the units of hf_rlt that a file imports, each with whether it was imported as `from .name import x`."""
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


@pytest.mark.parametrize("name", MODELS)
def test_models_carry_themselves_to_the_hub(name):
    """Remote code copies a file and what it imports as `from .x import y`: flat, no packages, no module objects."""
    tree = ast.parse((ROOT / "models" / f"{name}.py").read_text())
    relative = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    for node in relative:
        assert node.level == 1, f"{name} imports from outside models/: remote code does not have it."
        assert node.module in MODELS, f"{name}: write `from .x import y`, which remote code understands."
    modules = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    there = {"av", "fsspec", "huggingface_hub", "numpy", "PIL", "torch", "transformers", *sys.stdlib_module_names}
    assert {module.split(".")[0] for module in modules} <= there
    if name in PLAIN:
        assert {node.module for node in relative} <= set(PLAIN)
        assert not [module for module in modules if module.split(".")[0] == "transformers"]


def test_names_for_nothing_in_particular_do_not_exist():
    assert not [path for path in FILES if path.stem in {"utils", "helpers", "common", "misc"}]
