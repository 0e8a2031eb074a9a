# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Lists from folders: which files are videos, which labels are one class."""

import os
from pathlib import Path

import pytest

from hf_rlt.data import VideoList, from_folder, split_clips
from hf_rlt.data.video_list import find_videos, label_indices
from hf_rlt.inference.predict import video_paths
from hf_rlt.tokens import find

LEFT_BEHIND = [
    *(".ipynb_checkpoints/a.mp4", "__MACOSX/._a.mp4", "run/._a.mp4", ".Trash-0/files/a.mp4", "@eaDir/a.mp4/a.mp4"),
    *("$RECYCLE.BIN/S-1-5/$RX.mp4", "System Volume Information/a.mp4", "#recycle/a.mp4", "run/lost+found/a.mp4"),
    *("run/.AppleDouble/a.mp4", "run/.@__thumb/a.mp4", "walk/@Recycle/a.mp4", ".git/a.mp4", "run/.a.mp4.x1Yz"),
]
VIDEOS = ["run/a.mp4", "run/deep/b.MTS", "walk/c.m2ts", "walk/d.GIF", "walk/e.ogg"]


def make(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_what_file_managers_leave_behind_is_neither_class_nor_video(tmp_path, caplog):
    folder = make(tmp_path, [*VIDEOS, *LEFT_BEHIND, "run/Thumbs.db", "run/desktop.ini", "run/.DS_Store"])
    wanted = sorted(str(folder / name) for name in VIDEOS)
    assert list(map(str, find_videos(folder))) == sorted(find([folder])) == sorted(video_paths([str(folder)])) == wanted
    clips = from_folder(folder)
    assert clips.names == ["run", "walk"]
    assert sorted(map(str, clips.sources)) == wanted
    assert not caplog.messages


def test_what_is_named_itself_is_taken(tmp_path):
    folder = make(tmp_path, [".cache/a.mp4", ".cache/b.xyz"]) / ".cache"
    assert list(find([folder])) == [str(folder / "a.mp4")]
    assert list(find([folder / "b.xyz"])) == [str(folder / "b.xyz")]
    (tmp_path / "list.txt").write_text(f"{folder / 'b.xyz'}\n")
    assert list(video_paths([str(tmp_path / "list.txt")])) == [str(folder / "b.xyz")]


def test_other_files_are_counted_in_one_line_and_usual_companions_are_not(tmp_path, caplog):
    folder = make(tmp_path, ["run/a.mp4", "run/a.json", "run/a.jpg", "run/b.mp4.part", "walk/c.xyz", "walk/noname"])
    assert find_videos(folder) == find_videos(folder) == [folder / "run" / "a.mp4"]
    (message,) = caplog.messages
    assert "3 files without a video's suffix" in message
    assert "b.mp4.part" in message


def test_a_folder_of_which_nothing_is_taken_is_never_silent(tmp_path, caplog):
    assert not find_videos(make(tmp_path / "one", ["._a.mp4"]))
    assert "._a.mp4" in caplog.messages[0]
    folder = make(tmp_path / "two", ["run/a.mp4", "walk/b.mp4", "jump/frames.zip", "sit/0001.jpg"])
    assert from_folder(folder).names == ["run", "walk"]
    assert "'jump', 'sit'" in caplog.messages[-1]
    assert "frames.zip" in caplog.messages[-2]


def test_linked_folders_are_entered_but_not_in_circles(tmp_path):
    make(tmp_path / "elsewhere", ["grows/a.mp4", "stays/b.mp4"])
    folder = make(tmp_path / "set", ["own/c.mp4"])
    for name in ("grows", "stays"):
        (folder / name).symlink_to(tmp_path / "elsewhere" / name)
    (folder / "own" / "round").symlink_to(folder)
    clips = from_folder(folder)
    assert clips.names == ["grows", "own", "stays"]
    assert [path.name for path in clips.sources] == ["a.mp4", "c.mp4", "b.mp4"]


def test_a_split_holds_out_a_share_loses_nothing_and_reads_nothing():
    class Lazy:
        def __getitem__(self, index):
            return f"{index}.mp4" if index == 3 else pytest.fail("read")

    train, held = split_clips(VideoList(Lazy(), [i % 2 for i in range(20)], ["a", "b"]), 0.15, seed=3)
    assert (len(train), len(held)) == (17, 3)
    assert sorted([*train.sources.indices, *held.sources.indices]) == list(range(20))
    for part in (train, held):
        assert part.labels == [i % 2 for i in part.sources.indices]
        if 3 in part.sources.indices:
            assert part.sources[part.sources.indices.index(3)] == "3.mp4"
    again = split_clips(VideoList(Lazy(), train.labels + held.labels, ["a", "b"]), 0.15, seed=3)
    assert again[1].sources.indices == held.sources.indices


def test_errors_of_a_folder_and_of_unknown_labels(tmp_path):
    with pytest.raises(ValueError, match="found no such folder"):
        from_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="found none"):
        from_folder(tmp_path)
    make(tmp_path, ["run/a.mp4", "walk/b.mp4"])
    with pytest.raises(ValueError, match="received 'walk'"):
        from_folder(tmp_path, names=["jump", "run"])
    make(tmp_path, ["loose.mp4"])
    with pytest.raises(ValueError, match=r"found loose.mp4 outside"):
        from_folder(tmp_path)


def test_a_label_that_looks_like_a_known_class_is_that_class():
    names = ["caf\u00e9", "run", "run fast"]
    labels = ["run ", "cafe\u0301", "run\u00a0fast", "run", "\ufeffrun"]
    assert label_indices(labels, names, "here")[0] == [1, 0, 2, 1, 1]
    assert label_indices(["run ", "run"], ["run", "run "], "a model that has both")[0] == [1, 0]


@pytest.mark.parametrize("twins", [("run", "run "), ("caf\u00e9", "cafe\u0301"), ("a b", "a  b"), ("run", "r\u200bun")])
def test_two_classes_that_look_the_same_are_refused(twins):
    with pytest.raises(ValueError, match="here: classes look the same"):
        label_indices([*twins, "other"], None, "here")


@pytest.mark.parametrize("label", ["", "  ", "\u200b", os.fsdecode(b"caf\xe9")])
def test_labels_that_are_empty_or_no_text_are_refused(label):
    with pytest.raises(ValueError, match=r"here: expected classes with names in UTF-8, received '.*': rename them"):
        label_indices([label, "run", "walk"], None, "here")
