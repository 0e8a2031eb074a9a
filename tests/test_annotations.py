# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Annotation files: tables of paths, Kinetics, Something-Something; Hub data sets, streamed."""

import json

import pytest

from hf_rlt.data import ClipStream, from_file

KINETICS = "label,youtube_id,time_start,time_end,split,is_cc\n"


@pytest.fixture
def videos(tmp_path):
    for name in ("a.mp4", "sub/abc_000010_000020.mp4", "sub/-x_y_000000_000010.webm", "78687.webm", "42326.webm"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).touch()
    return tmp_path / "videos"


def test_kinetics(videos, tmp_path):
    table = tmp_path / "train.csv"
    rows = ["riding a bike,abc,10,20,train,0", "abseiling,-x_y,0,10,train,1", '"eating, slowly",gone,7,17,train,0']
    table.write_text(KINETICS + "\n".join(rows) + "\n")
    clips = from_file(table, videos)
    assert clips.names == ["abseiling", "eating, slowly", "riding a bike"]
    assert clips.labels == [2, 0, 1]
    paths = [str(path.relative_to(videos)) for path in clips.sources]
    assert paths == ["sub/abc_000010_000020.mp4", "sub/-x_y_000000_000010.webm", "gone_000007_000017.mp4"]


def test_something_something(videos, tmp_path):
    entries = [
        {
            "id": "78687",
            "label": "holding potato next to bottle",
            "template": "Holding [something] next to [something]",
        },
        {"id": "42326", "label": "folding a towel", "template": "Folding [something]", "placeholders": ["towel"]},
        {"id": "1", "template": "Folding [something]"},
    ]
    (tmp_path / "train.json").write_text(json.dumps(entries))
    (tmp_path / "labels.json").write_text(
        json.dumps({"Holding something next to something": "0", "Folding something": "2", "Unused": "1"})
    )
    clips = from_file(tmp_path / "train.json", videos, label_file=tmp_path / "labels.json")
    assert clips.names == ["Holding something next to something", "Unused", "Folding something"]
    assert clips.labels == [0, 2, 2]
    assert [path.name for path in clips.sources] == ["78687.webm", "42326.webm", "1.mp4"]
    assert from_file(tmp_path / "train.json", videos).names == [
        "Folding something",
        "Holding something next to something",
    ]


def test_paths_are_relative_to_the_file_or_the_video_folder_and_missing_ones_keep_their_place(videos, tmp_path):
    (tmp_path / "clips.csv").write_text("label,path\nx,a.mp4\ny,gone.mp4\n")
    assert [path.name for path in from_file(tmp_path / "clips.csv", videos).sources] == ["a.mp4", "gone.mp4"]
    (videos / "clips.csv").write_text("\ufeffpath,label\na.mp4,x\ngone.mp4,y\n")  # as a spreadsheet saves it
    assert from_file(videos / "clips.csv").sources[0] == videos / "a.mp4"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("clips.csv", "", "expected the columns 'path' and 'label' .*, found an empty file"),
        ("clips.csv", "file,label\na.mp4,x\n", "expected the columns 'path' and 'label' .*, found 'file', 'label'"),
        ("clips.csv", "path,label\n", "expected a line per video"),
        ("clips.csv", "path,label\na.mp4,\n", "line 2: expected path, label"),
        ("clips.csv", "path,label\nb.mp4,x\n", "found none of its 1 videos"),
        ("clips.csv", "path,label\na.mp4,x\n", "expected at least two classes"),
        ("k.csv", KINETICS + "x,abc,10,20,train,0\n", "expected --video_dir .* received None"),
        ("k.csv", KINETICS + "x,abc,ten,20,train,0\n", "expected time_start and time_end in seconds"),
        ("s.json", "{}", "expected a list of objects"),
        ("s.json", '[{"id": "1"}]', "entry 0: expected 'id' and 'template' or 'label'"),
        ("s.json", "[", "expected a JSON file"),
    ],
)
def test_errors(videos, name, text, message):
    (videos / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        from_file(videos / name)


def test_errors_of_missing_files_and_label_files(videos, tmp_path):
    with pytest.raises(ValueError, match="found no such file"):
        from_file(tmp_path / "nowhere.csv")
    (tmp_path / "labels.json").write_text('{"a": "0", "b": "2"}')
    (videos / "clips.csv").write_text("path,label\na.mp4,x\n")
    with pytest.raises(ValueError, match="0 to the number of classes - 1"):
        from_file(videos / "clips.csv", label_file=tmp_path / "labels.json")


def test_a_stream_gives_the_clips_of_the_data_set(rendered_digits):
    stream = ClipStream(str(rendered_digits), "train")
    rows = [(source["path"].split("/")[-2], label) for source, label in stream.read()]
    assert len(rows) == 16
    assert all(stream.names[label] == name for name, label in rows)
    with pytest.raises(ValueError, match="expected a split 'test', found 'train', 'validation'"):
        ClipStream(str(rendered_digits), "test")
    mixed = ClipStream(str(rendered_digits), "train", shuffle_buffer=16)
    orders = [[source["path"] for source, _ in mixed.read(epoch)] for epoch in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])
