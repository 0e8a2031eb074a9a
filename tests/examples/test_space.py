# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The Space: its analysis, its answers, and the page in a real browser."""

import re
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import av
import pytest
from transformers import pipeline

from helpers.model_folders import save_family
from helpers.paths import ROOT
from helpers.tiny import TINY, TINY_VJEPA2
from hf_rlt.inference.loading import load
from hf_rlt.inference.measure import analytic_flops

pytest.importorskip("gradio", reason="the Space needs gradio")
SPACE = ROOT / "examples" / "space"
sys.path.insert(0, str(SPACE))

import analysis  # noqa: E402
import answers  # noqa: E402
import app  # noqa: E402
import choices  # noqa: E402

CITY = SPACE / "clips" / "city_at_night.mp4"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WAIT = 120_000  # milliseconds, on a busy machine
START = choices.Choice("threshold", 0.1, choices.NO_LIMIT, 0.25)


@pytest.fixture(scope="module")
def analyse():
    return analysis.Analyser(*choices.open_model(choices.DIGITS))


def of(rule="threshold", threshold=0.1, limit=choices.NO_LIMIT, share=0.25):
    """Settings of the rule, as the page's controls say them."""
    return choices.Choice(rule, threshold, limit, share).settings()


def whole(analyses):
    """The last analysis, which has everything."""
    *_, found = analyses
    return found


@pytest.fixture
def without_picture(monkeypatch):
    monkeypatch.setattr(analysis, "write_animation", lambda frames, path, fps: path)


@pytest.mark.usefixtures("without_picture")
@pytest.mark.parametrize(
    "choice",
    [
        {"threshold": 0.0},
        {},
        {"threshold": 0.7},
        {"rule": "anchor"},
        {"rule": "optimal"},
        {"limit": choices.AT_MOST},
        {"limit": choices.EXACTLY, "share": 0.5},
    ],
)
def test_the_analysis_agrees_with_processor_and_pipeline(analyse, tmp_path, choice):
    at_once, found = analyse(CITY, of(**choice), tmp_path)
    assert (at_once.picture, at_once.tokens, at_once.seconds) == (found.picture, found.tokens, {})
    model, processor = load(str(choices.BUILT_IN), **of(**choice))
    lengths = processor(str(CITY), return_tensors="pt")["run_lengths"]
    assert found.tokens == {"dense": lengths.numel(), "rlt": int((lengths > 0).sum())}
    assert found.flops["rlt"] == analytic_flops(model.config, found.tokens["rlt"]) <= found.flops["dense"]
    assert (found.rule, found.token) == (processor.run_rule.describe(), (2, 8, 8))
    classify = pipeline("video-classification", model=model, video_processor=processor, device="cpu")
    expected = {answer["label"]: answer["score"] for answer in classify(str(CITY), top_k=5)}
    assert found.scores == pytest.approx(expected, abs=1e-5)
    dense = load(str(choices.BUILT_IN), threshold=None)
    classify = pipeline("video-classification", model=dense[0], video_processor=dense[1], device="cpu")
    assert found.dense_label == classify(str(CITY), top_k=1)[0]["label"]
    assert min(found.seconds.values()) > 0


def test_a_model_of_another_family_is_analysed(tmp_path):
    folder = save_family(tmp_path / "model", "rlt_vjepa2", TINY_VJEPA2, ["falls", "grows"])
    *_, found = analysis.Analyser(*choices.open_model(str(folder)))(CITY, of(threshold=0.05), tmp_path)
    classify = pipeline("video-classification", model=str(folder), video_processor=load(str(folder), threshold=0.05)[1])
    assert found.scores == pytest.approx({each["label"]: each["score"] for each in classify(str(CITY))}, abs=1e-5)
    assert (found.tokens["dense"], found.token) == (64, (2, 8, 8))
    assert found.picture.stat().st_size > 1000


