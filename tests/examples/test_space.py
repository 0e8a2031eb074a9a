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
from helpers.tiny import TINY_VJEPA2
from hf_rlt.inference.loading import load

pytest.importorskip("gradio", reason="the Space needs gradio")
SPACE = ROOT / "examples" / "space"
sys.path.insert(0, str(SPACE))

import analysis  # noqa: E402
import app  # noqa: E402

CITY = SPACE / "clips" / "city_at_night.mp4"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WAIT = 60_000  # milliseconds


@pytest.fixture(scope="module")
def analyse():
    return analysis.Analyser(app.BUILT_IN)


def whole(analyses):
    """The last analysis, which has everything."""
    *_, found = analyses
    return found


@pytest.fixture
def without_picture(monkeypatch):
    monkeypatch.setattr(analysis, "write_animation", lambda frames, path, fps: path)


@pytest.mark.usefixtures("without_picture")
@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.7])
def test_the_analysis_agrees_with_processor_and_pipeline(analyse, tmp_path, threshold):
    at_once, found = analyse(CITY, threshold, tmp_path)
    assert (at_once.picture, at_once.tokens, at_once.seconds) == (found.picture, found.tokens, {})
    model, processor = load(str(app.BUILT_IN), threshold=threshold)
    lengths = processor(str(CITY), return_tensors="pt")["run_lengths"]
    assert (found.tokens, found.total) == (int((lengths > 0).sum()), lengths.numel())
    assert (found.longest_run, found.tubelets) == (int(lengths.max()), model.config.grid[0])
    classify = pipeline("video-classification", model=model, video_processor=processor, device="cpu")
    expected = {answer["label"]: answer["score"] for answer in classify(str(CITY), top_k=5)}
    assert found.scores == pytest.approx(expected, abs=1e-5)
    processor.threshold = None
    assert found.dense_label == classify(str(CITY), top_k=1)[0]["label"]
    assert min(found.seconds.values()) > 0


def test_a_model_of_another_family_is_analysed(tmp_path):
    folder = save_family(tmp_path / "model", "rlt_vjepa2", TINY_VJEPA2, ["falls", "grows"])
    *_, found = analysis.Analyser(folder)(CITY, 0.05, tmp_path)
    classify = pipeline("video-classification", model=str(folder), video_processor=load(str(folder), threshold=0.05)[1])
    assert found.scores == pytest.approx({each["label"]: each["score"] for each in classify(str(CITY))}, abs=1e-5)
    assert (found.total, found.tubelets) == (64, 4)
    assert found.picture.stat().st_size > 1000


@pytest.mark.usefixtures("without_picture")
def test_an_exact_number_of_tokens_has_a_slider_of_its_own_and_dense_is_dense(analyse, tmp_path):
    model = load(str(app.BUILT_IN), num_tokens=100, rule="anchor", head=True)[0]
    model.save_pretrained(tmp_path / "exact")
    for file in app.BUILT_IN.glob("*preprocessor_config.json"):
        shutil.copy(file, tmp_path / "exact")
    exact = analysis.Analyser(tmp_path / "exact")
    assert (exact.setting, exact.least, exact.start) == ("num_tokens", 0.13, 0.2)
    assert (analyse.setting, analyse.least, analyse.start) == ("threshold", 0.0, 0.1)
    dense = whole(analyse(CITY, 0.1, tmp_path)).dense_label
    for value, tokens in ((0.13, 67), (0.5, 256), (1, 512)):
        found = whole(exact(CITY, value, tmp_path))
        assert (found.tokens, found.total, found.dense_label) == (tokens, 512, dense)
    processor = load(str(tmp_path / "exact"), num_tokens=0.5)[1]
    lengths = processor(str(CITY), return_tensors="pt")["run_lengths"]
    assert int(lengths.max()) == whole(exact(CITY, 0.5, tmp_path)).longest_run


@pytest.mark.usefixtures("without_picture")
def test_the_slider_does_not_decode_again(analyse, tmp_path):
    video = shutil.copy(CITY, tmp_path / "clip.mp4")
    first = whole(analyse(video, 0.1, tmp_path))
    before = analysis.read_once.cache_info().misses
    assert whole(analyse(video, 0.4, tmp_path)).tokens < first.tokens
    assert analysis.read_once.cache_info().misses == before


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
        next(analysis.Analyser(app.BUILT_IN)(CITY, 0.1, tmp_path))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "a  b.mp4: the server has not enough memory for it."),
        (ValueError("/srv/a  b.mp4: frame 3 is damaged."), "a b.mp4: frame 3 is damaged."),
        (OSError("damaged."), "a  b.mp4: damaged."),
    ],
)
def test_an_error_is_one_line_that_hides_the_servers_folders(tmp_path, error, line):
    ((shown, *hidden),) = app.answer(Mock(side_effect=error), tmp_path, "/srv/a  b.mp4", 0.1, app.is_of_digits)
    assert shown["value"] == f"**Cannot be read.** {line}"
    assert not any(part["visible"] for part in hidden)


