# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Model cards: names are text, wrong input is refused, and the command."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import metadata_load
from markdown_it import MarkdownIt

from helpers.cards import BASE, EVALUATION, change, run
from helpers.model_folders import LABELS
from helpers.videos import ramp, write_video
from hf_rlt import RLTVideoMAEForVideoClassification, RLTVideoProcessor
from hf_rlt.hub import parse_widget, read_card, read_evaluation, read_facts, write_card

HOSTILE = [
    *("@everyone", "see https://evil.example/x", "www.evil.example", "mail@evil.example", "[a](http://evil.example)"),
    *("![a](http://evil.example/a.png)", "<img src=x onerror=y>", "a | b", "a | @b", "line\nbreak", "`code` @x"),
    *("~~gone~~", "$$x$$", "{{ title }}", "{% if x %}", "<!-- hf_rlt: end -->", "<!-- hf_rlt: end --> @x"),
    *("&lt;b&gt; &amp;", "# title", "*em* _em_", "<https://evil.example>"),
]


def inline(tokens):
    for token in tokens:
        yield from inline(token.children) if token.children else [token]


def test_nothing_in_names_becomes_a_link_a_mention_or_markup(folder, tmp_path):
    plain = Path(shutil.copytree(folder, tmp_path / "plain"))
    expected = write_card(plain, dataset="a", evaluations=[{"accuracy": 0.5}]).read_text()
    names = HOSTILE[:20]  # more are not listed
    change(folder / "config.json", id2label=dict(enumerate(names)), label2id={name: k for k, name in enumerate(names)})
    for hostile in HOSTILE:  # results on other data sets stay on the card
        path = write_card(folder, dataset=hostile.replace("/", " "), evaluations=[{"accuracy": 0.5, "split": hostile}])
    text = path.read_text()
    assert write_card(folder).read_text() == text
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    found, wanted = (list(inline(markdown.parse(each.split("---\n", 2)[2]))) for each in (text, expected))
    for kind in ("link_open", "image", "html_inline", "em_open", "s_open", "softbreak", "heading_open"):
        assert [token.type for token in found].count(kind) == [token.type for token in wanted].count(kind), kind
    assert not re.search(r"@|evil\.example", "\n".join(token.content for token in found if token.type == "text"))
    classes = next(line for line in text.splitlines() if line.startswith("- Classes: "))
    said = "".join(token.content for token in inline(markdown.parse(classes)))
    flat = ", ".join(" ".join(name.split()) for name in names)
    assert said == "Classes: " + flat.replace("<!-- hf_rlt: end --> @x", "<! -- hf_rlt: end --> @x")


def test_folders_bases_licences_and_data_sets_are_text_too(folder, tmp_path):
    odd = folder.rename(tmp_path / 'a "b" [c](d) \\ *e*')
    (odd / "README.md").write_text(
        "---\nlicense: 'x` <b>'\nbase_model: '](javascript:x) *y*'\ndatasets: 'a b/c'\n---\n"
    )
    odd_numbers = {"accuracy": float("nan"), "tokens_computed": 0.5}
    path = write_card(odd, overwrite=True, dataset="my | set\n# x", evaluations=[odd_numbers])
    text = path.read_text()
    assert r'# a "b" \[c\](d) \\ \*e\*' in text
    assert r"Made from the weights of \](javascript:x) \*y\*." in text
    assert r"x\` &lt;b>" in text
    assert "\n| Tokens computed | 50.0 % | my \\| set # x | this model |\n" in text
    assert [result.metric_type for result in read_card(path).data.eval_results] == ["tokens_computed"]
    names = re.findall("^name = .*$", text, re.MULTILINE)
    assert len(names) == 3
    for line in names:
        variables: dict = {}
        exec(line, variables)
        assert variables["name"] == odd.name


def test_an_error_in_the_text_leaves_no_handler(folder, tmp_path):
    before = sorted(path.name for path in folder.iterdir())
    odd = folder.rename(tmp_path / os.fsdecode(b"a\xff"))
    with pytest.raises(ValueError, match=r"README\.md: expected names that are text"):
        write_card(odd, handler=True)
    assert sorted(path.name for path in odd.iterdir()) == before


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        ("config.json", "position_grid", ["[x](http://y)", 1, 1]),
        ("config.json", "auto_map", ["x"]),
        ("config.json", "length_embedding", "yes"),
        ("config.json", "id2label", {"0": ["a"]}),
        ("video_preprocessor_config.json", "frame_stride", "4 [x](http://y)"),
        ("video_preprocessor_config.json", "fps", "25"),
        ("video_preprocessor_config.json", "sampling", "<b>"),
    ],
)
def test_what_is_of_another_type_is_refused(folder, file, field, value):
    change(folder / file, **{field: value})
    with pytest.raises(ValueError, match=rf"(?s)rlt-tiny.*: .*{field}.*(found|received|got) "):
        write_card(folder)


