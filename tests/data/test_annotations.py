# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Annotation files: tables of paths, Kinetics, Something-Something; lists of paths; Hub data sets."""

import json
import os

import pytest

from hf_rlt.data import ClipStream, from_file, from_hub
from hf_rlt.data.annotations import read_paths

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
    (videos / "link").mkdir()
    (videos / "link" / "abc_000010_000020.mp4").symlink_to(videos / "sub" / "abc_000010_000020.mp4")
    assert len(from_file(table, videos)) == 3
    (videos / "link" / "abc_000010_000020.webm").touch()
    with pytest.raises(ValueError, match="the video abc_000010_000020 is there twice"):
        from_file(table, videos)


def test_something_something(videos, tmp_path):
    entries = [
        {"id": 78687, "label": "holding potato", "template": "Holding [something] next to [something]"},
        {"id": "42326", "label": "folding a towel", "template": "Folding [something] ", "placeholders": ["towel"]},
        {"id": "1", "label": "Folding something"},
    ]
    (tmp_path / "train.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(entries).encode())
    labels = {"Holding something next to something": "0", "Folding something": "2", "Unused": "1"}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    clips = from_file(tmp_path / "train.json", videos, label_file=tmp_path / "labels.json")
    assert clips.names == ["Holding something next to something", "Unused", "Folding something"]
    assert clips.labels == [0, 2, 2]
    assert [path.name for path in clips.sources] == ["78687.webm", "42326.webm", "1.mp4"]
    assert from_file(tmp_path / "train.json", videos).names == sorted({*labels} - {"Unused"})


def test_paths_are_relative_to_the_file_or_the_video_folder_and_missing_ones_keep_their_place(videos, tmp_path):
    (tmp_path / "clips.csv").write_text("label,path\nx,a.mp4\ny,gone.mp4\n")
    assert [path.name for path in from_file(tmp_path / "clips.csv", videos).sources] == ["a.mp4", "gone.mp4"]
    (videos / "b.mp4 ").touch()
    (videos / "clips.csv").write_text("\ufeffpath,label\nb.mp4 ,run\na.mp4 ,run \nb.mp4,walk\n")
    clips = from_file(videos / "clips.csv")
    assert clips.sources == [videos / "b.mp4 ", videos / "a.mp4", videos / "b.mp4"]
    assert (clips.names, clips.labels) == (["run", "walk"], [0, 0, 1])


@pytest.mark.parametrize(
    "data",
    [
        b"path,label\r\na.mp4,run\r\n\r\nsub/b.webm,walk\n,\n  \n",
        b"\xef\xbb\xbfpath\tlabel\na.mp4\trun \nsub/b.webm\t walk\n",
        "label;path;note\r\nrun;a.mp4;one, two\r\n walk;sub/b.webm ;\r\n".encode("utf-16"),
        b'\n"path", "label", "note"\r"a.mp4", "run", "a\nb"\r"sub/b.webm","walk","" \r'.replace(b'"" ', b'""'),
        b"path,label\na.mp4,run\nsub/b.webm,walk",
    ],
    ids=["empty lines, mixed ends", "mark, tabs", "utf-16, semicolons", "quoted, old Mac", "no last line end"],
)
def test_tables_as_programs_save_them(videos, data):
    (videos / "sub" / "b.webm").touch()
    (videos / "clips.csv").write_bytes(data)
    clips = from_file(videos / "clips.csv")
    assert clips.names == ["run", "walk"]
    assert clips.sources == [videos / "a.mp4", videos / "sub" / "b.webm"]


OPEN = "found a line break or open quotation mark in the label"
REFUSED_TABLES = [  # below the header path,label
    (b"", "expected a line per video"),
    (b"b.mp4,x\n", "found none of its 1 videos"),
    (b"a.mp4,x\n", "expected at least two classes"),
    (b"a.mp4,eating, slowly\n", r"line 2: expected 2 fields \('path', 'label'\), received 3 "),
    (b"a.mp4,x\n\nb.mp4\n", "line 4: expected 2 fields .*, received 1 "),
    (b"a.mp4,x\ncaf\xe9.mp4,y\n", "line 3: found the byte 0xe9"),
    (b"a.mp4,x\na.mp4,\0y\n", "line 3: found a zero byte"),
    (b"a.mp4,x\na.mp4," + b"y" * 140_000 + b"\n", "line 3: .*field larger than field limit"),
    (b'a.mp4,"run\nb.mp4,walk\nc.mp4,run"\n', f"line 4: {OPEN}"),
    (b'a.mp4,"run\nb.mp4,walk\n', r"line 3: .* \(unexpected end of data\)"),
    (b'a.mp4,run"\n', f"line 2: {OPEN}"),
    (b"a.mp4,x\na.mp4,y\n", "line 3: .* is 'y' here and 'x' before .*line 2"),
    (b"a.mp4,x\na.mp4, \n", "line 3: expected path, label, received no label"),
    (b"a.mp4,x\a\n", f"line 2: {OPEN}"),
]
TIME = "line 2: expected time_start and time_end in seconds, received"
REFUSED_FILES = [
    ("a.csv", b"", "expected the columns 'path' and 'label' .*, found an empty file"),
    ("a.csv", b"path label\na.mp4 x\n", "separated by commas, tabs or semicolons, found 'path label'"),
    ("a.csv", b"path,label,label\na.mp4,x,y\n", "found the column 'label' twice"),
    ("a.csv", "path,label\na.mp4,x\n".encode("utf-16-le"), "line 1: found a zero byte"),
    ("k.csv", KINETICS.encode() + b"x,abc,ten,20,train,0\n", f"{TIME} .'ten'"),
    ("k.csv", KINETICS.encode() + b"x,abc,inf,20,train,0\n", f"{TIME} .'inf'"),
    ("s.json", b"{}", "expected a list of objects"),
    ("s.json", b"[", "expected a JSON file"),
    ("s.json", b"[" * 200_000, "expected a JSON file .*recursion"),
    ("s.json", b'[{"id": "1", "id": "2", "template": "x"}]', "the key 'id' twice"),
    ("s.json", b'[{"id": "1"}]', "entry 0: expected 'id' and 'template' or 'label'"),
    ("s.json", b'[{"id": ["1"], "template": "x"}]', "entry 0: expected 'id' and 'template' or 'label'"),
    *[("clips.csv", b"path,label\n" + rows, message) for rows, message in REFUSED_TABLES],
]


@pytest.mark.parametrize(("name", "data", "message"), REFUSED_FILES)
def test_files_that_cannot_be_understood(videos, name, data, message):
    (videos / name).write_bytes(data)
    with pytest.raises(ValueError, match=message) as raised:
        from_file(videos / name, videos)
    assert str(videos / name) in str(raised.value)


def test_videos_without_their_folder(videos):
    (videos / "k.csv").write_text(KINETICS + "x,abc,10,20,train,0\n")
    with pytest.raises(ValueError, match=r"expected --video_dir .* received None"):
        from_file(videos / "k.csv")


@pytest.mark.parametrize(
    "text", ['{"a": "0", "b": "2"}', '{"a": "0", "a": "1", "b": "1"}', '{"a": 0, "b": [1]}', "[0]", "{}"]
)
def test_label_files_that_cannot_be_understood(videos, tmp_path, text):
    (tmp_path / "labels.json").write_text(text)
    (videos / "clips.csv").write_text("path,label\na.mp4,a\n")
    with pytest.raises(ValueError, match=r"labels\.json: expected "):
        from_file(videos / "clips.csv", label_file=tmp_path / "labels.json")


def test_lists_of_paths(tmp_path):
    (tmp_path / "a ").touch()
    odd = os.fsdecode(b"caf\xe9")
    wanted = [f"{tmp_path}/a ", f"{tmp_path}/b", f"{tmp_path}/{odd}", f"{tmp_path}/\u2028c"]
    lines = f"{wanted[0]}\r\n {wanted[1]} \n\n{wanted[2]}\n{wanted[3]}"
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf" + os.fsencode(lines))
    assert read_paths(tmp_path / "list.txt") == wanted
    (tmp_path / "list.txt").write_bytes("a.mp4\r\nb.mp4\r\n".encode("utf-16"))
    assert read_paths(tmp_path / "list.txt") == ["a.mp4", "b.mp4"]
    (tmp_path / "list.txt").write_bytes(b"a.mp4\nb\0.mp4")
    with pytest.raises(ValueError, match=r"list\.txt, line 2: .* zero byte"):
        read_paths(tmp_path / "list.txt")


def test_a_hub_data_set_gives_the_clips_of_the_folder_loaded_or_streamed(rendered_digits, train):
    loaded = from_hub(str(rendered_digits), "train")
    assert (sorted(loaded.labels), loaded.names) == (sorted(train.labels), train.names)
    rows = list(ClipStream(str(rendered_digits), "train").read())
    for source, label in [*rows, *zip(loaded.sources, loaded.labels, strict=True)]:
        assert source["path"].split("/")[-2] == train.names[label]
    mixed = ClipStream(str(rendered_digits), "train", shuffle_buffer=16)
    orders = [[source["path"] for source, _ in mixed.read(epoch)] for epoch in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == sorted(source["path"] for source, _ in rows)
    for kind in (from_hub, ClipStream):
        with pytest.raises(ValueError, match="expected a split 'test', found 'train', 'validation'"):
            kind(str(rendered_digits), "test")
