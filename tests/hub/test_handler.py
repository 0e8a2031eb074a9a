# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""handler.py, started and asked as Inference Endpoints does, with everything a sender may send."""

import base64
import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from unittest.mock import Mock

import av
import numpy as np
import pytest
import torch
from transformers import pipeline

from helpers.model_folders import LABELS, save_model
from helpers.paths import ROOT
from helpers.tiny import FRAMES, TINY
from helpers.videos import ramp, write_video
from hf_rlt.baselines import ToMeVideoMAEConfig, ToMeVideoMAEForVideoClassification
from hf_rlt.hub import write_handler
from hf_rlt.hub.card import HANDLER, REQUIREMENTS
from hf_rlt.hub.handler import LIMITS
from hf_rlt.models.run_rule import RunRule

# What the platform's server does with a custom handler, where hf_rlt is not installed.
PLATFORM = """
import base64, importlib.util, json, sys
sys.modules["hf_rlt"] = None
folder, clip = sys.argv[1:]
spec = importlib.util.spec_from_file_location("handler.EndpointHandler", folder + "/handler.py")
sys.path.insert(0, folder)
module = importlib.util.module_from_spec(spec)
sys.modules["handler.EndpointHandler"] = module
spec.loader.exec_module(module)
handler = module.EndpointHandler(folder)
body = {"inputs": base64.b64encode(open(clip, "rb").read()).decode(), "parameters": {"top_k": 3}}
result = handler(json.loads(json.dumps(body)))
try:
    handler({"inputs": "AAAA"})
except ValueError as error:
    refused = str(error)
print(json.dumps([type(handler.model).__module__, result, refused]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = save_model(tmp_path_factory.mktemp("served") / "rlt-tiny")
    write_handler(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    frames = ramp(40)
    frames[:, :16] = 90
    return write_video(tmp_path_factory.mktemp("clip") / "drawn.mp4", frames)


@pytest.fixture(scope="module")
def module(folder):
    """The handler's file in the model's folder."""
    spec = importlib.util.spec_from_file_location("handler.EndpointHandler", folder / "handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def handler(module, folder):
    return module.EndpointHandler(str(folder))


@pytest.fixture
def limited(module, handler, monkeypatch):
    """Make a function that limits the handler, which must then refuse without decoding a picture."""

    def limit(**limits):
        for name, value in limits.items():
            monkeypatch.setenv(f"HF_RLT_MAX_{name}", str(value))
        found = handler.read_limits()
        monkeypatch.setattr(handler, "limits", found)
        monkeypatch.setattr(handler, "opener", module._Opener(Path(handler.opener.arguments[0]), found))
        monkeypatch.setattr(handler, "processor", None)
        return handler

    return limit


def encoded(video: bytes | Path) -> str:
    return base64.b64encode(video if isinstance(video, bytes) else video.read_bytes()).decode()


def refused(handler, video: bytes | Path, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        handler({"inputs": encoded(video)})
    text = str(caught.value)
    assert text.startswith("inputs: ")
    assert "\n" not in text
    assert "<bytes>" not in text


def drawn(form: str, frames: int = 30, side: int | tuple[int, int] = 48, codec: str = "mpeg4", **options: str) -> bytes:
    """Make a grey video."""
    file, (width, height) = BytesIO(), side if isinstance(side, tuple) else (side, side)
    with av.open(file, "w", format=form, options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "rgb8" if codec == "gif" else "yuv420p"
        for value in range(frames):
            picture = np.full((height, width, 3), 5 * value % 200, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def patched(video: bytes, marker: bytes, offset: int, value: bytes) -> bytes:
    """Replace the bytes `offset` behind each `marker` of a video."""
    before = re.escape(marker) + b"." * offset
    return re.sub(b"(%b)%b" % (before, b"." * len(value)), lambda found: found[1] + value, video, flags=re.DOTALL)


@pytest.mark.slow
def test_answers_as_the_pipeline_where_hf_rlt_is_not_installed(folder_of_each, clip, tmp_path):
    write_handler(folder_of_each)
    for name in ("scratch", "work"):
        (tmp_path / name).mkdir()
    paths = {"TMPDIR": str(tmp_path / "scratch"), "HF_MODULES_CACHE": str(tmp_path / "modules")}
    done = subprocess.run(
        [sys.executable, "-c", PLATFORM, str(folder_of_each), str(clip)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", **paths},
        cwd=tmp_path / "work",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    where, result, message = json.loads(done.stdout)
    assert where.startswith("transformers_modules.")
    assert message.startswith("inputs: not a video that can be opened")
    expected = pipeline("video-classification", model=str(folder_of_each))(str(clip), top_k=3)
    assert [row["label"] for row in result] == [row["label"] for row in expected]
    assert [row["score"] for row in result] == pytest.approx([row["score"] for row in expected], abs=1e-6)
    assert not list((tmp_path / "scratch").iterdir())
    assert not list((tmp_path / "work").iterdir())


def test_scores_are_those_of_the_processor_bit_for_bit(handler, clip):
    inputs = handler.processor(str(clip), num_frames=FRAMES, do_sample_frames=True, return_tensors="pt")
    with torch.inference_mode():
        scores, labels = handler.model(**inputs).logits[0].softmax(-1).sort(descending=True)
    expected = [{"label": LABELS[int(k)], "score": float(score)} for score, k in zip(scores, labels, strict=True)]
    lines = base64.encodebytes(clip.read_bytes()).decode()  # with line breaks, and the prefix of a data URL
    for text in (encoded(clip), f"data:video/mp4;base64,{lines}"):
        assert handler({"inputs": text}) == expected


def test_parallel_calls_are_answered_one_by_one(handler, clip, monkeypatch):
    expected, decode, lock = handler({"inputs": encoded(clip)}), handler._decode, threading.Lock()

    def counted(video):
        assert lock.acquire(blocking=False)
        time.sleep(0.01)
        frames = decode(video)
        lock.release()
        return frames

    monkeypatch.setattr(handler, "_decode", counted)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(handler, [{"inputs": encoded(clip)}] * 4)) == [expected] * 4


def test_parameters_do_what_they_say(handler, clip):
    inputs = {"inputs": encoded(clip)}
    plain = handler(inputs)
    assert handler({**inputs, "parameters": {"top_k": 2}}) == plain[:2]
    assert handler({**inputs, "parameters": {"top_k": "99"}}) == plain
    assert handler({**inputs, "parameters": None}) == plain
    pixels = handler.processor(str(clip), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        ones = torch.ones(1, 64, dtype=torch.int64)
        dense = handler.model(pixels, run_lengths=ones).logits[0].softmax(-1).sort(descending=True).values
    assert plain[0]["score"] != pytest.approx(float(dense[0]), abs=1e-4)
    for none in (None, "None"):
        scores = [row["score"] for row in handler({**inputs, "parameters": {"threshold": none}})]
        assert scores == pytest.approx(dense.tolist(), abs=1e-6)
    assert handler({**inputs, "parameters": {"threshold": "0.5"}}) != plain


def test_a_request_takes_the_place_of_the_models_own_budget(handler, clip, monkeypatch):
    def lengths(**parameters):
        model = handler.model
        with monkeypatch.context() as patch:
            patch.setattr(handler, "model", Mock(wraps=model, device="cpu", dtype=model.dtype, config=model.config))
            handler({"inputs": encoded(clip), "parameters": parameters})
            return handler.model.call_args.kwargs["run_lengths"]

    processor = handler.processor
    pixels = processor(str(clip), return_tensors="pt")["pixel_values"]
    wanted = {limit: RunRule(limit, 2, 8).find(pixels) for limit in (0.1, 0.5, None)}
    counts = {limit: int((found > 0).sum()) for limit, found in wanted.items()}
    assert 16 < counts[0.5] < counts[0.1] < counts[None] == 64
    monkeypatch.setattr(processor, "num_tokens", 0.3)
    assert (lengths() > 0).sum() == 19
    assert (lengths(num_tokens="0.5") > 0).sum() == 32
    assert (lengths(num_tokens=20) > 0).sum() == 20
    for given, limit in ((0.1, 0.1), ("0.5", 0.5), (None, None)):
        assert torch.equal(lengths(threshold=given), wanted[limit])
    with pytest.raises(ValueError, match=r"^Expected num_tokens to be at least 16 .* received 15, "):
        lengths(num_tokens=15)
    monkeypatch.setattr(processor, "num_tokens", None)
    monkeypatch.setattr(processor, "max_tokens", 20)
    assert (lengths(threshold=0.0) > 0).sum() == 20  # an upper limit stays
    assert torch.equal(lengths(threshold=None), wanted[None])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], r"Expected a JSON object with inputs, received \[\]"),
        ({}, "base64 of a video file, received None"),
        ({"inputs": ""}, "base64 of a video file, received ''"),
        ({"inputs": b"AAAA"}, "base64 of a video file, received b'AAAA'"),
        ({"inputs": "https://example.org/clip.mp4"}, "base64 of a file, received 'https://example.org/clip.mp4'"),
        ({"inputs": "AAA"}, "Incorrect padding"),
        ({"inputs": "\u00e9" * 100}, "ordinal not in range"),
        ({"inputs": "data:video/mp4,A-A"}, "Only base64 data is allowed"),
        ({"inputs": "AAAA", "parameters": [5]}, r"top_k, threshold and num_tokens, received \[5\]"),
        ({"inputs": "AAAA", "parameters": {"num_frames": 8}}, r"received \{'num_frames': 8\}"),
        ({"inputs": "AAAA", "parameters": {"top_k": True}}, "top_k to be an integer above 0"),
        ({"inputs": "AAAA", "parameters": {"top_k": "x" * 1000}}, r"'x+\.\.\.x+'\}\.$"),
        ({"inputs": "AAAA", "parameters": {"threshold": -1}}, "threshold a number from 0 or none"),
        ({"inputs": "AAAA", "parameters": {"threshold": [0.1]}}, "threshold a number from 0 or none"),
        ({"inputs": "AAAA", "parameters": {"num_tokens": None}}, "num_tokens a number above 0"),
        ({"inputs": "AAAA", "parameters": {"num_tokens": "-0.1"}}, "num_tokens a number above 0"),
    ],
)
def test_wrong_requests_are_answered_in_one_sentence(handler, body, message):
    with pytest.raises(ValueError, match=message) as caught:
        handler(body)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_large_file_is_refused_before_it_is_decoded(limited, monkeypatch):
    handler = limited(MEGABYTES=0.5)
    monkeypatch.setattr(base64, "b64decode", None)
    with pytest.raises(ValueError, match=r"the file holds 0.75 MiB, the limit is 0.5.*HF_RLT_MAX_MEGABYTES"):
        handler({"inputs": "A" * 2**20})


@pytest.mark.parametrize("limit", ["FRAMES", "SECONDS"])
def test_a_long_video_is_refused_whatever_its_header_says(limited, tmp_path, limit):
    if limit == "FRAMES":
        video, three = drawn("avi", frames=30, side=16), struct.pack("<I", 3)
        lying = patched(patched(video, b"avih", 20, three), b"strh", 36, three)
        handler, message = limited(FRAMES=29), "the video has at least 30 frames, the limit is 29"
    else:
        video = write_video(tmp_path / "long.mp4", ramp(10), pts=[4000 * k for k in range(10)]).read_bytes()
        lying = patched(patched(video, b"mvhd", 16, struct.pack(">I", 1)), b"mdhd", 16, struct.pack(">I", 1))
        handler, message = limited(SECONDS=300), "the video lasts at least 320 seconds, the limit is 300"
    assert lying != video
    for file in (video, lying):
        refused(handler, file, message)


def test_a_video_without_times_is_as_long_as_its_frames(limited):
    video = drawn("h264", frames=40, codec="libx264")
    with av.open(BytesIO(video)) as container:
        assert {packet.pts for packet in container.demux(video=0)} == {None}
    refused(limited(SECONDS=1), video, "the limit is 1: send less")


@pytest.mark.parametrize(("form", "codec"), [("mp4", "mpeg4"), ("mp4", "libx264"), ("avi", "mpeg4")])
def test_large_pictures_are_refused_whatever_the_header_says(limited, form, codec):
    handler, video = limited(PIXELS=64 * 64), drawn(form, frames=3, side=96, codec=codec)
    order = {"mp4": ">HH", "avi": "<II"}[form]
    lying = video.replace(struct.pack(order, 96, 96), struct.pack(order, 16, 16))
    lying = lying.replace(struct.pack(">II", 96 << 16, 96 << 16), struct.pack(">II", 16 << 16, 16 << 16))
    assert lying != video
    for file in (video, lying):
        refused(handler, file, r"9,216 pixels, the limit is 4,096|more than the limit of 4,096 pixels")


GROWING = {
    "h264": lambda: drawn("h264", codec="libx264") + drawn("h264", 30, 96, "libx264"),
    "mpeg4": lambda: drawn("m4v") + drawn("m4v", 30, 96),
}


@pytest.mark.parametrize("kind", GROWING)
def test_frames_that_grow_on_the_way_are_refused(handler, monkeypatch, kind):
    monkeypatch.setitem(handler.limits, "PIXELS", 64 * 64)
    refused(handler, GROWING[kind](), r"^inputs: a frame of 96 x 96 has 9,216 pixels, the limit is 4,096")


def test_the_pixels_of_all_frames_are_limited(handler, monkeypatch, clip):
    monkeypatch.setitem(handler.limits, "TOTAL_PIXELS", 20_000)
    refused(handler, clip, r"up to its clip have at least .* pixels, the limit is 20,000.*_TOTAL_PIXELS")


def test_thin_frames_are_refused_which_would_become_large(handler, module):
    refused(handler, drawn("avi", 10, (16, 1000)), "at most 16 times as long as wide, received 16 x 1000")
    with pytest.raises(ValueError, match="received 2 x 60000"):
        module._Upload(b"", handler.limits).count(av.VideoFrame(2, 60000))


def test_the_canvas_of_a_gif_is_a_frame(handler):
    video = bytearray(drawn("gif", codec="gif"))
    struct.pack_into("<HH", video, 6, 65535, 65535)
    refused(handler, bytes(video), r"no known size, or more than the limit|cannot be opened")


def test_what_headers_announce_is_opened_elsewhere(limited, clip):
    count = struct.pack(">I", 2**26)  # samples of a small file
    video = patched(drawn("mp4", codec="libx264"), b"stsz", 4, struct.pack(">I", 1) + count)
    video = patched(video, b"stsc", 8, struct.pack(">I", 1) + count + struct.pack(">I", 1))
    handler, began = limited(PIXELS=64 * 64), time.monotonic()
    refused(
        handler,
        patched(video, b"stts", 8, count + struct.pack(">I", 1024)),
        r"not be opened within 6 seconds and 193 MiB",
    )
    assert time.monotonic() - began < 10
    with pytest.raises(AttributeError, match="decode"):  # of the next video nothing is wrong
        handler({"inputs": encoded(clip)})


def test_frames_that_all_lie_at_one_place_are_refused(handler):
    video = drawn("mov", 1, codec="rawvideo", movflags="empty_moov+default_base_moof+frag_keyframe")
    start, data, end = video.index(b"moof") - 4, video.index(b"mdat") - 4, video.index(b"mfra") - 4
    fragment, media, copies = video[start:data], video[data:end], 200
    video = video[:start] + b"".join(
        patched(fragment, b"trun", 8, struct.pack(">i", (copies - k) * len(fragment) + 8)) for k in range(copies)
    )
    refused(handler, video + media, r"its frames have more than [\d,]+: re-encode it")


def test_reading_ends_when_its_time_is_over(limited, handler, clip, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(handler.limits, "DECODING_SECONDS", 1e-4)
        refused(handler, clip, r"reading the video takes at least .* seconds, the limit is 0.0001.*_DECODING")
    refused(limited(DECODING_SECONDS=1e-4), clip, r"could not be opened within 0.0001 seconds")


def test_containers_that_are_not_listed_are_not_opened(limited):
    raw = b"YUV4MPEG2 W16 H16 F10:1 C420\n" + (b"FRAME\n" + bytes(384)) * 20
    refused(limited(), raw, r"expected a video file \(mp4, .*, received the format yuv4mpegpipe")


@pytest.mark.parametrize(
    "playlist",
    [
        "ffconcat version 1.0\nfile 'secret.mp4'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    ],
)
def test_what_names_other_files_or_addresses_is_no_video(handler, playlist):
    refused(handler, playlist.encode(), "not a video that can be opened")


def test_limits_are_read_when_the_endpoint_starts(handler, monkeypatch):
    monkeypatch.setenv("HF_RLT_MAX_SECONDS", "7")
    assert handler.read_limits() == {**LIMITS, "SECONDS": 7}
    for text in ("many", "0", "nan"):
        monkeypatch.setenv("HF_RLT_MAX_FRAMES", text)
        with pytest.raises(ValueError, match=f"HF_RLT_MAX_FRAMES: expected a number above 0, received '{text}'"):
            handler.read_limits()


def test_an_old_transformers_is_named(module, folder, monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "4.51.3")
    with pytest.raises(ImportError, match=r"transformers>=5.18.*4.51.3"):
        module.EndpointHandler(str(folder))


def test_the_folder_gets_handler_and_requirements_of_the_package_and_loses_no_other_file(folder, tmp_path):
    project = (ROOT / "pyproject.toml").read_text()
    assert all(f'"{requirement}"' in project for requirement in REQUIREMENTS)
    (tmp_path / "handler.py").write_text("class EndpointHandler: pass\n")
    for name in ("config.json", "configuration_rlt_videomae.py", "modeling_rlt_videomae.py"):
        shutil.copy(folder / name, tmp_path)
    with pytest.raises(ValueError, match="found another's file: pass --overwrite"):
        write_handler(tmp_path)
    assert not (tmp_path / "requirements.txt").exists()
    handler, requirements = written = write_handler(tmp_path, overwrite=True)
    assert (handler.read_text(), requirements.read_text().split()) == (HANDLER.read_text(), list(REQUIREMENTS))
    assert write_handler(tmp_path) == written  # its own it may renew


def test_a_baseline_carries_no_code_and_cannot_be_served(tmp_path):
    ToMeVideoMAEForVideoClassification(ToMeVideoMAEConfig(**TINY, r=4)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="expected a folder with the model's code"):
        write_handler(tmp_path)
    assert not (tmp_path / "handler.py").exists()


def test_the_server_on_the_page_answers_and_maps_refusals_to_400(handler, module, clip, monkeypatch):
    testclient = pytest.importorskip("fastapi.testclient", reason="the page's server needs fastapi")
    code = re.search(r"```python\n(from fastapi.*?)```", (ROOT / "docs" / "hub.md").read_text(), re.DOTALL)[1]
    monkeypatch.setitem(sys.modules, "handler", module)
    monkeypatch.setattr(module, "EndpointHandler", lambda: handler)
    page: dict = {}
    exec(code, page)
    client = testclient.TestClient(page["app"])
    body = {"inputs": encoded(clip), "parameters": {"top_k": 2}}
    assert client.get("/health").status_code == 200
    answer = client.post("/", json=body)
    assert (answer.status_code, answer.json()) == (200, handler(body))
    answer = client.post("/", json={"inputs": 5})
    assert (answer.status_code, "received 5" in answer.json()["error"]) == (400, True)
