# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Everything that a caller may pass as a video ends in the right pixels or in one sentence."""

import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import VideoClassificationPipeline
from transformers.video_utils import VideoMetadata, default_sample_indices_fn

from helpers.stock_processor import StockProcessor
from helpers.tiny import SIDE
from helpers.videos import ramp
from hf_rlt import RLTVideoMAEForVideoClassification, RLTVideoProcessor

SIZES = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
FRAMES = np.random.default_rng(0).integers(0, 256, (8, 40, 48, 3), dtype=np.uint8)


class VideoDecoder:
    """Stands for decoders of other libraries, which have a length and give frames."""

    def __len__(self):
        return len(FRAMES)

    def __getitem__(self, index):
        return torch.from_numpy(FRAMES[index])


def make(**changes) -> RLTVideoProcessor:
    return RLTVideoProcessor(**{**SIZES, "patch_size": 8, **changes})


def pixels(video, **changes) -> torch.Tensor:
    return make()(video, return_tensors="pt", **changes)["pixel_values"]


def stock(video, **changes) -> torch.Tensor:
    return StockProcessor(**SIZES)(video, return_tensors="pt", **changes)["pixel_values_videos"]


def pictures(mode: str = "RGB") -> list[Image.Image]:
    return [Image.fromarray(frame).convert(mode) for frame in FRAMES]


def back(mode: str) -> np.ndarray:
    """Return the frames that pictures of a mode hold, as PIL converts them to RGB."""
    return np.stack([np.array(picture.convert("RGB")) for picture in pictures(mode)])


def changed(dtype) -> np.ndarray:
    return FRAMES.astype(dtype)


# Each with frames that transformers takes.
RIGHT = {
    "negative strides": (FRAMES[::-1, :, ::-1], FRAMES[::-1, :, ::-1].copy()),
    "read-only": (np.broadcast_to(FRAMES[:1], FRAMES.shape), np.repeat(FRAMES[:1], 8, 0)),
    "Fortran order": (np.asfortranarray(FRAMES), FRAMES),
    "another byte order": (changed(">i2"), changed("i2")),
    "tensors that require grad": (torch.from_numpy(changed("f4")).requires_grad_(), changed("f4")),
    "frames of half precision": (list(torch.from_numpy(FRAMES).bfloat16()), torch.from_numpy(FRAMES).bfloat16()),
    "grey pictures": (pictures("L"), back("L")),
    "pictures with a palette": (pictures("P"), back("P")),
    "pictures with transparency": (pictures("RGBA"), FRAMES),
    "pictures of several modes": (pictures()[:4] + pictures("L")[4:], np.concatenate([FRAMES[:4], back("L")[4:]])),
    "frames of both kinds": ([FRAMES[0], torch.from_numpy(FRAMES[1]), *pictures()[2:]], FRAMES),
}  # fmt: skip


@pytest.mark.parametrize(("video", "same"), RIGHT.values(), ids=RIGHT)
def test_frames_that_transformers_stumbles_over_give_their_pixels(video, same):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(pixels(video).detach(), stock(same))


ALIKE = {
    **{f"type {kind}": changed(kind) for kind in ("bool", "int8", "int64", "uint16", "uint64", "f2", "f4", "f8")},
    "grey": FRAMES[..., :1],
    "a batch": np.stack([FRAMES, FRAMES[::-1]]),
    "lists in lists": [[FRAMES], [FRAMES[::-1].copy()]],
    "one pixel": FRAMES[:, :1, :1],
    "three rows": FRAMES[:, :3],
}


@pytest.mark.parametrize("video", ALIKE.values(), ids=ALIKE)
def test_what_transformers_takes_gives_its_pixels_bit_for_bit(video):
    assert torch.equal(pixels(video), stock(video))


def test_four_channels_are_as_in_transformers_if_it_is_told_where_they_are():
    video = np.concatenate([FRAMES, FRAMES[..., :1]], axis=3)
    layout = {"input_data_format": "channels_last"}
    assert torch.equal(pixels(video, **layout), stock(video, **layout))


