# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Pictures of what RLT computes: greyed and coloured clips, sheets, GIFs, MP4s, and `hf-rlt draw`."""

import json
import sys
from pathlib import Path

import av
import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from typer.testing import CliRunner

from helpers.videos import ramp, write_video
from hf_rlt import RLTVideoProcessor
from hf_rlt.cli import app
from hf_rlt.drawing import (
    animated_rows,
    draw_clip,
    draw_sheet,
    draw_video,
    label_rows,
    read_clip,
    write_animation,
    write_drawing,
)
from hf_rlt.drawing.overlays import GAP, MARGIN, colour_runs, grey_dropped, pixels_to_frames, run_legend

SIDE = {"height": 64, "width": 64}


def small(**settings) -> RLTVideoProcessor:
    sizes = {"size": {"shortest_edge": 64}, "crop_size": SIDE, "patch_size": 16}
    return RLTVideoProcessor(**{"num_frames": 8, "frame_stride": 1, **sizes, **settings})


def moving_square(frames: int, height: int = 96, width: int = 128) -> np.ndarray:
    """Returns frames of a smooth background that stands still, over which a bright square moves to the right."""
    rows, columns = np.mgrid[:height, :width]
    background = np.stack([rows, columns, 128 + 0 * rows], -1).astype(np.uint8)
    pixels = np.stack([background] * frames)
    for i in range(frames):
        pixels[i, 40:56, 4 * i : 4 * i + 24] = 250
    return pixels


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "square.mp4", moving_square(24), rate=10)


def level(frame: np.ndarray) -> int:
    """Returns which frame of a `ramp` this is."""
    return round((float(np.median(frame)) - 10) / 5)


