# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The README and docs/ as somebody follows them: Python runs, command lines parse, links lead somewhere."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer
from transformers import (
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    VideoMAEImageProcessor,
    VJEPA2Config,
    VJEPA2ForVideoClassification,
    VJEPA2VideoProcessor,
)

from benchmarks.__main__ import app as benchmarks
from helpers.tiny import randomise
from hf_rlt import cli
from hf_rlt.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        ROOT / "README.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("benchmarks/*.md"),
        *ROOT.glob("examples/**/*.md"),
        *ROOT.glob("model_cards/*.md"),
    ]
)
FENCE = re.compile(r"(<!-- not run: .+? -->\n)?^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SMALL = {"hidden_size": 48, "num_hidden_layers": 12, "num_attention_heads": 4, "intermediate_size": 64}
VJEPA2_SMALL = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_pooler_layers": 1,
    "pred_hidden_size": 24,
    "pred_num_hidden_layers": 1,
    "pred_num_attention_heads": 2,
}
PROGRAMS = {("hf-rlt",): app, ("python", "-m", "benchmarks"): benchmarks}
LEFT_OPEN = ("...", "[", "<", "NAME")


def blocks(language: str) -> list:
    """Make a parameter set (page, code) for each block of a language that is to be run."""
    found = []
    for page in PAGES:
        for match in FENCE.finditer(page.read_text()):
            if match[2] == language and not match[1]:
                line = page.read_text()[: match.start()].count("\n") + 1
                found.append(pytest.param(page, match[3], id=f"{page.relative_to(ROOT)}:{line}"))
    return found


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """A folder with what the pages speak of: clips, a trained model, and VideoMAE under its Hub name."""
    folder = tmp_path_factory.mktemp("desk")
    clip = ROOT / "examples" / "space" / "clips" / "city_at_night.mp4"
    for name in ("clip.mp4", "a.mp4", "b.mp4", "clips/train/x/1.mp4", "clips/train/x/2.mp4", "clips/train/y/3.mp4"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, folder / name)
    shutil.copytree(clip.parent, folder / "examples" / "space" / "clips")
    for name in ("outputs/digits", "outputs/mine", "digits"):
        shutil.copytree(ROOT / "examples" / "space" / "digits", folder / name)
    for name in ("videomae-base", "videomae-base-finetuned-kinetics"):
        stock = folder / "MCG-NJU" / name
        randomise(VideoMAEForVideoClassification(VideoMAEConfig(**SMALL))).save_pretrained(stock)
        VideoMAEImageProcessor().save_pretrained(stock)
    shape = {**VJEPA2_SMALL, "frames_per_clip": 16}
    classifier = randomise(VJEPA2ForVideoClassification(VJEPA2Config(**shape)))
    for model, name in ((classifier, "vjepa2-vitl-fpc16-256-ssv2"), (classifier.vjepa2, "vjepa2-vitl-fpc64-256")):
        model.save_pretrained(folder / "facebook" / name)
        VJEPA2VideoProcessor().save_pretrained(folder / "facebook" / name)
    return folder


PYTHON = [page for page in PAGES if any(parameters.values[0] == page for parameters in blocks("python"))]


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_runs_as_it_is_written(page, desk, monkeypatch):
    monkeypatch.chdir(desk)
    names = {"__name__": "__main__"}  # a block may go on where the one above it on the page ended
    for parameters in blocks("python"):
        if parameters.values[0] == page:
            exec(compile(parameters.values[1], parameters.id, "exec"), names)


def command_lines() -> list:
    """Make a parameter set (program, words) for each command line of ours on the pages."""
    found = []
    for parameters in blocks("bash"):
        page, code = parameters.values
        for line in code.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|;", line):
                words = shlex.split(part, comments=True)
                if "hf_rlt" in words and "-m" in words:
                    words = ["hf-rlt", *words[words.index("hf_rlt") + 1 :]]
                found.append((page, words))
    found += [(Path(cli.__file__), shlex.split(example)) for example in cli.EXAMPLES.values()]
    for page in PAGES:
        found += [(page, shlex.split(code)) for code in re.findall(r"`((?:hf-rlt|python) [^`]+)`", page.read_text())]
    return [
        pytest.param(program, words[len(start) :], id=f"{page.relative_to(ROOT)}: {' '.join(words)[:60]}")
        for page, words in found
        for start, program in PROGRAMS.items()
        if tuple(words[: len(start)]) == start
    ]


@pytest.mark.parametrize(("program", "words"), command_lines())
def test_command_lines_name_options_that_exist(program, words):
    command = typer.main.get_command(program)
    words = [word for word in words if not word.startswith(LEFT_OPEN)]
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    if command.context_settings.get("ignore_unknown_options"):
        return  # they are another parser's
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    options |= {"--help"}
    given = words[: words.index("--")] if "--" in words else words
    unknown = [word for word in given if re.match(r"--?[a-z]", word) and word.split("=")[0] not in options]
    assert not unknown, f"{command.name} has no {unknown}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, f"{page.name} links to {target}"


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