def test_batches_and_lists_of_frames_may_lie_beside_videos():
    expected = pixels([FRAMES, FRAMES, FRAMES])
    for videos in ([np.stack([FRAMES] * 2), FRAMES], [FRAMES, pictures(), [FRAMES]], [FRAMES, list(FRAMES), FRAMES]):
        assert torch.equal(pixels(videos), expected)


def test_files_of_pictures_three_lists_deep_are_frames(tmp_path):
    names = [str(tmp_path / f"{place}.png") for place in range(len(FRAMES))]
    for name, picture in zip(names, pictures(), strict=True):
        picture.save(name)
    assert torch.equal(pixels([[names]]), pixels(FRAMES))
    (tmp_path / "3.png").write_bytes((tmp_path / "3.png").read_bytes()[:90])
    with pytest.raises(ValueError, match=r"3\.png.* as frame 4 .*leave it out"):
        pixels([[names]])


def test_rows_of_datasets_and_bytes_of_other_kinds_are_files(video_file):
    path = video_file(frames=30)
    content, expected = path.read_bytes(), pixels(path)
    rows = {"path": None, "bytes": content}, {"path": str(path), "bytes": None}, {"path": "x", "bytes": content}
    for video in (*rows, [rows[1]], bytearray(content), memoryview(content), [[str(path)]]):
        assert torch.equal(pixels(video), expected)


def frames_with(value: float) -> np.ndarray:
    frames = changed(np.float32)
    frames[3, 4, 5, 1] = value
    return frames


LIST = "make it a list"
WRONG = {
    "nothing": (None, "Expected a video, received None: pass its path"),
    "a number": (7, "received 7: pass its path"),
    "an empty list": ([], r"Expected at least one video, received \[\]: pass"),
    "an empty string": ("", "received ''"),
    "no bytes": (b"", "<bytes>"),
    "a row that holds nothing": ({"path": None, "bytes": None}, "give it a path or bytes"),
    "a row of several columns": ({"video": FRAMES, "label": 3}, r"a dict of \['video', 'label'\]: pass the video in it"),
    "an empty video of two": ([FRAMES, []], r"Video 2 of 2: Expected a video, received \[\]: leave it out"),
    "a decoder": (VideoDecoder(), r"\.VideoDecoder: pass its path, its bytes or its frames"),
    "a decoder beside a file": (["a.mp4", VideoDecoder()], r"Video 2 of 2: .*\.VideoDecoder: pass its path"),
    "files and frames": (["a.mp4", FRAMES], "Received 1 files and 1 arrays in one list: pass them separately"),
    "a frame beside a video": ([FRAMES, FRAMES[0]], r"Video 2 of 2: .*\(40, 48, 3\).*frame\[None\]"),
    "a picture beside a video": ([pictures()[0], FRAMES], "Video 1 of 2: .*mode RGB, 48 x 40: .*list of their own"),
    "a set": ({1, 2}, LIST),
    "a generator": ((frame for frame in FRAMES), LIST),
    "a file of text": (io.StringIO("x"), 'open the file with mode "rb"'),
    "numbers": (FRAMES[:, :4, :4].tolist(), "a list of 3 that begins with 95: make it an array"),
    "a number in an array": (np.array(3), r"shape \(\) and type int64: add the axis"),
    "six dimensions": (FRAMES[None, None], r"\(1, 1, 8, 40, 48, 3\).*axis"),
    "one grey frame": (FRAMES[0, ..., 0], r"\(40, 48\) .*: add the axis .*of channels"),
    "grey frames": (FRAMES[..., 0], r"\(8, 40, 48\).*of channels"),
    "no frame": (FRAMES[:0], r"at least one frame with pixels, received an array of shape \(0, 40, 48, 3\)"),
    **{
        f"{count} channels": (np.resize(FRAMES, (8, 40, 48, count)), f"1 or 3 channels.*48, {count}.*to RGB")
        for count in (2, 4, 5)
    },
    "complex": (changed(complex), "dense frames of real numbers, .* complex128: convert"),
    "long doubles": (changed("g"), "real numbers"),
    "a complex tensor": (torch.from_numpy(changed("c8")), r"a tensor .* torch\.complex64"),
    "a sparse tensor": (torch.from_numpy(changed("f4")).to_sparse(), "dense frames"),
    "a nested tensor": (torch.nested.nested_tensor([torch.ones(8, 2), torch.ones(4, 2)]), "a nested tensor"),
    "NaN": (frames_with(float("nan")), "finite pixels, received NaN or infinity"),
    "infinity": ([FRAMES, frames_with(float("inf"))], "Video 2 of 2: Expected finite pixels"),
    "pictures of two sizes": ([*pictures()[:7], pictures()[7].resize((40, 48))], r"frame 8 after .*\(40, 48, 3\).*: resize"),
    "frames on two devices": ([torch.ones(9, 9, 3), torch.ones(9, 9, 3, device="meta")], "on meta as frame 2 after "),
    "pictures of 16 bits": ([Image.fromarray(frame[..., 0].astype(np.uint16)) for frame in FRAMES], "I;16.* frame 1: scale"),
    "pictures of floats": (pictures("F"), "mode F"),
    "one frame": ([FRAMES[:1], FRAMES[:1]], "Video 1 of 2: .*no whole tubelet"),
    "bytes of two": ([b"x", b"y"], "Video 1 of 2: <bytes>: not a video"),
}  # fmt: skip