def test_the_untrained_model_has_the_patches_of_real_ones_and_heat_is_in_colour(tmp_path):
    still = analysis.Analyser(*choices.open_model(choices.UNTRAINED))
    pictures = []
    for heat in (False, True):
        (tmp_path / str(heat)).mkdir()
        found = next(still(SPACE / "clips" / "camera_stands_still.mp4", of(), tmp_path / str(heat), heat))
        assert (found.tokens["dense"], found.token) == (1568, (2, 16, 16))
        assert found.tokens["rlt"] < 0.2 * 1568
        with av.open(str(found.picture)) as container:
            (*_, last) = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
        right = last[:, last.shape[1] // 2 + analysis.GAP :].astype(int)
        pictures.append((right.max(-1) - right.min(-1)).mean())
    assert pictures[0] < 20 < 50 < pictures[1]


@pytest.mark.usefixtures("without_picture")
def test_too_few_tokens_are_raised_to_the_first_tubelets(analyse, tmp_path):
    for limit in (choices.AT_MOST, choices.EXACTLY):
        assert whole(analyse(CITY, of(limit=limit, share=0.05), tmp_path)).tokens["rlt"] == 64


@pytest.mark.usefixtures("without_picture")
def test_moving_a_slider_does_not_decode_again(analyse, tmp_path):
    video = shutil.copy(CITY, tmp_path / "clip.mp4")
    first = whole(analyse(video, of(), tmp_path))
    before = analysis.read_once.cache_info().misses
    assert whole(analyse(video, of(threshold=0.4), tmp_path)).tokens["rlt"] < first.tokens["rlt"]
    assert analysis.read_once.cache_info().misses == before


@pytest.mark.parametrize(
    ("rule", "choice"),
    [
        ({"threshold": 0.2, "rule": "anchor"}, ("anchor", 0.2, choices.NO_LIMIT, 0.25)),
        ({"threshold": None}, ("threshold", 0.1, choices.NO_LIMIT, 0.25)),
        ({"num_tokens": 128}, ("threshold", 0.1, choices.EXACTLY, 0.25)),
        ({"max_tokens": 0.5}, ("threshold", 0.1, choices.AT_MOST, 0.5)),
    ],
)
def test_the_page_starts_with_the_models_own_rule(rule, choice):
    config = load(str(choices.BUILT_IN), **rule)[0].config
    assert choices.Choice.of(config) == choice


def test_a_visitor_opens_public_models_of_the_hub_and_no_folder_of_the_server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name").mkdir(parents=True)
    names, asked, size = choices.model_names("/srv/own"), [], [1]

    def model_info(self, name, *, files_metadata, token):
        asked.append((name, files_metadata, token))
        return Mock(siblings=[Mock(size=size[0]), Mock(size=None)])

    monkeypatch.setattr(choices.HfApi, "model_info", model_info)
    for name in (*names, "org/other"):
        choices.check_choice(name, names)
    for name in ("/etc", "../up", "org/name", "a/b/c", "org/..", "", "name", None):
        with pytest.raises(ValueError, match="Expected the id of a model on the Hub"):
            choices.check_choice(name, names)
    assert len(asked) == 1
    choices.check_choice("org/other", names)
    assert len(asked) == 1  # the Hub is asked once, not at each move of a slider
    choices.check_public.cache_clear()
    size[0] = 5_000_000_000
    with pytest.raises(
        ValueError, match=r"org/other: expected at most 4 GB of files, found 5\.0: run the page yourself"
    ):
        choices.check_choice("org/other", names)
    assert set(asked) == {("org/other", True, False)}  # never with the server's token


def test_a_model_that_would_keep_everybody_waiting_is_refused(monkeypatch):
    monkeypatch.setattr(analysis, "MOST_FLOPS", 1e8)
    with pytest.raises(ValueError, match=r"expected at most 0\.0001 TFLOP per clip, found 0\.0: run the page yourself"):
        analysis.Analyser(*choices.open_model(choices.DIGITS))


def test_sliders_reach_what_the_model_says_and_a_picked_clip_keeps_the_model(tmp_path):
    for rule, ends in (
        ({"threshold": 2.5}, (0, 2.5, 0.05, 1)),
        ({"num_frames": 64, "num_tokens": 16}, (0, 1, 0.03, 1)),
    ):
        folder = save_family(tmp_path / str(len(rule)), "rlt_videomae", {**TINY, **rule}, ["falls", "grows"])
        controls = {each.elem_id: each for each in app.build(str(folder)).blocks.values() if hasattr(each, "minimum")}
        threshold, share = controls["threshold"], controls["share"]
        assert (threshold.minimum, threshold.maximum, share.minimum, share.maximum) == ends
        assert threshold.minimum <= threshold.value <= threshold.maximum
        assert share.minimum <= share.value <= share.maximum
    numbers = {Path(clip).stem: number for number, clip in enumerate(choices.CLIPS)}
    for clip, before, after in (
        ("city_at_night", "org/own", "org/own"),
        ("city_at_night", choices.DIGITS, "first"),
        ("digit_grows", "org/own", choices.DIGITS),
    ):
        assert app._picked("first", numbers[clip], before) == (choices.CLIPS[numbers[clip]], after)


def test_a_rule_that_needs_a_number_of_tokens_gets_one():
    assert app._used("optimal", choices.NO_LIMIT)[0] == choices.EXACTLY
    assert [app._used("anchor", limit)[0] for limit in (choices.NO_LIMIT, choices.AT_MOST)] == ["No limit", "At most"]
    assert of(rule="optimal")["budget_groups"] == 1


def test_the_hub_is_offered_only_where_there_is_one(monkeypatch):
    for offline in (True, False):
        monkeypatch.setattr(choices.constants, "HF_HUB_OFFLINE", offline)
        assert (choices.ON_THE_HUB[0] in choices.model_names()) == (not offline)


@pytest.mark.parametrize(
    ("name", "limit", "message"),
    [
        ("PIXELS", 5000, r"a frame of 256 x 144 has 36,864 pixels, the limit is 5,000"),
        ("FRAMES", 20, r"the video has at least 21 frames, the limit is 20"),
        ("SECONDS", 0.5, r"the video lasts at least 0\.6 seconds, the limit is 0\.5"),
    ],
)
def test_what_is_too_large_is_not_decoded(monkeypatch, tmp_path, name, limit, message):
    monkeypatch.setenv(f"HF_RLT_MAX_{name}", str(limit))
    monkeypatch.setattr(analysis, "read_clip", lambda *arguments: pytest.fail("was read"))
    with pytest.raises(ValueError, match=f"^{message}.*HF_RLT_MAX_{name}"):
        next(analysis.Analyser(*choices.open_model(choices.DIGITS))(CITY, of(), tmp_path))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "a  b.mp4: the server has not enough memory for it."),
        (ValueError("/srv/a  b.mp4: frame 3 is damaged."), "a b.mp4: frame 3 is damaged."),
        (OSError("damaged."), "a  b.mp4: damaged."),
    ],
)
def test_an_error_is_one_line_that_hides_the_servers_folders(tmp_path, monkeypatch, error, line):
    monkeypatch.setattr(answers, "Analyser", lambda *parts: Mock(side_effect=error))
    ((shown, *hidden),) = answered(tmp_path, "/srv/a  b.mp4")
    assert shown == f"**Cannot be read.** {line}"
    assert not any(part["visible"] for part in hidden)


