# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Drawings of what RLT computes: greyed and coloured clips, sheets, GIFs, MP4s, and `hf-rlt draw`."""

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
from hf_rlt.drawing.overlays import COLORMAP, GAP, LUMA, MARGIN, colour_runs, grey_dropped, reconstruct, run_legend

SIDE = {"height": 64, "width": 64}
MARGIN_11 = MARGIN * 11 // 15  # of letters 11 pixels high, as beside frames of 64 pixels


def small(**settings) -> RLTVideoProcessor:
    sizes = {"size": {"shortest_edge": 64}, "crop_size": SIDE, "patch_size": 16}
    return RLTVideoProcessor(**{"num_frames": 8, "frame_stride": 1, **sizes, **settings})


def moving_square(frames: int, height: int = 96, width: int = 128) -> np.ndarray:
    """Make frames of a smooth, static background, over which a bright square moves to the right."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([np.stack([rows, columns, 128 + 0 * rows], -1).astype(np.uint8)] * frames)
    for i in range(frames):
        pixels[i, 40:56, 4 * i : 4 * i + 24] = 250
    return pixels


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "square.mp4", moving_square(24), rate=10)


@pytest.fixture(scope="module")
def drawn(clip):
    return draw_clip(clip, small(), (0.05, 0.2), heat=True)


@pytest.fixture(scope="module")
def forty(tmp_path_factory) -> Path:
    """A video whose frame i is number i, 10 a second."""
    return write_video(tmp_path_factory.mktemp("ramp") / "ramp.mp4", ramp(40))


def numbers(frames) -> list[int]:
    """Return which frames of a `ramp` these are."""
    return [round((float(np.median(frame)) - 10) / 5) for frame in frames]


def read_back(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


class TestColours:
    frames = np.random.default_rng(0).integers(0, 256, (7, 9, 17, 3), np.uint8)  # one more each way than the grid
    # (t, h, w): a run over all of the clip; 1 and 2; 2 and a position left out; all three new
    lengths = torch.tensor([[[3, 1], [2, 1]], [[0, 2], [0, 1]], [[0, 0], [0, 1]]]).flatten()
    covering = np.array([[[3, 1], [2, 1]], [[3, 2], [2, 1]], [[3, 2], [0, 1]]])

    @pytest.mark.parametrize("draw", [grey_dropped, colour_runs])
    def test_dropped_tubelets_are_greyed_and_runs_coloured_by_their_length(self, draw):
        coloured = draw is colour_runs
        colours = matplotlib.colormaps[COLORMAP]([0.0, 0.5, 1.0], bytes=True)[:, :3]
        wanted = np.repeat((self.frames @ LUMA)[..., None], 3, axis=-1) if coloured else self.frames.astype(float)
        for t, y, x in np.argwhere(self.covering if coloured else self.lengths.reshape(3, 2, 2).numpy() == 0):
            tubelet = wanted[2 * t : 2 * t + 2, 4 * y : 4 * y + 4, 8 * x : 8 * x + 8]
            strength, tint = (0.6, colours[self.covering[t, y, x] - 1]) if coloured else (0.85, 128)
            tubelet[:] = (1 - strength) * tubelet + strength * tint
        assert np.abs(draw(self.frames, self.lengths, 2, (4, 8)) - wanted).max() <= 0.51
        with pytest.raises(
            ValueError, match=r"Expected 12 run lengths and their frames, received 11 and 7 frames of 9x17"
        ):
            draw(self.frames, self.lengths[:-1], 2, (4, 8))

    @pytest.mark.parametrize("kind", [np.uint8, np.float32])
    def test_dropped_tubelets_become_the_tokens_that_stand_for_them(self, kind):
        frames, lengths = self.frames.astype(kind), self.lengths.reshape(3, 2, 2)
        wanted = frames.copy()
        wanted[:6, :8, :16] = 0  # where no run covers a tubelet
        for t, y, x in np.ndindex(3, 2, 2):
            patch = slice(4 * y, 4 * y + 4), slice(8 * x, 8 * x + 8)
            for i in range(t, t + int(lengths[t, y, x])):
                wanted[2 * i : 2 * i + 2, *patch] = frames[2 * t : 2 * t + 2, *patch]
        found = reconstruct(frames, self.lengths, 2, (4, 8))
        assert found.dtype == kind
        assert np.array_equal(found, wanted)
        assert np.array_equal(frames, self.frames), "the clip itself is left as it was"
        assert np.array_equal(reconstruct(frames, torch.ones(12, dtype=torch.int64), 2, (4, 8)), frames)

    def test_the_legend_has_the_colours_in_their_order(self):
        legend = run_legend(4, 200)
        assert legend.shape[1] == MARGIN + 200
        wanted = matplotlib.colormaps[COLORMAP](np.linspace(0, 1, 4), bytes=True)[:, :3]
        assert legend[2, MARGIN + np.array([25, 75, 125, 175])].tolist() == wanted.tolist()


class TestClip:
    def test_decisions_are_the_processors(self, clip):
        drawn = draw_clip(clip, small(frame_stride=2), (0.05, 1.0, None), heat=True)
        for row, threshold in enumerate((0.05, 1.0, None)):
            made = small(frame_stride=2, threshold=threshold)(str(clip), return_tensors="pt")
            assert torch.equal(drawn.run_lengths[row], made["run_lengths"][0])
            assert drawn.computed[row] == pytest.approx((made["run_lengths"] > 0).float().mean().item())
            assert np.array_equal(drawn.greyed[row], grey_dropped(drawn.frames, made["run_lengths"][0]))
            assert np.array_equal(drawn.heat[row], colour_runs(drawn.frames, made["run_lengths"][0]))
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (small().image_mean, small().image_std))
        seen = ((made["pixel_values"][0] * std + mean) * 255).permute(0, 2, 3, 1).numpy()
        assert np.abs(drawn.frames - seen).max() <= 1
        assert drawn.grid == (4, 4, 4)
        assert len(set(drawn.computed)) == 3

    def test_a_processors_rule_counts_and_is_named(self, clip):
        drawn = draw_clip(clip, small(rule="anchor", max_tokens=30), (0.05, None))
        assert drawn.rules == ("anchor, threshold 0.05, at most 30 tokens", "anchor, at most 30 tokens")
        for row, threshold in enumerate((0.05, None)):
            made = small(rule="anchor", max_tokens=30, threshold=threshold)(str(clip), return_tensors="pt")
            assert torch.equal(drawn.run_lengths[row], made["run_lengths"][0])

    @pytest.mark.parametrize("settings", [{}, {"do_resize": False}, {"do_center_crop": False}])
    def test_a_larger_drawing_shows_the_same_decisions_on_the_same_crop(self, clip, settings):
        once, thrice = (draw_clip(clip, small(**settings), (0.1,), scale=scale) for scale in (1, 3))
        assert torch.equal(once.run_lengths, thrice.run_lengths)
        assert thrice.frames.shape[1:3] == tuple(3 * side for side in once.frames.shape[1:3])
        # The middle of each patch is grey in both or in neither.
        grey = [(drawn.greyed[0] != drawn.frames).any(-1) for drawn in (once, thrice)]
        assert (grey[0][:, 8::16, 8::16] == grey[1][:, 25::48, 25::48]).all()
        assert 0.2 < grey[0].mean() < 0.9
        size = once.frames.shape[2:0:-1]
        smaller = [np.asarray(Image.fromarray(frame).resize(size, Image.BOX), int) for frame in thrice.frames]
        assert np.abs(np.stack(smaller) - once.frames).mean() < 3

    def test_the_rate_is_that_of_the_video(self, forty, video_file):
        assert read_clip(forty, small(frame_stride=4))[1] == pytest.approx(2.5)
        assert read_clip(forty, small(fps=5.0))[1] == 5
        assert read_clip(forty, small(sampling="uniform"))[1] == pytest.approx(2, abs=0.1)
        assert read_clip(video_file("short.mp4", frames=5), small(frame_stride=2))[1] == pytest.approx(5)
        uneven = video_file("uneven.mp4", frames=8, pts=[0, 10, 20, 30, 70, 80, 90, 140])
        assert read_clip(uneven, small())[1] == pytest.approx(7 / 1.4, rel=0.02)

    def test_a_clip_begins_where_it_is_asked_to(self, forty):
        for start, first in ((0, 0), (1.0, 10), (1.26, 12), (3.9, 39), (None, 12)):  # by default in the middle
            frames, _ = read_clip(forty, small(frame_stride=2), start)
            assert numbers(frames) == [min(first + 2 * i, 39) for i in range(8)]
        with pytest.raises(ValueError, match=r"Expected a start within the video's 4.00 seconds, received 5"):
            read_clip(forty, small(), 5)

    @pytest.mark.parametrize(
        ("settings", "options", "wanted"),
        [
            ({}, {}, range(40)),
            ({"frame_stride": 3}, {}, range(0, 40, 3)),
            ({"frame_stride": 3}, {"start": 1.0, "seconds": 2.0}, range(10, 30, 3)),
            ({"fps": 5.0}, {"seconds": 2.0}, range(0, 20, 2)),
            ({"fps": 20.0}, {"start": 3.5}, [35, 35, 36, 36, 37, 37, 38, 38, 39, 39]),
            ({"sampling": "uniform"}, {}, range(2, 40, 5)),
        ],
    )
    def test_consecutive_clips_cover_the_video(self, forty, settings, options, wanted):
        clips = list(draw_video(forty, small(**settings), (0.1, 0.2), heat=True, reconstructed=True, **options))
        assert numbers(frame for drawn in clips for frame in drawn.frames) == list(wanted)
        assert all(len(drawn.frames) == 8 for drawn in clips[:-1])
        for drawn in clips:
            assert drawn.run_lengths.shape == (2, 64)
            rows = (*drawn.greyed, *drawn.heat, *drawn.reconstructed)
            assert [len(row) for row in rows] == 6 * [len(drawn.frames)]

    def test_each_of_them_is_what_the_model_would_see(self, clip):
        *_, last = draw_video(clip, small(), (0.1,), reconstructed=True)
        assert np.array_equal(last.reconstructed[0], reconstruct(last.frames, last.run_lengths[0]))
        assert torch.equal(last.run_lengths, small().run_rule.find(small().pixels(read_back(clip)[None, 16:24])))


class TestFiles:
    @pytest.mark.parametrize(("fps", "frames"), [(10, 20), (14.985, 20), (60, 10)])
    def test_a_gif_keeps_the_pace_and_loops(self, tmp_path, fps, frames):
        pixels = moving_square(20, 33, 47)
        with Image.open(write_animation(pixels, tmp_path / "a.gif", fps)) as picture:
            assert (picture.info["loop"], picture.size) == (0, (47, 33))
            durations = [frame.info["duration"] for frame in ImageSequence.Iterator(picture)]
            shown = [np.asarray(frame.convert("RGB"), int) for frame in ImageSequence.Iterator(picture)]
        assert len(durations) == frames
        assert sum(durations) / 1000 == pytest.approx(20 / fps, abs=0.021)
        assert max(durations) - min(durations) <= 10
        assert np.abs(np.stack(shown) - pixels[:: 20 // frames]).mean() < 8

    @pytest.mark.parametrize("codec", ["h264", "mpeg4"])
    def test_an_mp4_plays_in_browsers(self, tmp_path, monkeypatch, codec):
        if codec == "mpeg4":
            monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
        pixels = moving_square(20, 33, 47)
        path = write_animation(iter(pixels), tmp_path / "a.MP4", 14.985)
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.pix_fmt) == (codec, "yuv420p")
            assert (stream.width, stream.height, stream.frames) == (48, 34, 20)
            assert float(stream.average_rate) == pytest.approx(14.985)
        content = path.read_bytes()
        assert content.index(b"moov") < content.index(b"mdat")  # plays while it loads
        assert np.abs(read_back(path)[:, :33, :47].astype(int) - pixels).mean() < 6

    def test_an_mp4_has_the_colours_it_says(self, tmp_path):
        colour = np.array([30, 200, 40])
        path = write_animation(np.full((2, 64, 64, 3), colour, np.uint8), tmp_path / "a.mp4", 10)
        with av.open(str(path)) as container:
            assert container.streams.video[0].codec_context.colorspace == 1  # ITU-R BT.709
            luma = next(container.decode(video=0)).to_ndarray()[:64, :64]
        wanted = 16 + 219 * float(colour @ [0.2126, 0.7152, 0.0722]) / 255  # BT.709, limited range
        assert luma.mean() == pytest.approx(wanted, abs=1.5)

    @pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
    def test_nothing_half_written_is_left(self, tmp_path, name):
        (tmp_path / name).write_text("what was there")
        with pytest.raises(IndexError):
            write_animation(map(moving_square(3).__getitem__, range(4)), tmp_path / name, 10)
        assert [path.name for path in tmp_path.iterdir()] == [name]
        assert (tmp_path / name).read_text() == "what was there"

    @pytest.mark.parametrize(
        ("frames", "name", "fps", "message"),
        [
            (np.zeros((1, 8, 8, 3), np.uint8), "a.avi", 10, "expected a file name ending in .gif or .mp4"),
            (np.zeros((0, 8, 8, 3), np.uint8), "a.gif", 10, "at least one frame"),
            (np.zeros((1, 8, 8, 3), np.uint8), "a.gif", 0, "frames per second above 0, received 0"),
            (np.zeros((1, 8, 8, 3), np.float32), "a.mp4", 10, r"received float32 \(8, 8, 3\)"),
            (
                [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)],
                "a.gif",
                10,
                r"received uint8 \(8, 9, 3\)",
            ),
        ],
    )
    def test_what_cannot_be_animated_is_refused(self, tmp_path, frames, name, fps, message):
        with pytest.raises(ValueError, match=message):
            write_animation(frames, tmp_path / name, fps)
        assert list(tmp_path.iterdir()) == []


class TestRows:
    def test_a_sheet_has_the_clip_above_and_a_row_for_each_threshold(self, drawn):
        for heat, rows in ((False, drawn.greyed), (True, drawn.heat)):
            picture = np.asarray(draw_sheet(drawn, 3, heat))
            for i, row in enumerate([drawn.frames, *rows]):
                below = picture[i * (64 + GAP) :][:64]
                for k, frame in enumerate((0, 2, 5)):
                    assert np.array_equal(below[:, MARGIN_11 + k * (64 + GAP) :][:, :64], row[frame]), (heat, i, k)
                assert (below[:, :MARGIN_11].min(-1) < 100).any(), "a label is drawn"
            legend = GAP + 3 * 11 if heat else 0
            assert picture.shape == (3 * 64 + 2 * GAP + legend, MARGIN_11 + 3 * 64 + 2 * GAP, 3)
        with pytest.raises(ValueError, match="Expected 1 to 8 columns, received 9"):
            draw_sheet(drawn, 9)

    def test_labels_stand_in_the_margin(self, drawn):
        texts = ("threshold 0.1", "threshold 0.2", "a name that is far too long for its margin.mp4")
        one, other, long = (np.asarray(label_rows([drawn.frames[:1]], [text]), int) for text in texts)
        assert (one != other)[:, :MARGIN].any()
        assert (one == other)[:, MARGIN:].all()
        assert (long[:, :GAP] == 255).all()
        assert (long[:, MARGIN - GAP : MARGIN] == 255).all()

    @pytest.mark.parametrize("heat", [False, True])
    def test_below_each_threshold_stands_what_its_tokens_say(self, clip, heat):
        drawn = draw_clip(clip, small(), (0.05, 1.0), scale=2, heat=True, reconstructed=True)
        pairs = zip(drawn.heat if heat else drawn.greyed, drawn.run_lengths, strict=True)
        rows = [row for own, lengths in pairs for row in (own, reconstruct(drawn.frames, lengths, 2, 32))]
        (first, *_) = animated_rows(drawn, heat)
        assert len({row[-1].tobytes() for row in rows}) == 4
        for i, row in enumerate([drawn.frames, *rows]):
            assert np.array_equal(first[i * (128 + GAP) :, -128:][:128], row[0])
            assert np.array_equal(np.asarray(draw_sheet(drawn, 2, heat))[i * (128 + GAP) :, -128:][:128], row[4])

    def test_an_animation_shows_the_rows_below_each_other(self, drawn):
        frames = np.stack(list(animated_rows(drawn)))
        for k, row in enumerate([drawn.frames, *drawn.greyed]):
            assert np.array_equal(frames[:, k * (64 + GAP) :, MARGIN_11:][:, :64], row)

    @pytest.mark.parametrize(("count", "message"), [(2, "one clip for a sheet, received several"), (0, "at least one")])
    def test_a_sheet_shows_one_clip(self, drawn, tmp_path, count, message):
        with pytest.raises(ValueError, match=message):
            write_drawing([drawn] * count, tmp_path / "a.png")
        assert list(tmp_path.iterdir()) == []


class TestCommand:
    def run(self, *arguments):
        options = ("--image-size", 64, "--num-frames", 8, "--frame-stride", 2)
        return CliRunner().invoke(app, ["draw", *map(str, (*arguments, *options))])

    @pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.mp4"])
    def test_files_of_every_kind(self, clip, tmp_path, name):
        done = self.run(clip, "-o", tmp_path / name, "--threshold", 0.1, "--threshold", 0.3, "--heat", "--columns", 2)
        assert done.exit_code == 0, done.output
        shares = draw_clip(clip, small(frame_stride=2), (0.1, 0.3)).computed
        for threshold, share in zip((0.1, 0.3), shares, strict=True):
            assert f"threshold {threshold}: {64 * share:.0f} of 64 tokens computed ({share:.1%})" in done.stdout
        columns = 1 if name.endswith(("gif", "mp4")) else 2
        size = (MARGIN_11 + columns * (64 + GAP) - GAP, 3 * (64 + GAP) + 33)
        if name == "a.mp4":
            assert read_back(tmp_path / name).shape == (8, size[1] + size[1] % 2, size[0] + size[0] % 2, 3)
        else:
            assert Image.open(tmp_path / name).size == size
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_rows_say_by_which_rule(self, clip, tmp_path):
        done = self.run(clip, "-o", tmp_path / "a.png", "--rule", "anchor", "--num-tokens", "0.5", "--json")
        (row,) = json.loads(done.stdout)["thresholds"]
        assert (row["rule"], row["threshold"], row["tokens_after"]) == ("anchor, 50 % of the tokens", None, 32)
        words = ("--rule", "anchor", "--max-tokens", 20, "--threshold", 0.1, "--threshold", 0)
        first, second, _ = self.run(clip, "-o", tmp_path / "a.png", *words).stdout.splitlines()
        assert first.startswith("anchor, threshold 0.1, at most 20 tokens: 20 of 64 tokens computed")
        assert second.startswith("anchor, threshold 0, at most 20 tokens: 20 of 64 tokens computed")

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

    def test_reconstruct_adds_a_row_for_each_threshold(self, clip, tmp_path):
        done = self.run(clip, "-o", tmp_path / "a.png", "--threshold", 0.1, "--threshold", 0.3, "--reconstruct")
        assert done.exit_code == 0, done.output
        assert Image.open(tmp_path / "a.png").size[1] == 5 * (64 + GAP) - GAP
        done = self.run(clip, "-o", tmp_path / "a.gif", "--whole", "--reconstruct")
        assert Image.open(tmp_path / "a.gif").size[1] == 3 * (64 + GAP) - GAP

    def test_plain_pictures_have_no_words_and_lie_side_by_side(self, clip, tmp_path):
        assert self.run(clip, "-o", tmp_path / "a.mp4", "--plain", "--threshold", 0.1).exit_code == 0
        assert self.run(clip, "-o", tmp_path / "b.mp4", "--threshold", 0.1).exit_code == 0
        plain, labelled = read_back(tmp_path / "a.mp4"), read_back(tmp_path / "b.mp4")
        assert plain.shape[1:3] == (64, 128)
        assert labelled.shape[1] > 128  # one below the other
        left, right = np.split(plain.astype(int), 2, axis=2)
        assert np.abs(left[0] - right[0]).mean() < 3  # of the first frame everything is computed
        assert np.abs(left[-1] - right[-1]).mean() > 10
        assert self.run(clip, "-o", tmp_path / "c.mp4", "--plain", "--heat", "--threshold", 0.1).exit_code == 0
        heat = np.split(read_back(tmp_path / "c.mp4").astype(int), 2, axis=2)[1]
        assert (heat.max(-1) - heat.min(-1)).mean() > 50 > (right.max(-1) - right.min(-1)).mean()  # colours, not grey
        refused = self.run(clip, "-o", tmp_path / "a.png", "--plain")
        assert refused.exit_code == 2
        assert "expected a .gif or .mp4 to draw side by side" in refused.stderr

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
            ("nowhere.mp4 -o a.gif", "nowhere.mp4"),
            ("CLIP -o CLIP", "is the video itself"),
            ("CLIP -o a.gif --num-tokens 30 --threshold 0.1", "Expected --threshold or --num-tokens, which ignores it"),
            ("CLIP -o a.webp", "a.webp: expected a file name ending in .gif, .mp4, .png, .jpg, .jpeg"),
            ("CLIP -o no/a.gif", "no/a.gif: expected an existing folder"),
            ("CLIP -o a.png --whole", "a.png: expected one clip for a sheet, received several: draw a .gif or .mp4"),
            ("CLIP -o a.gif --start 60", "Expected a start within the video's 2.40 seconds, received 60"),
            ("CLIP -o a.png --columns 9", "Expected 1 to 8 columns, received 9"),
        ],
    )
    def test_a_users_mistake_is_one_line_and_code_2(self, clip, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        content = clip.read_bytes()
        done = self.run(*(clip if argument == "CLIP" else argument for argument in arguments.split()))
        assert done.exit_code == 2
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert list(tmp_path.iterdir()) == []
        assert clip.read_bytes() == content