def itself() -> list:
    """Return a list that lies in itself."""
    around: list = []
    around.append(around)
    return around


@pytest.mark.parametrize(("video", "sentence"), [*WRONG.values(), (itself(), "lists in lists")], ids=[*WRONG, "itself"])
def test_what_is_no_video_is_refused_in_one_sentence(video, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        pixels(video)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_only_files_are_read():
    for video in (None, FRAMES, {}, VideoDecoder(), io.StringIO(), 3, "", FRAMES[0], [FRAMES]):
        with pytest.raises(ValueError, match="Expected a video file, received"):
            make().decode(video)
        with pytest.raises(ValueError, match="Expected a video file, received"):
            make().fetch_videos([video])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"input_data_format": "channels_first"}, r"frames channels_first of 1 or 3 channels, received .*\(8, 40, 48, 3\)"),
        ({"do_convert_rgb": False, "image_mean": [0.5]*4, "image_std": [0.5]*4}, "Expected frames of 4 channels"),
        ({"video_metadata": []}, "video_metadata of each of 1 videos, received 0"),
        ({"video_metadata": [{}]}, r"received a dict of \[\]"),
        ({"video_metadata": {"total_num_frames": 20}, "do_sample_frames": True}, "of 8 .* received 20"),
        ({"video_metadata": {"total_num_frames": None}, "do_sample_frames": True}, "received None"),
        ({"video_metadata": {"total_num_frames": 8, "fps": 0}, "do_sample_frames": True, "fps": 2.0}, "own fps"),
        ({"video_metadata": {"total_num_frames": 8, "fps": 0}, "do_sample_frames": True, "num_frames": None, "fps": 2.0},
         "own fps"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_the_frames_are_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        pixels(FRAMES, **{"num_frames": 4, **changes})


def attempt(given) -> tuple[str, torch.Tensor | None]:
    try:
        return "", pixels(given, num_frames=8)
    except ValueError as error:
        return str(error), None


def test_any_mixture_ends_in_pixels_or_in_one_sentence(video_file):
    """Lists of all of these, in lists, seeded: right pixels, or the sentence about one of them."""
    path = str(video_file(frames=12))
    good = [FRAMES, pictures(), list(FRAMES), FRAMES.transpose(0, 3, 1, 2), torch.from_numpy(FRAMES), FRAMES[::-1]]
    bad = [video for video, _ in WRONG.values() if not hasattr(video, "__next__")]
    wanted = {id(video): pixels(video) for video in good} | {path: pixels(path, num_frames=8)}
    rng, refused = np.random.default_rng(0), 0
    for _ in range(80):
        pool = good if rng.random() < 0.4 else [*good, path, *bad] if rng.random() < 0.7 else [path]
        chosen = [pool[place] for place in rng.integers(0, len(pool), rng.integers(1, 4))]
        given = [[[video]] if rng.random() < 0.2 and video is not path else video for video in chosen]
        sentence, received = attempt(given)
        if sentence:
            refused += 1
            assert "\n" not in sentence
            assert pool is not good
            continue
        assert torch.equal(received, torch.cat([wanted[path if video is path else id(video)] for video in chosen]))
    assert 15 < refused < 65


class TestShortArrays:
    def given(self, total, processor=None, **changes):
        processor = processor or make(num_frames=16, frame_stride=4)
        out = processor(ramp(total), do_sample_frames=True, return_metadata=True, return_tensors="pt", **changes)
        assert out["pixel_values"].shape[1] == len(out["video_metadata"][0].frames_indices)
        return list(out["video_metadata"][0].frames_indices)

    def test_as_many_frames_as_asked_for_pass_as_they_are(self):
        uniform = {"sampling": "uniform"}
        for change in ({}, {"frame_stride": 1}, uniform, {"fps": 3.0}, {"position": 1.0, **uniform}):
            assert self.given(16, **change) == list(range(16))
        assert torch.equal(pixels(FRAMES, num_frames=8, do_sample_frames=True), pixels(FRAMES))

    @pytest.mark.parametrize("total", [17, 20, 31, 40, 47, 60])
    def test_arrays_shorter_than_a_clip_are_spread_as_in_transformers(self, total):
        indices = self.given(total)
        assert indices == default_sample_indices_fn(VideoMetadata(total), num_frames=16).tolist()
        assert len(set(indices)) == 16

    def test_longer_ones_are_centred(self):
        assert self.given(61) == list(range(0, 61, 4))
        assert self.given(81) == list(range(10, 71, 4))

    def test_rates_that_an_array_does_not_reach_are_spread(self):
        for fps, rate in ((20.0, 10), (5.0, 25)):
            metadata = VideoMetadata(total_num_frames=40, fps=rate)
            assert self.given(40, fps=fps, video_metadata=[metadata]) == [i * 40 // 16 for i in range(16)]

    def test_too_few_are_transformers_error(self):
        with pytest.raises(ValueError, match=r"num_frames=16 frames .* received 15"):
            self.given(15)

    def test_the_pipeline_gets_the_frames_that_it_is_given(self, tiny_config):
        processor = make(num_frames=8, frame_stride=4)
        pipe = VideoClassificationPipeline(RLTVideoMAEForVideoClassification(tiny_config()), video_processor=processor)
        videos = [FRAMES, torch.from_numpy(FRAMES), FRAMES.transpose(0, 3, 1, 2), pictures()]
        for video in videos:
            assert torch.equal(pipe.preprocess(video)["pixel_values"], pixels(FRAMES))
        alone = pipe(FRAMES)
        assert pipe([FRAMES, FRAMES]) == [alone, alone]
        assert pipe([pictures()]) == [alone]
        spread = pipe.preprocess(ramp(20))["pixel_values"]
        assert torch.equal(spread, pixels(ramp(20)[[i * 20 // 8 for i in range(8)]]))


class TestFloats:
    @pytest.mark.parametrize("kind", ["f2", "f4", "f8", "bfloat16", "pictures"])
    def test_floats_between_0_and_1_are_warned_of(self, kind):
        video = FRAMES / 255
        others = {"pictures": list(video), "bfloat16": torch.tensor(video).bfloat16()}
        video = others[kind] if kind in others else video.astype(kind)
        with pytest.warns(UserWarning, match=r"between 0 and 1.*do_rescale=False or multiply them by 255"):
            pixels(video)

    def test_nothing_else_is(self):
        floats = changed(np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for video in (np.zeros((8, 40, 48, 3)), FRAMES // 255, changed(bool), floats, floats / 127.5 - 1, [floats]):
                pixels(video)
            for changes in ({"do_rescale": False}, {"rescale_factor": 1.0}):
                pixels(floats / 255, **changes)

    def test_bytes_are_not_looked_at(self, video_file, monkeypatch):
        monkeypatch.setattr(torch, "aminmax", None)
        pixels(video_file())
        pixels(FRAMES)