def test_an_answer_shows_counts_times_and_predictions_and_keeps_few_pictures(tmp_path):
    drawn = analysis.Analysis(Path(), tokens=256, total=1024, longest_run=3, tubelets=8)
    timed = {"seconds": {"dense": 0.094, "RLT": 0.036}, "scores": {"a_b": 0.7, "c": 0.3}, "dense_label": "c"}

    def analyse(video, threshold, folder):
        picture = Path(folder) / "drawn.gif"
        picture.touch()
        yield replace(drawn, picture=picture)
        yield replace(drawn, picture=picture, **timed)

    digits = str(SPACE / "clips" / "digit_grows.mp4")
    for _ in range(app.KEPT + 3):
        first, last = app.answer(analyse, tmp_path, digits, 0.1, app.is_of_digits)
        assert Path(first[1]["value"]).is_file()
    assert len(list(tmp_path.iterdir())) == app.KEPT
    assert first[0]["value"] == "## 75% skipped"  # the picture is there before the times are
    assert [part["visible"] for part in first] == [True, True, False, False]
    message, _, numbers, scores = last
    assert message["value"] == "## 75% skipped, 2.6x faster"
    assert scores["value"] == timed["scores"]
    assert numbers["value"].splitlines()[2:5] == [
        "| Tokens | 1,024 | 256 (25.0%) |",
        "| Forward pass | 94 ms | 36 ms (2.6x faster) |",
        r"| Top prediction | c | a\_b |",
    ]


def test_answers_of_the_built_in_model_are_for_its_own_clips(analyse, tmp_path):
    copy = shutil.copy(SPACE / "clips" / "digit_grows.mp4", tmp_path / "renamed.mp4")
    renamed = shutil.copy(CITY, tmp_path / "digit_grows.mp4")
    assert (app.is_of_digits(str(copy)), app.is_of_digits(str(renamed))) == (True, False)
    (tmp_path / "drawings").mkdir()
    *_, (message, _, numbers, scores) = app.answer(analyse, tmp_path / "drawings", str(renamed), 0.1, app.is_of_digits)
    assert "% skipped, " in message["value"]
    assert "Top prediction" not in numbers["value"]
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


def upload(page, path: Path) -> None:
    """Clear what is there and upload a file; return when the page has answered."""
    close = page.locator("#video button[aria-label='Clear']")
    if close.count():
        close.click()
        page.wait_for_function("document.querySelector('#message')?.innerText.includes('Choose a video')", timeout=WAIT)
    page.set_input_files("#video input[type=file]", str(path))
    page.wait_for_function(
        "document.querySelector('#numbers table') || document.querySelector('#message')?.innerText.includes('Cannot')",
        timeout=WAIT,
    )


def tokens(page) -> tuple[int, int]:
    """Return (all tokens, computed tokens) as the page shows them."""
    text = page.inner_text("#numbers").replace(",", "")
    total, computed = re.search(r"Tokens\s+(\d+)\s+(\d+) \(", text).groups()
    return int(total), int(computed)


@pytest.mark.slow
class TestPage:
    def test_upload_slider_and_bad_file(self, page, analyse, tmp_path):
        page.wait_for_selector("#numbers table", timeout=WAIT)  # it opens with an example
        found = whole(analyse(CITY, 0.1, tmp_path))
        assert tokens(page) == (found.total, found.tokens)
        upload(page, CITY)
        assert tokens(page) == (found.total, found.tokens)
        skipped = f"{1 - found.tokens / found.total:.0%} skipped, "
        assert page.inner_text("#message").startswith(skipped)
        assert not page.locator("#scores").is_visible()  # what a model of digits says of a city means nothing
        picture = page.locator("#picture img")
        picture.wait_for(timeout=WAIT)
        assert picture.evaluate("image => image.complete && image.naturalWidth") > 600
        source = picture.get_attribute("src")
        slider = page.locator("#slider input[type=range]")
        slider.focus()
        for _ in range(20):
            slider.press("ArrowRight")
        # The last value that the slider had is the one that is answered.
        wanted = whole(analyse(CITY, 0.3, tmp_path)).tokens
        limit = time.monotonic() + WAIT / 1000
        while tokens(page)[1] != wanted and time.monotonic() < limit:
            page.wait_for_timeout(100)
        assert tokens(page)[1] == wanted < found.tokens
        assert picture.get_attribute("src") != source
        bad = tmp_path / "broken.mp4"
        bad.write_bytes(b"this is no video")
        upload(page, bad)
        message = page.inner_text("#message")
        assert message.startswith("Cannot be read. broken.mp4: not a video that can be opened")
        assert page.locator("#picture img, #numbers table, #scores h2").count() == 0
        upload(page, CITY)
        assert tokens(page)[1] == wanted
        assert "skipped" in page.inner_text("#message")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    def test_a_clip_can_be_picked(self, page):
        page.get_by_text("digit_waits_long.mp4").click()
        page.wait_for_function("document.querySelector('#scores')?.innerText.includes('waits_long')", timeout=WAIT)
        assert "waits_long" in page.inner_text("#numbers")


def test_the_built_in_model_carries_no_pickle_and_no_code_and_the_clips_play_in_a_browser():
    assert {path.suffix for path in app.BUILT_IN.iterdir()} == {".md", ".json", ".safetensors"}
    for path in (SPACE / "clips").iterdir():
        assert path.stat().st_size < 100_000
        with av.open(str(path)) as container:
            assert container.streams.video[0].codec_context.name == "h264"