def answered(drawings, video, model=choices.DIGITS):
    return list(answers.answer(drawings, choices.model_names(), str(video), model, False, *START))


def test_a_model_that_cannot_be_opened_is_said(tmp_path, monkeypatch):
    strange = tmp_path / "strange"
    shutil.copytree(choices.BUILT_IN, strange)
    (strange / "video_preprocessor_config.json").write_text('["no object"]')
    monkeypatch.setattr(choices.HfApi, "model_info", Mock(side_effect=OSError("org/none: is\nnot there.")))
    monkeypatch.setattr(choices, "ON_THE_HUB", (str(strange),))
    monkeypatch.setattr(choices.constants, "HF_HUB_OFFLINE", False)
    for model, words in (
        ("/etc", "Expected the id of a model on the Hub"),
        ("org/none", "org/none: is not there."),
        (str(strange), "strange"),
    ):
        ((shown, *hidden),) = answered(tmp_path, CITY, model)
        assert shown.startswith("**Cannot be opened.** ")
        assert words in shown
        assert "\n" not in shown
        assert not any(part["visible"] for part in hidden)


def test_an_answer_shows_counts_times_and_predictions_and_keeps_few_pictures(tmp_path, monkeypatch):
    counts = {"tokens": {"dense": 1024, "rlt": 256}, "flops": {"dense": 87_000_000_000, "rlt": 20_000_000_000}}
    drawn = analysis.Analysis(Path(), "threshold 0.1", (2, 8, 8), **counts)
    timed = {"seconds": {"dense": 0.094, "rlt": 0.036}, "scores": {"a_b": 0.7, "c": 0.3}, "dense_label": "c"}

    def analyse(video, settings, folder, heat):
        assert (settings, heat) == (of(), False)
        picture = Path(folder) / "clip.mp4"
        picture.touch()
        yield replace(drawn, picture=picture)
        yield replace(drawn, picture=picture, **timed)

    monkeypatch.setattr(answers, "Analyser", lambda *parts: analyse)
    for _ in range(answers.KEPT + 3):
        first, last = answered(tmp_path, SPACE / "clips" / "digit_grows.mp4")
        assert Path(first[1]["value"]).is_file()
    assert len(list(tmp_path.iterdir())) == answers.KEPT
    assert first[0] == "## 75% skipped"  # the picture is there before the times are
    assert [part["visible"] for part in first[1:]] == [True, True, False]
    message, _, figures, scores = last
    assert message == "## 75% skipped, 2.6x faster"
    assert scores["value"] == timed["scores"]
    lines = figures["value"].splitlines()
    assert lines[2:6] == [
        "| Tokens | 1,024 | 256 (25.0%) |",
        "| GFLOPs | 87 | 20 (4.3x fewer) |",
        "| Forward pass | 94 ms | 36 ms (2.6x faster) |",
        r"| Top prediction | c | a\_b |",
    ]
    assert lines[-1] == "Rule: threshold 0.1. One token is 2 frames of 8 x 8 pixels."