def read_back(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


class TestColours:
    grid, tubelet, patch = (3, 2, 2), 2, (4, 8)

    def example(self):
        rng = np.random.default_rng(0)
        frames = rng.integers(0, 256, (7, 9, 17, 3), np.uint8)  # a frame, a row and a column beyond the grid
        # (t, h, w): a run over all of the clip; 1 and 2; 2 and a place left out; all three new
        lengths = torch.tensor([[[3, 1], [2, 1]], [[0, 2], [0, 1]], [[0, 0], [0, 1]]]).flatten()
        covering = np.array([[[3, 1], [2, 1]], [[3, 2], [2, 1]], [[3, 2], [0, 1]]])
        return frames, lengths, covering

    def test_runs_are_coloured_by_their_length(self):
        frames, lengths, covering = self.example()
        drawn = colour_runs(frames, lengths, self.tubelet, self.patch, "viridis", strength=0.5)
        for f, y, x in np.ndindex(7, 9, 17):
            red, green, blue = (float(value) for value in frames[f, y, x])
            grey = 0.299 * red + 0.587 * green + 0.114 * blue
            wanted = [grey] * 3
            if f < 6 and y < 8 and x < 16 and covering[f // 2, y // 4, x // 8]:
                colour = matplotlib.colormaps["viridis"]([0.0, 0.5, 1.0], bytes=True)[
                    covering[f // 2, y // 4, x // 8] - 1
                ]
                wanted = [0.5 * grey + 0.5 * float(value) for value in colour[:3]]
            assert np.abs(drawn[f, y, x] - np.array(wanted)).max() <= 0.51, (f, y, x)

    def test_dropped_tubelets_are_greyed(self):
        frames, lengths, _ = self.example()
        drawn = grey_dropped(frames, lengths, self.tubelet, self.patch, grey=100, strength=0.5)
        computed = (lengths > 0).reshape(self.grid).numpy()
        for f, y, x in np.ndindex(7, 9, 17):
            dropped = f < 6 and y < 8 and x < 16 and not computed[f // 2, y // 4, x // 8]
            wanted = frames[f, y, x] * 0.5 + 50 if dropped else frames[f, y, x]
            assert np.abs(drawn[f, y, x] - wanted).max() <= 0.5, (f, y, x)

    def test_the_legend_has_the_colours_in_their_order(self):
        legend = run_legend(4, 200, "viridis", margin=50)
        wanted = matplotlib.colormaps["viridis"](np.linspace(0, 1, 4), bytes=True)[:, :3]
        assert legend.shape[1] == 250
        assert legend[2, [75, 125, 175, 225]].tolist() == wanted.tolist()

    def test_wrong_run_lengths_and_colours_are_refused(self):
        frames, lengths, _ = self.example()
        for draw in (grey_dropped, colour_runs):
            with pytest.raises(ValueError, match=r"Expected 12 run lengths for 7 frames of 9x17, received 11"):
                draw(frames, lengths[:-1], self.tubelet, self.patch)
        with pytest.raises(ValueError, match="received 'rainbows'"):
            colour_runs(frames, lengths, self.tubelet, self.patch, "rainbows")


class TestClip:
    def test_decisions_are_the_processors(self, clip):
        drawn = draw_clip(clip, small(frame_stride=2), (0.05, 1.0, None), heat=True)
        for row, threshold in enumerate((0.05, 1.0, None)):
            made = small(frame_stride=2, threshold=threshold)(str(clip), return_tensors="pt")
            assert torch.equal(drawn.run_lengths[row], made["run_lengths"][0])
            assert drawn.computed[row] == pytest.approx((made["run_lengths"] > 0).float().mean().item())
            assert np.array_equal(drawn.greyed[row], grey_dropped(drawn.frames, made["run_lengths"][0]))
            assert np.array_equal(drawn.heat[row], colour_runs(drawn.frames, made["run_lengths"][0]))
        frames = pixels_to_frames(made["pixel_values"][0], small().image_mean, small().image_std)
        assert np.abs(drawn.frames.astype(int) - frames).max() <= 1
        assert drawn.grid == (4, 4, 4)
        assert len(set(drawn.computed)) == 3

    @pytest.mark.parametrize("settings", [{}, {"do_resize": False}, {"do_center_crop": False}])
    def test_a_larger_drawing_shows_the_same_decisions_on_the_same_crop(self, clip, settings):
        once, thrice = (draw_clip(clip, small(**settings), (0.1,), scale=scale) for scale in (1, 3))
        assert torch.equal(once.run_lengths, thrice.run_lengths)
        assert thrice.frames.shape[1:3] == tuple(3 * side for side in once.frames.shape[1:3])
        # The middle of each patch is grey in both or in neither.
        grey = [(drawn.greyed[0] != drawn.frames).any(-1) for drawn in (once, thrice)]
        assert (grey[0][:, 8::16, 8::16] == grey[1][:, 25::48, 25::48]).all()
        assert 0.2 < grey[0].mean() < 0.9
        smaller = [
            np.asarray(Image.fromarray(f).resize(once.frames.shape[2:0:-1], Image.BOX), int) for f in thrice.frames
        ]
        assert np.abs(np.stack(smaller) - once.frames).mean() < 3

    def test_the_rate_is_that_of_the_video(self, video_file):
        even = video_file(frames=40)  # 10 frames a second
        assert draw_clip(even, small(frame_stride=4)).fps == pytest.approx(2.5)
        assert draw_clip(even, small(fps=5.0)).fps == 5
        assert draw_clip(even, small(sampling="uniform")).fps == pytest.approx(2, abs=0.1)
        short = video_file("short.mp4", frames=5)
        assert draw_clip(short, small(frame_stride=2)).fps == pytest.approx(5)
        uneven = video_file("uneven.mp4", frames=8, pts=[0, 10, 20, 30, 70, 80, 90, 140])
        assert draw_clip(uneven, small()).fps == pytest.approx(7 / 1.4, rel=0.02)

    def test_a_clip_begins_where_it_is_asked_to(self, video_file):
        video = video_file(frames=40)
        for start, first in ((0, 0), (1.0, 10), (1.26, 12), (3.9, 39)):
            frames, _ = read_clip(video, small(frame_stride=2), start)
            assert [level(frame) for frame in frames] == [min(first + 2 * i, 39) for i in range(8)]
        frames, _ = read_clip(video, small(frame_stride=2))
        assert level(frames[0]) == 12  # its middle
        with pytest.raises(ValueError, match=r"Expected a start within the video's 4.00 seconds, received 5"):
            read_clip(video, small(), 5)

    @pytest.mark.parametrize(
        ("settings", "options", "wanted"),
        [
            ({}, {}, list(range(40))),
            ({"frame_stride": 3}, {}, list(range(0, 40, 3))),
            ({"frame_stride": 3}, {"start": 1.0, "seconds": 2.0}, [10, 13, 16, 19, 22, 25, 28]),
            ({"fps": 5.0}, {"seconds": 2.0}, list(range(0, 20, 2))),
            ({"fps": 20.0}, {"start": 3.5}, [35, 35, 36, 36, 37, 37, 38, 38, 39, 39]),
            ({"sampling": "uniform"}, {}, [2, 7, 12, 17, 22, 27, 32, 37]),
        ],
    )
    def test_consecutive_clips_cover_the_video(self, video_file, settings, options, wanted):
        clips = list(draw_video(video_file(frames=40), small(**settings), (0.1, 0.2), heat=True, **options))
        assert [level(frame) for drawn in clips for frame in drawn.frames] == wanted
        assert all(len(drawn.frames) == 8 for drawn in clips[:-1])
        for drawn in clips:
            assert drawn.run_lengths.shape == (2, 64)
            assert {len(rows) for rows in (*drawn.greyed, *drawn.heat)} == {len(drawn.frames)}

    def test_each_of_them_is_what_the_model_would_see(self, clip):
        *_, last = draw_video(clip, small(), (0.1,))
        frames = read_back(clip)[16:24]
        made = small(do_sample_frames=False)([frames], input_data_format="channels_last", return_tensors="pt")
        assert torch.equal(last.run_lengths, made["run_lengths"])

    def test_settings_that_draw_nothing_are_refused(self, clip):
        for settings in ({"thresholds": ()}, {"scale": 0}):
            with pytest.raises(ValueError, match="Expected a threshold and a scale >= 1"):
                draw_clip(clip, small(), **settings)


class TestFiles:
    def test_a_gif_keeps_the_pace_and_loops(self, tmp_path):
        pixels = moving_square(20, 33, 47)
        for fps, frames, seconds in ((10, 20, 2.0), (14.985, 20, 20 / 14.985), (60, 10, 20 / 60)):
            path = write_animation(pixels, tmp_path / "a.gif", fps)
            with Image.open(path) as picture:
                assert picture.info["loop"] == 0
                assert picture.size == (47, 33)
                durations = [frame.info["duration"] for frame in ImageSequence.Iterator(picture)]
                shown = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)]
            assert len(durations) == frames
            assert sum(durations) / 1000 == pytest.approx(seconds, abs=0.021)
            assert max(durations) - min(durations) <= 10
            assert np.abs(np.stack(shown).astype(int) - pixels[:: 20 // frames]).mean() < 8

    def test_an_mp4_plays_in_browsers(self, tmp_path):
        pixels = moving_square(20, 33, 47)
        path = write_animation(iter(pixels), tmp_path / "a.MP4", 14.985)
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
            assert (stream.width, stream.height, stream.frames) == (48, 34, 20)
            assert float(stream.average_rate) == pytest.approx(14.985)
            assert stream.codec_context.colorspace == 1  # as it was converted: ITU-R BT.709
        content = path.read_bytes()
        assert content.index(b"moov") < content.index(b"mdat")  # plays while it loads
        assert np.abs(read_back(path)[:, :33, :47].astype(int) - pixels).mean() < 6

    def test_an_mp4_has_the_colours_it_says(self, tmp_path):
        colour = np.array([30, 200, 40])
        path = write_animation(np.full((2, 64, 64, 3), colour, np.uint8), tmp_path / "a.mp4", 10)
        with av.open(str(path)) as container:
            luma = next(container.decode(video=0)).to_ndarray()[:64, :64]
        wanted = 16 + 219 * float(colour @ [0.2126, 0.7152, 0.0722]) / 255  # ITU-R BT.709, limited range
        assert luma.mean() == pytest.approx(wanted, abs=1.5)

    def test_without_x264_it_is_mpeg_4(self, tmp_path, monkeypatch):
        monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
        path = write_animation(moving_square(4), tmp_path / "a.mp4", 10)
        with av.open(str(path)) as container:
            assert container.streams.video[0].codec_context.name == "mpeg4"
        assert np.abs(read_back(path).astype(int) - moving_square(4)).mean() < 6

    @pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
    def test_nothing_half_written_is_left(self, tmp_path, name):
        (tmp_path / name).write_text("what was there")

        def frames():
            yield from moving_square(3)
            raise ValueError("no more")

        with pytest.raises(ValueError, match="no more"):
            write_animation(frames(), tmp_path / name, 10)
        assert [path.name for path in tmp_path.iterdir()] == [name]
        assert (tmp_path / name).read_text() == "what was there"

    @pytest.mark.parametrize(
        ("frames", "name", "fps", "message"),
        [
            (np.zeros((1, 8, 8, 3), np.uint8), "a.avi", 10, "expected a file name ending in .gif or .mp4"),
            (np.zeros((0, 8, 8, 3), np.uint8), "a.gif", 10, "at least one frame"),
            (np.zeros((1, 8, 8, 3), np.uint8), "a.gif", 0, "frames per second above 0, received 0"),
            (np.zeros((1, 8, 8, 3), np.float32), "a.mp4", 10, "Expected uint8 frames of 8x8x3, received float32 8x8x3"),
            ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)], "a.gif", 10, "received uint8 8x9x3"),
        ],
    )
    def test_what_cannot_be_animated_is_refused(self, tmp_path, frames, name, fps, message):
        with pytest.raises(ValueError, match=message):
            write_animation(frames, tmp_path / name, fps)
        assert list(tmp_path.iterdir()) == []


class TestRows:
    def test_a_sheet_has_the_clip_above_and_a_row_for_each_threshold(self, clip):
        drawn = draw_clip(clip, small(), (0.05, 0.2), scale=2, heat=True)
        text = 11
        margin = MARGIN * text // 15
        for heat, rows in ((False, drawn.greyed), (True, drawn.heat)):
            picture = np.asarray(draw_sheet(drawn, 3, heat))
            for i, row in enumerate([drawn.frames, *rows]):
                for k, frame in enumerate((0, 2, 5)):
                    y, x = i * (128 + GAP), margin + k * (128 + GAP)
                    assert np.array_equal(picture[y : y + 128, x : x + 128], row[frame]), (heat, i, k)
                assert (picture[i * (128 + GAP) :, :margin][:128].min(-1) < 100).any(), "a label is drawn"
            legend = 0 if not heat else GAP + 3 * text
            assert picture.shape == (3 * 128 + 2 * GAP + legend, margin + 3 * 128 + 2 * GAP, 3)
        with pytest.raises(ValueError, match="Expected 1 to 8 columns, received 9"):
            draw_sheet(drawn, 9)

    def test_labels_say_threshold_and_share(self, clip):
        drawn = draw_clip(clip, small(), (0.1,))
        with_label, other = (label_rows([drawn.frames[:1]], [text]) for text in ("threshold 0.1", "threshold 0.2"))
        difference = np.abs(np.asarray(with_label, int) - np.asarray(other, int)).max(-1)
        assert difference[:, :MARGIN].any()
        assert not difference[:, MARGIN:].any()
        with pytest.raises(ValueError, match="Expected a label for each of 1 rows, received 2"):
            label_rows([drawn.frames], ["a", "b"])
        long = np.asarray(label_rows([drawn.frames[:1]], ["a name that is far too long for its margin.mp4"]))
        assert (long[:, :GAP] == 255).all()
        assert (long[:, MARGIN - GAP : MARGIN] == 255).all()

    def test_an_animation_shows_the_rows_below_each_other(self, clip):
        drawn = draw_clip(clip, small(), (0.05, 0.2))
        frames = list(animated_rows(drawn))
        assert len(frames) == 8
        margin = MARGIN * 11 // 15
        for i, frame in enumerate(frames):
            for k, row in enumerate([drawn.frames, *drawn.greyed]):
                assert np.array_equal(frame[k * (64 + GAP) :, margin:][:64], row[i])

    def test_several_clips_do_not_fit_on_a_sheet(self, clip, tmp_path):
        with pytest.raises(ValueError, match="expected one clip for a sheet, received several"):
            write_drawing(draw_video(clip, small()), tmp_path / "a.png")
        with pytest.raises(ValueError, match="at least one clip"):
            write_drawing([], tmp_path / "a.png")
        assert list(tmp_path.iterdir()) == []


class TestCommand:
    options = ("--image-size", 64, "--num-frames", 8, "--frame-stride", 2)

    def run(self, *arguments):
        return CliRunner().invoke(app, ["draw", *(str(argument) for argument in (*arguments, *self.options))])

    @pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.mp4"])
    def test_files_of_every_kind(self, clip, tmp_path, name):
        done = self.run(clip, "-o", tmp_path / name, "--threshold", 0.1, "--threshold", 0.3, "--heat", "--columns", 2)
        assert done.exit_code == 0, done.output
        drawn = draw_clip(clip, small(frame_stride=2), (0.1, 0.3))
        for threshold, share in zip((0.1, 0.3), drawn.computed, strict=True):
            assert f"threshold {threshold}: {64 * share:.0f} of 64 tokens computed ({share:.1%})" in done.stdout
        columns = 1 if name.endswith(("gif", "mp4")) else 2
        size = (MARGIN * 11 // 15 + columns * (64 + GAP) - GAP, 3 * (64 + GAP) - GAP + GAP + 33)
        if name == "a.mp4":
            assert read_back(tmp_path / name).shape == (8, size[1] + size[1] % 2, size[0] + size[0] % 2, 3)
        else:
            assert Image.open(tmp_path / name).size == size
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_the_whole_video_up_to_some_seconds(self, clip, tmp_path):
        done = self.run(clip, "-o", tmp_path / "a.gif", "--whole", "--json")
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        assert (found["clips"], found["frames"], found["fps"]) == (2, 12, pytest.approx(5))
        assert found["thresholds"][0]["tokens_before"] == 128
        assert Image.open(tmp_path / "a.gif").n_frames == 12
        part = self.run(clip, "-o", tmp_path / "a.gif", "--whole", "--seconds", 0.8, "--start", 0.5)
        assert Image.open(tmp_path / "a.gif").n_frames == 4
        assert "Drawn: 0.8 of 1.9 seconds; --seconds 2 for all of it." in part.stdout

    def test_heat_without_matplotlib_says_what_to_install(self, clip, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        done = self.run(clip, "-o", tmp_path / "a.png", "--heat")
        assert done.exit_code == 2
        assert "pip install hf_rlt[plot]" in done.stderr
        assert list(tmp_path.iterdir()) == []
        assert self.run(clip, "-o", tmp_path / "a.png").exit_code == 0

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("nowhere.mp4", "-o", "a.gif"), "nowhere.mp4"),
            (("CLIP", "-o", "a.webp"), "a.webp: expected a file name ending in .gif, .mp4, .png, .jpg, .jpeg"),
            (("CLIP", "-o", "no/a.gif"), "no/a.gif: expected an existing folder"),
            (("CLIP", "-o", "a.png", "--whole"), "a.png: expected a .gif or .mp4 for --whole"),
            (("CLIP", "-o", "a.gif", "--whole", "--seconds", 0), "--seconds: expected more than 0"),
            (("CLIP", "-o", "a.gif", "--start", 60), "Expected a start within the video's 2.40 seconds, received 60"),
            (("CLIP", "-o", "a.png", "--columns", 9), "Expected 1 to 8 columns, received 9"),
            (("CLIP", "-o", "a.gif", "--patch-size", 128), "holds no whole tubelet"),
            (("CLIP", "-o", "a.gif", "--fps", 8), "Expected --frame-stride or --fps, received both"),
            (
                ("CLIP", "-o", "a.gif", "--model", "nomodel"),
                "Expected --model or sizes, received --model nomodel and --im",
            ),
        ],
    )
    def test_a_users_mistake_is_one_line_and_code_2(self, clip, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        done = self.run(*(clip if argument == "CLIP" else argument for argument in arguments))
        assert done.exit_code == 2
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert list(tmp_path.iterdir()) == []


def test_ramp_frames_are_told_apart(video_file):
    assert [level(frame) for frame in read_back(video_file(frames=40))] == list(range(40))
    assert ramp(2).shape == (2, 48, 64, 3)


def test_the_video_itself_is_not_written_over(tmp_path):
    video = write_video(tmp_path / "clip.mp4", ramp(20))
    content = video.read_bytes()
    done = CliRunner().invoke(app, ["draw", str(video), "-o", str(video)])
    assert done.exit_code == 2
    assert "is the video itself" in done.stderr
    assert video.read_bytes() == content
