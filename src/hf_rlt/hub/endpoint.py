# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Put the handler of Inference Endpoints into a model folder."""

from pathlib import Path

from ..errors import HfRltError
from ..jobs.atomic import write_text_atomic
from .model_facts import read_facts

SOURCE = Path(__file__).with_name("handler.py")
# What the code that a folder carries needs, in the versions of pyproject.toml.
REQUIREMENTS = ("transformers>=5.18,<6", "torch>=2.6", "torchvision>=0.21", "av>=18.1", "numpy>=2.0", "pillow>=10.1")


def write_handler(folder: str | Path, overwrite: bool = False) -> list[Path]:
    """Write handler.py and requirements.txt into a model folder; return their paths.

    Args:
        folder: a model with its code (what `save_pretrained` writes); the endpoint has no hf_rlt.
        overwrite: whether files of these names that hf_rlt did not write may go.

    Raises:
        HfRltError: if there is no such model, it does not carry its code, or other files are in the way.
    """
    return [write_text_atomic(path, content) for path, content in handler_files(folder, overwrite).items()]


def handler_files(folder: str | Path, overwrite: bool = False) -> dict[Path, str]:
    """Return what `write_handler` would write, by path. Raises as it does."""
    if not read_facts(folder).carries_code:
        raise HfRltError(
            f"{folder}: expected a model folder that carries its code, as save_pretrained of RLT models writes it: an "
            "endpoint opens the model without hf_rlt. Baselines cannot be served so."
        )
    files = {
        Path(folder) / "handler.py": SOURCE.read_text(encoding="utf-8"),
        Path(folder) / "requirements.txt": "\n".join(REQUIREMENTS) + "\n",
    }
    for path, content in files.items():
        if path.exists() and not overwrite and not _is_ours(path, content):
            raise HfRltError(
                f"{path}: expected no file or one that hf_rlt wrote, found another: pass --overwrite to lose it."
            )
    return files


def _is_ours(path: Path, content: str) -> bool:
    """Return whether a file is what this or, for the handler, any version of hf_rlt wrote."""
    found = path.read_text(encoding="utf-8", errors="replace")
    return found == content or (path.name == "handler.py" and "HF_RLT_MAX_" in found)