def test_logs_and_results_of_another_type_are_left_out_or_refused(folder, tmp_path):
    logs = [{"learning_rate": "1e-3"}, {"learning_rate": 2e-3}, {"tokens_computed": None}, 5]
    change(folder / "trainer_state.json", global_step="<b>", epoch=True, log_history=logs)
    assert read_facts(folder).training == {"Highest learning rate logged": "0.002"}
    change(folder / "trainer_state.json", log_history=7, global_step=None)
    assert read_facts(folder).training == {}
    (tmp_path / "evaluation.json").write_text(json.dumps({**EVALUATION, "threshold": "<b>"}))
    with pytest.raises(ValueError, match=r"evaluation\.json: expected threshold to be a number, found '<b>'"):
        read_evaluation(tmp_path / "evaluation.json")


@pytest.mark.parametrize(
    ("text", "source", "title"),
    [
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
    change(folder.parent / "evaluation.json", **EVALUATION)
    write_video(folder / "ramp.mp4", ramp(40))
    options = ("--widget", "ramp.mp4=A ramp", "--widget-outputs", "--handler", "--json")
    done = run(folder, "--dataset", "digits", "--evaluation", folder.parent / "evaluation.json", *options)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["missing"] == ["base_model", "license"]
    files = ["README.md", "handler.py", "requirements.txt"]
    assert [Path(path).name for path in (report["card"], *report["handler"])] == files
    (example,) = metadata_load(folder / "README.md")["widget"]
    inputs = RLTVideoProcessor.from_pretrained(folder)(str(folder / "ramp.mp4"), return_tensors="pt")
    with torch.no_grad():
        scores = RLTVideoMAEForVideoClassification.from_pretrained(folder)(**inputs).logits[0].softmax(-1)
    shown = {row["label"]: row["score"] for row in example["output"]}
    assert (example["src"], example["example_title"]) == ("ramp.mp4", "A ramp")
    assert shown == pytest.approx({LABELS[k]: float(score) for k, score in enumerate(scores)}, abs=1e-4)
    done = run(folder, "--base-model", "user/model", "-o", folder / "new.md")
    missing = "Missing from the card: license (set it with --license).\n"
    assert done.stdout == f"Written: {folder / 'new.md'}\n{missing}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--license", "mit", "--base-model", BASE), "--license mit: weights from"),
        (("--base-model", "./nowhere/at/all"), "./nowhere/at/all: expected the base model as on the Hub, user/name"),
        (("--dataset", "{folder}"), ": expected the data set's name or its Hub id, user/name, received a path"),
        (("--evaluation", "nowhere.json", "--dataset", "x"), "nowhere.json: expected the evaluation.json"),
        (("--evaluation", "{folder}/../evaluation.json"), "pass --dataset NAME"),
        (("--widget", "../evaluation.json"), "expected an http(s) address or a file inside"),
        (("--widget", "https://example.org/a.mp4", "--widget-outputs"), "--widget with a file in the model's folder"),
    ],
)
def test_a_user_s_mistake_is_one_line_and_writes_nothing(folder, options, message):
    change(folder.parent / "evaluation.json", **EVALUATION)
    files = sorted(folder.iterdir())
    done = run(folder, *(word.format(folder=folder) for word in options), "--handler")
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(folder.iterdir()) == files


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "expected a JSON file"),
        ("[]", "expected a JSON object, found a list"),
        ('{"model_type": "videomae"}', "found videomae: convert it with hf-rlt convert"),
        ('{"model_type": "rlt_videomae", "architectures": ["RLTVideoMAEModel"]}', "expected a classifier"),
    ],
)
def test_what_is_no_model_of_ours_gets_no_card(tmp_path, config, message):
    for folder, found in ((tmp_path / "nowhere", "found no such folder"), (tmp_path, "found no config.json")):
        assert found in run(folder).stderr
    (tmp_path / "config.json").write_text(config)
    done = run(tmp_path)
    assert (done.exit_code, message in done.stderr) == (2, True)
    assert not (tmp_path / "README.md").exists()


@pytest.mark.parametrize("broken", ["---\na: [\n---\n", "---\nmodel-index: [{}]\n---\n"])
def test_metadata_that_cannot_be_read_are_named(folder, broken):
    (folder / "README.md").write_text(broken)
    done = run(folder, "--overwrite")
    assert done.exit_code == 2
    assert "README.md: its metadata cannot be read" in done.stderr
    assert (folder / "README.md").read_text() == broken