def test_answers_of_the_built_in_model_are_for_its_own_clips(tmp_path):
    copy = shutil.copy(SPACE / "clips" / "digit_grows.mp4", tmp_path / "renamed.mp4")
    renamed = shutil.copy(CITY, tmp_path / "digit_grows.mp4")
    known = [choices.knows(choices.DIGITS, str(video)) for video in (copy, renamed)]
    assert known == [True, False]
    assert not choices.knows(choices.UNTRAINED, str(copy))
    assert choices.knows("org/name", str(renamed))
    (tmp_path / "drawings").mkdir()
    *_, (message, _, figures, scores) = answered(tmp_path / "drawings", renamed)
    assert "% skipped, " in message
    assert "Top prediction" not in figures["value"]
    assert not scores["visible"]


@pytest.fixture(scope="module")
def address():
    if CHROMIUM is None:
        pytest.skip("no chromium: the page is not tested")
    page = app.build()
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, theme=app.THEME, max_file_size=app.MAX_FILE_SIZE)
    yield url
    page.close()


@pytest.fixture(scope="module")
def browser(address):
    sync_api = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def page(request, browser, address):
    page = browser.new_page(viewport=dict(zip(("width", "height"), request.param, strict=True)))
    page.goto(address)
    page.wait_for_selector("#video")
    yield page
    page.close()


