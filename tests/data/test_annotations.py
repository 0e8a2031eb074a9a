# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Annotation files: tables of paths, Kinetics, Something-Something; Hub data sets, streamed."""

import json
import os

import pytest

from hf_rlt.data import ClipStream, from_file
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


BAD_TABLES = {
    "unquoted comma": (b"a.mp4,eating, slowly\n", r"line 2: expected 2 fields \('path', 'label'\), received 3 "),
    "a field too few": (b"a.mp4,x\n\nb.mp4\n", "line 4: expected 2 fields .*, received 1 "),
    "latin-1": (b"a.mp4,x\ncaf\xe9.mp4,y\n", "line 3: expected text in UTF-8, found the byte 0xe9 after 'caf'"),
    "zero byte": (b"a.mp4,x\na.mp4,\0y\n", "line 3: expected text in UTF-8, found a zero byte"),
    "utf-16 without a mark": ("path,label\na.mp4,x\n".encode("utf-16-le"), "line 1: .* found a zero byte"),
    "an endless field": (b"a.mp4,x\na.mp4," + b"y" * 140_000 + b"\n", "line 3: .*field larger than field limit"),
    "line break in a label": (b'a.mp4,"run\nb.mp4,walk\nc.mp4,run"\n', "line 4: expected a label of one line"),
    "quotation mark never closed": (b'a.mp4,"run\nb.mp4,walk\n', r"line 3: .* \(unexpected end of data\)"),
    "text behind a quotation mark": (b'a.mp4,"run"ning\n', r"line 2: expected fields in closed quotation marks"),
    "one quotation mark": (b'a.mp4,run"\n', "line 2: expected a label of one line, received a single quotation mark"),
    "two classes of a video": (b"a.mp4,x\na.mp4,y\n", "line 3: expected one class for each .*'x' before .*line 2"),
    "blank label": (b"a.mp4,x\na.mp4, \n", "line 3: expected path, label, received no label"),
    "bell": (b"a.mp4,x\a\n", "line 2: expected a label of one line, received a line break or control character"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_lines_that_cannot_be_understood(videos, name):
    data, message = BAD_TABLES[name]
    (videos / "clips.csv").write_bytes(data if name == "utf-16 without a mark" else b"path,label\n" + data)
    with pytest.raises(ValueError, match=rf"clips\.csv, {message}"):
        from_file(videos / "clips.csv")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"path label\na.mp4 x\n", "separated by commas, tabs or semicolons, found 'path label'"),
        ("a.csv", b"path,label,label\na.mp4,x,y\n", "expected one column 'label', found 2"),
        ("k.csv", KINETICS.encode() + b"x,abc,inf,20,train,0\n", "line 2: expected time_start .* received 'inf'"),
        ("k.csv", KINETICS.encode() + b"x,abc,nan,20,train,0\n", "line 2: expected time_start .* received 'nan'"),
        ("k.csv", KINETICS.encode() + b"x,abc,10,20,train\n", "line 2: expected 6 fields .* received 5"),
        ("s.json", b"[" * 200_000, "expected a JSON file .*recursion"),
        ("s.json", b'[{"id": "1", "id": "2", "template": "x"}]', "the key 'id' twice"),
        ("s.json", b'[{"id": ["1"], "template": "x"}]', "entry 0: expected 'id' and 'template' or 'label'"),
        ("s.json", b'[{"id": "1", "template": {"a": 1}}]', "entry 0: expected 'id' and 'template' or 'label'"),
        ("s.json", b'[{"id": "1", "template": "caf\xe9"}]', "line 1: expected text in UTF-8, found the byte 0xe9"),
    ],
)
def test_files_that_cannot_be_understood(videos, name, data, message):
    (videos / name).write_bytes(data)
    with pytest.raises(ValueError, match=message):
        from_file(videos / name, videos)


def test_json_with_a_mark_is_read_and_white_space_around_fields_does_not_count(videos, tmp_path):
    rows = [{"id": 78687, "template": "Holding [something] "}, {"id": "42326", "template": "Holding something"}]
    (tmp_path / "train.json").write_bytes(b"\xef\xbb\xbf" + json.dumps([*rows, {"id": "1", "label": "x"}]).encode())
    clips = from_file(tmp_path / "train.json", videos)
    assert (clips.names, clips.labels) == (["Holding something", "x"], [0, 0, 1])
    (videos / "b.mp4 ").touch()
    (videos / "clips.csv").write_text("path,label\nb.mp4 ,run\na.mp4 ,run \nb.mp4,walk\n")
    clips = from_file(videos / "clips.csv")
    assert [path.name for path in clips.sources] == ["b.mp4 ", "a.mp4", "b.mp4"]
    assert (clips.names, clips.labels) == (["run", "walk"], [0, 0, 1])


def test_two_videos_of_one_name_are_refused_unless_they_are_the_same_file(videos, tmp_path):
    (tmp_path / "train.csv").write_text(KINETICS + "x,abc,10,20,train,0\ny,-x_y,0,10,train,0\n")
    (videos / "replacement").mkdir()
    (videos / "replacement" / "abc_000010_000020.mp4").symlink_to(videos / "sub" / "abc_000010_000020.mp4")
    assert len(from_file(tmp_path / "train.csv", videos)) == 2
    (videos / "replacement" / "abc_000010_000020.webm").touch()
    with pytest.raises(ValueError, match="names the video abc_000010_000020, and there are two of that name"):
        from_file(tmp_path / "train.csv", videos)


@pytest.mark.parametrize(
    "text", ['{"a": "0", "a": "1", "b": "1"}', '{"a": 0, "b": [1]}', '{"a": 0, "b": 1.5}', "[0]", "{}"]
)
def test_label_files_that_cannot_be_understood(videos, tmp_path, text):
    (tmp_path / "labels.json").write_text(text)
    (videos / "clips.csv").write_text("path,label\na.mp4,a\n")
    with pytest.raises(ValueError, match=r"labels\.json: expected "):
        from_file(videos / "clips.csv", label_file=tmp_path / "labels.json")


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
