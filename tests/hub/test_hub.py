# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Model cards: metadata as the Hub reads it, text that claims what is known, and what a person wrote."""

import importlib.util
import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData, metadata_load
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from benchmarks.paper import fine_tuning
from helpers.paths import ROOT
from helpers.tiny import FRAMES, SIDE, TINY, moving_clips, randomise
from helpers.videos import ramp, write_video
from hf_rlt import RLTVideoMAEConfig, RLTVideoMAEForVideoClassification, RLTVideoProcessor, baselines
from hf_rlt.cli import app
from hf_rlt.hub import parse_widget, read_card, read_evaluation, read_facts, write_card
from hf_rlt.hub.card_metadata import RLTCardData
from hf_rlt.hub.results import own_results

BASE = "MCG-NJU/videomae-base"
LABELS = {k: f"act {k}" for k in range(5)}
EVALUATION = {
    "accuracy": 0.9125,
    "top_5_accuracy": 1.0,
    "mean_class_accuracy": 0.9,
    "tokens_computed": 0.2137,
    "clips": 1320,
    "unreadable": 2,
    "clips_per_second": 3.0,
    "num_clips": 5,
    "num_crops": 3,
    "threshold": 0.1,
    "per_class": [],
}


def save(folder: Path, processor: bool = True, **changes) -> Path:
    names = {"id2label": LABELS, "label2id": {name: k for k, name in LABELS.items()}}
    randomise(RLTVideoMAEForVideoClassification(RLTVideoMAEConfig(**{**TINY, **names, **changes}))).save_pretrained(
        folder
    )
    size = {"height": SIDE, "width": SIDE}
    if processor:
        RLTVideoProcessor(num_frames=FRAMES, frame_stride=2, patch_size=8, size=size, crop_size=size).save_pretrained(
            folder
        )
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("saved") / "rlt-tiny")


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A model folder of its own for each test."""
    return Path(shutil.copytree(saved, tmp_path / "rlt-tiny"))


def nulls(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(nulls, value.values()))
    return any(map(nulls, value)) if isinstance(value, list) else value is None


def run(*words: str | Path):
    return CliRunner().invoke(app, ["card", "--model", *map(str, words)])


def test_metadata_is_what_the_hub_reads(folder):
    examples = [{"src": "https://example.org/a.mp4", "example_title": "A"}]
    path = write_card(
        folder, base_model=BASE, dataset="user/videos", evaluations=[EVALUATION], widget=examples, handler=True
    )
    assert path == folder / "README.md"
    found = metadata_load(path)
    assert not nulls(found)
    index = found.pop("model-index")
    assert found == {
        "library_name": "transformers",
        "pipeline_tag": "video-classification",
        "license": "cc-by-nc-4.0",
        "base_model": BASE,
        "datasets": ["user/videos"],
        "metrics": ["accuracy"],
        "widget": examples,
        "tags": [
            "video-classification",
            "videomae",
            "rlt",
            "run-length-tokenization",
            "custom_code",
            "endpoints-template",
        ],
    }
    assert ModelCardData(**{**found, "model-index": index}).to_dict() == {**found, "model-index": index}
    card = ModelCard.load(path)
    values = {(result.metric_type, result.metric_name): result.metric_value for result in card.data.eval_results}
    protocol = "(1,320 videos, 2 more unreadable, 5 x 3 views, threshold 0.1)"
    assert values == {
        ("accuracy", f"Top-1 accuracy {protocol}"): 0.9125,
        ("top_5_accuracy", f"Top-5 accuracy {protocol}"): 1.0,
        ("mean_class_accuracy", f"Mean-class accuracy {protocol}"): 0.9,
        ("tokens_computed", f"Tokens computed {protocol}"): 0.2137,
    }
    assert {(r.task_type, r.dataset_type, r.dataset_name) for r in card.data.eval_results} == {
        ("video-classification", "user/videos", "user/videos")
    }
    assert f"| Tokens computed {protocol} | 21.4 % | user/videos | this model |" in card.text


def test_the_paper_s_numbers_and_ours_stay_apart():
    common = {"task_type": "video-classification", "dataset_type": "k", "dataset_name": "K", "metric_type": "accuracy"}
    ours = EvalResult(**common, metric_value=0.5)
    paper = EvalResult(**common, metric_value=0.8, source_name="paper", source_url="https://arxiv.org/abs/2411.05222")
    written = RLTCardData(model_name="m", eval_results=[ours, paper]).to_yaml()
    read = ModelCard(f"---\n{written}\n---\n").data.eval_results
    assert {(r.metric_value, r.source_url) for r in read} == {(0.5, None), (0.8, paper.source_url)}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "Top-1 accuracy"),
        ({"num_clips": 1, "num_crops": 1, "unreadable": 0}, "Top-1 accuracy (1 view)"),
        ({"num_frames": FRAMES, "threshold": None}, "Top-1 accuracy (dense)"),
        ({"num_frames": 64, "threshold": 0.25}, "Top-1 accuracy (64 frames, threshold 0.25)"),
        ({"tokens_computed": 1.0}, "Top-1 accuracy (dense)"),
        ({"token_keep_ratio": 0.7}, "Top-1 accuracy (70 % of the tokens drawn at random)"),
    ],
)
def test_a_result_names_its_protocol_as_far_as_it_is_known(changes, name):
    assert own_results({"accuracy": 0.5, **changes}, "digits", FRAMES)[0].metric_name == name


def test_the_code_on_a_card_runs_as_it_stands(folder, monkeypatch, capsys):
    write_video(folder.parent / "clip.mp4", ramp(40))
    text = write_card(folder).read_text()
    monkeypatch.chdir(folder.parent)
    installed, remote, plain = ({"__builtins__": __builtins__} for _ in range(3))
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    for block, names in zip(blocks, (installed, remote, plain), strict=True):
        exec(block, names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == lines[-1]  # the two pipelines
    assert "act" in lines[0]
    model = installed["model"]
    assert isinstance(model, RLTVideoMAEForVideoClassification)
    clips = moving_clips()
    with torch.no_grad():
        dense = plain["dense"].eval()(clips).logits
        assert torch.equal(dense, model.eval()(clips, run_lengths=torch.ones(4, 64, dtype=torch.int64)).logits)
    assert "trust_remote_code" in blocks[1]
    assert type(plain["dense"]).__name__ == "VideoMAEForVideoClassification"


def test_only_what_works_is_promised(tmp_path):
    folder = save(tmp_path / "rlt", length_embedding=True, position_grid=[8, 4, 4])
    for path in folder.glob("*.py"):
        path.unlink()
    text = write_card(folder).read_text()
    assert "trust_remote_code" not in text
    assert "custom_code" not in text
    assert "Scores differ, since the run-length embedding is left out and positions are not interpolated" in text
    assert "which is VideoMAE" not in text
    assert "Positions: interpolated from a grid of 8 x 4 x 4 tubelets" in text
    for unknown in ("## Results", "## Licence", "## Training", "## Inference Endpoints", "license:", "base_model"):
        assert unknown not in text
    dense = write_card(save(tmp_path / "dense", processor=False, threshold=None)).read_text()
    assert "as an RLT model with threshold none: every token is computed" in dense
    assert "frames of the video apart" not in dense


@pytest.mark.parametrize(
    ("kind", "changes", "says", "tags"),
    [
        ("ToMe", {"r": 4}, "Token Merging (ToMe), a baseline", ["tome", "token-merging"]),
        (
            "ToMe",
            {"r": [5, 4, 3], "threshold": 0.1},
            "so many tokens: 5, 4, 3, of those that RLT computes (threshold 0.1)",
            ["tome", "token-merging", "rlt", "run-length-tokenization"],
        ),
        ("STA", {"r": 1}, "1 tokens leave each time slot", ["sta", "semantic-aware-temporal-accumulation"]),
        ("RandomMasking", {"token_keep_ratio": 0.7}, "70 % of the tokens are computed", ["random-masking"]),
    ],
)
def test_a_baseline_s_card_says_what_it_is(tmp_path, kind, changes, says, tags):
    config = getattr(baselines, f"{kind}VideoMAEConfig")(**TINY, **changes)
    getattr(baselines, f"{kind}VideoMAEForVideoClassification")(config).save_pretrained(tmp_path)
    card = read_card(write_card(tmp_path))
    assert says in card.text
    assert "not an RLT model" in card.text
    assert "RLT-VideoMAE" not in card.text
    assert card.data.tags == ["video-classification", "videomae", *tags]
    assert "trust_remote_code" not in card.text


def test_the_licence_is_inherited(folder, tmp_path):
    assert metadata_load(write_card(folder, base_model="user/model", license="mit"))["license"] == "mit"
    assert "inherited" not in write_card(folder, base_model="user/model", license="cc-by-nc-4.0").read_text()
    with pytest.raises(ValueError, match=r"--license mit: weights from MCG-NJU/videomae-base inherit cc-by-nc-4\.0"):
        write_card(folder, base_model=BASE, license="mit")
    assert "CC BY-NC 4.0, inherited" in write_card(folder, base_model=BASE).read_text()
    # A folder is a copy of something: its card says of what. Where it lies is nobody's business.
    tuned = save(tmp_path / "tuned")
    (tuned / "trainer_state.json").write_text(json.dumps({"global_step": 500, "epoch": 10.0, "log_history": []}))
    path = write_card(tuned, base_model=str(folder))
    found = metadata_load(path)
    assert (found["base_model"], found["license"], found["base_model_relation"]) == (BASE, "cc-by-nc-4.0", "finetune")
    assert str(tmp_path) not in path.read_text()
    (folder / "README.md").unlink()
    (tuned / "README.md").unlink()
    assert "base_model" not in metadata_load(write_card(tuned, base_model=str(folder)))


def test_training_and_its_results_are_read_from_the_folder(folder):
    logs = [{"learning_rate": 1e-3, "tokens_computed": 0.2}, {"learning_rate": 5e-4, "tokens_computed": 0.3}, {}]
    state = {"global_step": 1500, "epoch": 12.5, "train_batch_size": 8, "log_history": logs}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    (folder / "training_args.bin").write_bytes(b"a pickle that nobody opens")
    results = {"eval_accuracy": 0.75, "eval_tokens_computed": 0.25, "eval_clips": 40, "train_loss": 0.125}
    (folder / "all_results.json").write_text(json.dumps(results))
    text = write_card(folder).read_text()
    for line in ("Steps: 1,500", "Epochs: 12.5", "device: 8", "logged: 0.001", "loss: 0.125", "in training: 25.0 %"):
        assert line in text
    assert "were trained with RLT" not in text
    assert "model-index" not in text  # of an unknown data set
    found = {r.metric_type: r.metric_value for r in read_card(write_card(folder, dataset="digits")).data.eval_results}
    assert found == {"accuracy": 0.75, "tokens_computed": 0.25}
    assert "datasets" not in metadata_load(folder / "README.md")  # no id of the Hub
    again = read_card(
        write_card(folder, dataset="digits", evaluations=[{"eval_accuracy": 0.5, "threshold": None, "split": "held"}])
    )
    assert [(r.metric_name, r.metric_value) for r in again.data.eval_results] == [("Top-1 accuracy (dense)", 0.5)]
    assert again.data.eval_results[0].dataset_split == "held"
    assert "| Top-1 accuracy (dense) | 50.0 % | digits, held | this model |" in again.text
    write_card(folder, dataset="digits")  # what was measured later is not lost to training's own
    assert [r.metric_value for r in read_card(folder / "README.md").data.eval_results] == [0.5]


def test_what_a_person_wrote_stays(folder):
    paper = {
        "task": {"type": "video-classification"},
        "dataset": {"type": "digits", "name": "digits"},
        "metrics": [{"type": "accuracy", "value": 0.7}],
        "source": {"name": "somebody", "url": "https://example.org"},
    }
    write_card(folder, repo_id="user/rlt-tiny", dataset="digits", evaluations=[EVALUATION], handler=True)
    card = read_card(folder / "README.md")
    card.data["language"], card.data["co2"] = "en", {"emissions": 3, "source": None}
    card.data.tags.append("sports")
    card.data.eval_results += ModelCard(
        f"---\n{yaml.dump({'model-index': [{'name': 'x', 'results': [paper]}]})}---\n"
    ).data.eval_results
    content = (
        str(card).replace("<!-- hf_rlt: begin", "Read this first.\n\n<!-- hf_rlt: begin") + "\n## Mine\n\nThanks.\n"
    )
    (folder / "README.md").write_text(content)
    (folder / "handler.py").unlink()
    path = write_card(folder, license="mit")
    found, text = metadata_load(path), path.read_text()
    assert (found["language"], found["co2"], found["license"]) == ("en", {"emissions": 3}, "mit")
    assert "sports" in found["tags"]
    assert "endpoints-template" not in found["tags"]
    assert len(ModelCard.load(path).data.eval_results) == 5
    assert (
        text.index("Read this first.") < text.index("hf_rlt: begin") < text.index("hf_rlt: end") < text.index("Thanks.")
    )
    assert text.count('name = "user/rlt-tiny"\n') == 3
    assert "[somebody](https://example.org), not here" in text
    assert write_card(folder).read_text() == text  # again: the same


def test_another_s_card_is_not_lost(folder):
    path, before = folder / "README.md", "---\nlicense: mit\nlanguage: en\n---\n# Mine\n"
    path.write_text(before)
    files = sorted(folder.iterdir())
    with pytest.raises(ValueError, match="found another: pass --overwrite"):
        write_card(folder, handler=True)
    assert path.read_text() == before
    assert sorted(folder.iterdir()) == files
    write_card(folder, output=folder / "new.md")
    assert metadata_load(folder / "new.md")["language"] == "en"
    assert path.read_text() == before
    write_card(folder, overwrite=True)
    found = metadata_load(path)
    assert (found["license"], found["language"]) == ("mit", "en")
    assert "# Mine" not in path.read_text()


def test_a_training_ends_with_a_card_and_does_not_fail_for_it(folder, monkeypatch, caplog):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import finetune

    settings = SimpleNamespace(hub_model_id="user/mine", push_to_hub=True, output_dir=str(folder))
    trainer = SimpleNamespace(args=settings, model=SimpleNamespace(config=RLTVideoMAEConfig(**TINY)))
    data = SimpleNamespace(positions=[0.2, 0.8], num_crops=3)
    finetune.make_card(trainer, data, "sports", {"eval_accuracy": 0.5}, SimpleNamespace(model_name_or_path=BASE))
    (result,) = read_card(folder / "README.md").data.eval_results
    assert (result.metric_name, result.dataset_name) == ("Top-1 accuracy (2 x 3 views, threshold 0.1)", "sports")
    assert result.dataset_split == "validation"
    assert 'name = "user/mine"\n' in (folder / "README.md").read_text()
    (folder / "README.md").write_text("# Mine\n")
    finetune.make_card(trainer, data, "sports", {"eval_accuracy": 0.5}, SimpleNamespace(model_name_or_path=BASE))
    assert (folder / "README.md").read_text() == "# Mine\n"
    assert "The model is saved, its card is not" in caplog.text
    (folder / "README.md").unlink()
    monkeypatch.setattr(finetune, "write_card", Mock(side_effect=OSError("No space left on device")))
    finetune.make_card(trainer, data, "sports", {"eval_accuracy": 0.5}, SimpleNamespace(model_name_or_path=BASE))
    assert "its card is not: No space left on device" in caplog.text
    names = {"sports/train": "sports", "sports/clips": "clips", "k400/train.csv": "k400", "k400/small.csv": "small"}
    assert {path: finetune.set_name(path) for path in names} == names


def test_names_are_text_and_not_markup(tmp_path):
    names = ["a|b", "<script>", "[x](y)", "`c`", "d\ne"]
    folder = save(tmp_path / "odd", id2label=dict(enumerate(names)), label2id={n: k for k, n in enumerate(names)})
    text = write_card(
        folder, dataset="my | set\n# x", evaluations=[{"accuracy": float("nan"), "tokens_computed": 0.5}]
    ).read_text()
    assert r"Classes: a\|b, &lt;script>, \[x\](y), \`c\`, d e" in text
    rows = [line for line in text.splitlines() if line.startswith("| Tokens")]
    assert rows == [r"| Tokens computed | 50.0 % | my \| set # x | this model |"]
    assert [result.metric_type for result in read_card(folder / "README.md").data.eval_results] == ["tokens_computed"]


def test_folders_bases_and_licences_are_text_too(tmp_path):
    folder = save(tmp_path / 'a "b" [c](d) \\ *e*')
    (folder / "README.md").write_text(
        "---\nlicense: 'x` <b>'\nbase_model: '](javascript:x) *y*'\ndatasets: 'a b/c'\n---\n"
    )
    text = write_card(folder, overwrite=True).read_text()
    assert r'# a "b" \[c\](d) \\ \*e\*' in text
    assert r"Made from the weights of \](javascript:x) \*y\*." in text
    assert r"x\` &lt;b>" in text
    names = re.findall("^name = .*$", text, re.MULTILINE)
    assert len(names) == 3
    for line in names:
        variables = {}
        exec(line, variables)
        assert variables["name"] == folder.name


HOSTILE = [
    *("@everyone", "see https://evil.example/x", "www.evil.example", "mail@evil.example", "[a](http://evil.example)"),
    *(
        "![a](http://evil.example/a.png)",
        "<img src=x onerror=y>",
        "a | b",
        "a | @b",
        "line\nbreak",
        "`code` @x",
        "~~gone~~",
        "$$x$$",
    ),
    *(
        "<!-- hf_rlt: end -->",
        "<!-- hf_rlt: end --> @x",
        "&lt;b&gt; &amp;",
        "# title",
        "*em* _em_",
        "<https://evil.example>",
    ),
]


def inline(tokens):
    for token in tokens:
        yield from inline(token.children) if token.children else [token]


def test_nothing_in_names_becomes_a_link_a_mention_or_markup(tmp_path):
    names = {"id2label": dict(enumerate(HOSTILE)), "label2id": {name: k for k, name in enumerate(HOSTILE)}}
    folder = save(tmp_path / "model", num_labels=len(HOSTILE), **names)
    plain = write_card(save(tmp_path / "plain"), dataset="a", evaluations=[EVALUATION]).read_text()
    for hostile in HOSTILE:
        evaluation = {**EVALUATION, "split": hostile}
        card = write_card(folder, dataset=hostile.replace("/", " "), evaluations=[evaluation])
    again = write_card(folder).read_text()
    assert again == card.read_text()
    text, expected = (each.split("---\n", 2)[2] for each in (again, plain))
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    found, wanted = (list(inline(markdown.parse(each))) for each in (text, expected))
    for kind in ("link_open", "image", "html_inline", "em_open", "s_open", "softbreak", "heading_open"):
        assert [t.type for t in found].count(kind) == [t.type for t in wanted].count(kind), kind
    shown = "\n".join(token.content for token in found if token.type == "text")
    assert not re.search(r"@|evil\.example", shown)
    classes = next(line for line in text.splitlines() if line.startswith("- Classes: "))
    said = "".join(token.content for token in inline(markdown.parse(classes)))
    flat = [" ".join(name.split()) for name in HOSTILE]
    assert said == "Classes: " + ", ".join(flat).replace("<!-- hf_rlt: end --> @x", "<! -- hf_rlt: end --> @x")


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        ("config.json", "position_grid", ["[x](http://y)", 1, 1]),
        ("config.json", "position_grid", "8 x 8"),
        ("config.json", "token_keep_ratio", "<b>"),
        ("config.json", "architectures", [1]),
        ("config.json", "auto_map", ["x"]),
        ("config.json", "length_embedding", "yes"),
        ("config.json", "id2label", {"0": ["a"]}),
        ("video_preprocessor_config.json", "frame_stride", "4 [x](http://y)"),
        ("video_preprocessor_config.json", "frame_stride", True),
        ("video_preprocessor_config.json", "fps", "25"),
        ("video_preprocessor_config.json", "sampling", "<b>"),
    ],
)
def test_what_is_of_another_type_is_refused(folder, file, field, value):
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**content, field: value}))
    with pytest.raises(ValueError, match=rf"rlt-tiny.*: expected .*{field}.*(found|received) "):
        write_card(folder)


def test_logs_and_results_of_another_type_are_left_out_or_refused(folder, tmp_path):
    logs = [{"learning_rate": "1e-3"}, {"learning_rate": 2e-3}, {"tokens_computed": None}, 5]
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": "<b>", "epoch": True, "log_history": logs}))
    assert read_facts(folder).training == {"learning_rate": 2e-3}
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": 7}))
    assert read_facts(folder).training == {}
    for field in ("num_clips", "threshold", "tokens_computed"):
        (tmp_path / "evaluation.json").write_text(json.dumps({**EVALUATION, field: "<b>"}))
        with pytest.raises(ValueError, match=rf"evaluation\.json: expected {field} to be a number, found '<b>'"):
            read_evaluation(tmp_path / "evaluation.json")


def test_a_name_given_once_stays(folder):
    write_card(folder, repo_id="user/good-name", dataset="K", evaluations=[EVALUATION])
    text = write_card(folder, license="mit").read_text()
    assert "# good-name\n" in text
    assert read_card(folder / "README.md").data.model_name == "good-name"
    text = write_card(folder, repo_id="user/better").read_text()
    assert "# better\n" in text


def test_an_error_in_the_text_leaves_no_handler(folder, tmp_path):
    before = sorted(folder.iterdir())
    odd = folder.rename(tmp_path / os.fsdecode(b"a\xff"))
    with pytest.raises(ValueError, match=r"README\.md: expected names that are text"):
        write_card(odd, handler=True)
    assert [path.name for path in sorted(odd.iterdir())] == [path.name for path in before]


def test_a_base_whose_card_cannot_be_read_is_named(folder, tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "README.md").write_text("---\nlicense: [a\n---\n")
    done = run(folder, "--base-model", tmp_path / "base")
    assert done.exit_code == 2
    assert f"{tmp_path / 'base' / 'README.md'}: its metadata cannot be read" in done.stderr


@pytest.mark.parametrize(
    ("text", "source", "title"),
    [
        ("https://example.org/a.mp4", "https://example.org/a.mp4", "a"),
        ("https://example.org/a.mp4=A = B", "https://example.org/a.mp4", "A = B"),
        ("https://example.org/a.mp4?x=y.b=c", "https://example.org/a.mp4?x=y.b=c", "a"),
        ("samples/b.webm=B", "samples/b.webm", "B"),
        ("./samples/b.webm", "samples/b.webm", "b"),
    ],
)
def test_widget_examples(tmp_path, text, source, title):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "b.webm").touch()
    assert parse_widget(text, tmp_path) == {"src": source, "example_title": title}


def test_the_command_writes_and_says_what_is_missing(folder):
    evaluation = folder.parent / "evaluation.json"
    evaluation.write_text(json.dumps(EVALUATION))
    write_video(folder / "ramp.mp4", ramp(40))
    options = ("--dataset", "digits", "--evaluation", evaluation, "--widget", "ramp.mp4=A ramp", "--widget-outputs")
    done = run(folder, *options, "--handler", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["missing"] == ["base_model", "license"]
    assert [Path(path).name for path in (report["card"], *report["handler"])] == [
        "README.md",
        "handler.py",
        "requirements.txt",
    ]
    (example,) = metadata_load(folder / "README.md")["widget"]
    inputs = RLTVideoProcessor.from_pretrained(folder)(str(folder / "ramp.mp4"), return_tensors="pt")
    with torch.no_grad():
        scores = RLTVideoMAEForVideoClassification.from_pretrained(folder)(**inputs).logits[0].softmax(-1)
    shown = {row["label"]: row["score"] for row in example["output"]}
    assert (example["src"], example["example_title"]) == ("ramp.mp4", "A ramp")
    assert shown == pytest.approx({LABELS[k]: float(score) for k, score in enumerate(scores)}, abs=1e-4)
    done = run(folder, "--base-model", BASE)
    assert done.stdout == f"Written: {folder / 'README.md'}\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--license", "mit", "--base-model", BASE), "--license mit: weights from"),
        (("--base-model", "./nowhere/at/all"), "./nowhere/at/all: expected the base model as on the Hub, user/name"),
        (("--dataset", "{folder}"), ": expected the data set's name or its Hub id, user/name, received a path"),
        (("--dataset", "a b/c"), "a b/c: expected the data set as on the Hub"),
        (("--repo-id", "a b"), "a b: expected the repo id as on the Hub"),
        (("--evaluation", "nowhere.json", "--dataset", "x"), "nowhere.json: expected the evaluation.json"),
        (("--evaluation", "{folder}/config.json", "--dataset", "x"), "found no accuracy in it"),
        (("--evaluation", "{folder}/../evaluation.json"), "pass --dataset NAME"),
        (("--widget", "nowhere.mp4"), "--widget nowhere.mp4: expected an http(s) address or a file inside"),
        (("--widget", "../evaluation.json"), "expected an http(s) address or a file inside"),
        (("--widget", "https://example.org/a.mp4", "--widget-outputs"), "--widget with a file in the model's folder"),
    ],
)
def test_a_user_s_mistake_is_one_line_and_writes_nothing(folder, options, message):
    (folder.parent / "evaluation.json").write_text(json.dumps(EVALUATION))
    files = sorted(folder.iterdir())
    done = run(folder, *(word.format(folder=folder) for word in options), "--handler")
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(folder.iterdir()) == files


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "found no config.json"),
        ("{", "expected a JSON file"),
        ("[]", "expected a JSON object, found a list"),
        ('{"model_type": "videomae"}', "found videomae: convert it with hf-rlt convert"),
        ('{"model_type": "rlt_videomae", "architectures": ["RLTVideoMAEModel"]}', "expected a classifier"),
    ],
)
def test_what_is_no_model_of_ours_gets_no_card(tmp_path, config, message):
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    done = run(tmp_path)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "README.md").exists()
    assert "found no such folder" in run(tmp_path / "nowhere").stderr


def test_metadata_that_cannot_be_read_are_named(folder):
    for broken in ("---\na: [\n---\n", "---\n- a\n---\n", "---\nmodel-index: [{}]\n---\n"):
        (folder / "README.md").write_text(broken)
        done = run(folder, "--overwrite")
        assert done.exit_code == 2
        assert "README.md: its metadata cannot be read" in done.stderr
        assert (folder / "README.md").read_text() == broken


@pytest.fixture(scope="module")
def published():
    spec = importlib.util.spec_from_file_location("make_cards", ROOT / "model_cards" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_published_cards_are_what_their_generator_writes(published):
    names = {checkpoint.name for checkpoint in published.CHECKPOINTS}
    assert names == {"rlt-vit-b-k400", "rlt-vit-l-k400", "rlt-vit-h-k400", "rlt-vit-b-ssv2"}
    assert names == {path.parent.name for path in (ROOT / "model_cards").glob("*/README.md")}
    overview = (ROOT / "model_cards" / "README.md").read_text()
    for checkpoint in published.CHECKPOINTS:
        written = (ROOT / "model_cards" / checkpoint.name / "README.md").read_text()
        assert written == published.make_card(checkpoint), "run python model_cards/make.py"
        assert f"]({checkpoint.name}/README.md) | {checkpoint.base} |" in overview


def test_published_cards_hold_the_paper_s_numbers_and_none_of_ours(published):
    inference = {
        "b-k400": (0.809, 0.001),
        "l-k400": (0.847, -0.002),
        "h-k400": (0.862, -0.005),
        "b-ssv2": (None, -0.01),
    }
    for checkpoint in published.CHECKPOINTS:
        path = ROOT / "model_cards" / checkpoint.name / "README.md"
        data, text = ModelCard.load(path).data, path.read_text()
        assert not nulls(metadata_load(path))
        assert (data.license, data.base_model) == ("cc-by-nc-4.0", checkpoint.base)
        found = {r.metric_type: (r.metric_value, r.source_url) for r in data.eval_results}
        accuracy, change = inference[checkpoint.name.removeprefix("rlt-vit-")]
        assert found.pop("accuracy", (None,))[0] == accuracy
        assert found == {"accuracy_change": (change, "https://arxiv.org/abs/2411.05222")}
        assert "| this model |" not in text
        row = fine_tuning(f"ViT-{checkpoint.size.upper()}", "RLT", checkpoint.benchmark.short)
        assert ("table 1" in text) == (row is not None)
        if row is not None:
            assert f"RLT | {row.accuracy} % | {row.hours} | {row.speedup} x |" in text
    assert "| ViT-B |  |  | -1.0 |" in text


def test_a_published_card_takes_our_results_beside_the_paper_s(published, folder):
    checkpoint = published.CHECKPOINTS[0]
    (folder / "README.md").write_text(published.make_card(checkpoint))
    path = write_card(folder, repo_id="user/rlt", dataset="Kinetics-400", evaluations=[EVALUATION])
    results, text = ModelCard.load(path).data.eval_results, path.read_text()
    assert [result.metric_value for result in results if result.source_url] == [0.809, 0.001]
    assert [result.metric_value for result in results if not result.source_url] == [0.9125, 1.0, 0.9, 0.2137]
    assert "## Making this checkpoint" in text
    assert metadata_load(path)["base_model"] == checkpoint.base


def test_facts_of_a_folder(folder):
    facts = read_facts(folder)
    assert (facts.name, facts.kind, facts.threshold) == ("rlt-tiny", "rlt_videomae", 0.1)
    assert (facts.labels, facts.clip, facts.grid) == (list(LABELS.values()), (8, 32, 32), (4, 4, 4))
    assert (facts.carries_code, facts.has_handler, facts.training) == (True, False, {})