def upload(page, path: Path) -> float:
    """Clear what is there and upload a file; return the seconds until it is drawn, when the page has answered."""
    close = page.locator("#video button[aria-label='Clear']")
    if close.count():
        close.click()
        page.wait_for_function("document.querySelector('#message')?.innerText.includes('Choose a video')", timeout=WAIT)
    start = time.monotonic()
    page.set_input_files("#video input[type=file]", str(path))
    page.wait_for_function("/skipped|Cannot/.test(document.querySelector('#message')?.innerText)", timeout=WAIT)
    seconds = time.monotonic() - start
    page.wait_for_function("/faster|slower|Cannot/.test(document.querySelector('#message')?.innerText)", timeout=WAIT)
    return seconds


def tokens(page) -> tuple[int, int]:
    """Return (all tokens, computed tokens) as the page shows them."""
    text = page.inner_text("#figures").replace(",", "")
    total, computed = re.search(r"Tokens\s+(\d+)\s+(\d+) \(", text).groups()
    return int(total), int(computed)


def wait_for_tokens(page, wanted: dict[str, int]) -> None:
    """Wait until the page shows these numbers: of the events of a slider, the last one is answered."""
    limit = time.monotonic() + WAIT / 1000
    while tokens(page) != tuple(wanted.values()) and time.monotonic() < limit:
        page.wait_for_timeout(100)
    assert tokens(page) == tuple(wanted.values())


@pytest.mark.slow
class TestPage:
    def test_it_opens_with_a_clip_that_plays(self, page):
        page.wait_for_selector("#figures table", timeout=WAIT)
        assert tokens(page)[0] == 1568
        video = page.locator("#picture video")
        video.wait_for(timeout=WAIT)
        page.wait_for_function("document.querySelector('#picture video').currentTime > 0.3", timeout=WAIT)
        assert video.evaluate("video => [video.videoWidth, video.videoHeight, video.loop]") == [904, 448, True]
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    def test_upload_slider_rule_and_bad_file(self, page, analyse, tmp_path):
        page.get_by_text("Model, rule and budget").click()
        page.get_by_label("Model", exact=True).click()
        page.get_by_role("option", name=choices.DIGITS).click()
        bad = tmp_path / "broken.mp4"
        bad.write_bytes(b"this is no video")
        upload(page, bad)
        assert page.inner_text("#message").startswith("Cannot be read. broken.mp4: not a video that can be opened")
        assert page.locator("#picture video, #figures table, #scores h2").count() == 0
        assert upload(page, CITY) < 20  # on a busy machine
        wait_for_tokens(page, whole(analyse(CITY, of(), tmp_path)).tokens)
        assert not page.locator("#scores").is_visible()  # what a model of digits says of a city means nothing
        source = page.locator("#picture video").get_attribute("src")
        slider = page.locator("#threshold input[type=range]")
        slider.focus()
        for _ in range(20):
            slider.press("ArrowRight")
        wait_for_tokens(page, whole(analyse(CITY, of(threshold=0.3), tmp_path)).tokens)
        assert page.locator("#picture video").get_attribute("src") != source
        page.get_by_label("optimal").click()
        wait_for_tokens(page, whole(analyse(CITY, of(rule="optimal"), tmp_path)).tokens)
        page.locator("#threshold").wait_for(state="hidden", timeout=WAIT)
        assert page.get_by_label("Exactly").is_checked()  # this rule needs a number of tokens

    def test_a_clip_can_be_picked(self, page):
        page.locator(".gallery-item").last.click()
        page.wait_for_function("document.querySelector('#scores')?.innerText.includes('waits_long')", timeout=WAIT)
        assert "waits_long" in page.inner_text("#figures")


def test_the_built_in_model_carries_no_pickle_and_no_code_and_the_clips_play_in_a_browser():
    assert {path.suffix for path in choices.BUILT_IN.iterdir()} == {".md", ".json", ".safetensors"}
    for path in (SPACE / "clips").iterdir():
        assert path.stat().st_size < 100_000
        with av.open(str(path)) as container:
            assert container.streams.video[0].codec_context.name == "h264"
