# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Videos behind addresses: in an S3 bucket, in any file system that fsspec knows, on a web server."""

import http.server
import threading
from functools import partial

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.predictions import lines, run
from hf_rlt.data import from_file
from hf_rlt.inference import video_paths
from hf_rlt.inference.loading import load
from hf_rlt.tokens import find


@pytest.fixture
def bucket(videos):
    """The 24 videos in memory, below the address that is returned."""
    files = fsspec.filesystem("memory")
    for path in videos.rglob("*.mp4"):
        files.pipe(f"/bucket/{path.relative_to(videos)}", path.read_bytes())
    files.pipe("/bucket/notes.txt", b"no video")
    yield "memory://bucket"
    files.rm("/bucket", recursive=True)


def without_files(rows):
    """Rows without what belongs to a file, each by the last two parts of its name."""
    keep = lambda row: {name: row[name] for name in row if name not in ("video", "size", "mtime_ns")}  # noqa: E731
    return {"/".join(row["video"].split("/")[-2:]): keep(row) for row in rows}


def test_a_folder_with_an_address_is_predicted_as_on_disk(model, videos, bucket, tmp_path):
    assert run(bucket, "--model", model, "--output", tmp_path / "cloud").exit_code == 1
    assert run(videos, "--model", model, "--output", tmp_path / "disk").exit_code == 1
    found, wanted = lines(tmp_path / "cloud"), lines(tmp_path / "disk")
    assert [row["video"] for row in found][:2] == ["memory:///bucket/a/00.mp4", "memory:///bucket/a/02.mp4"]
    assert without_files(found) == without_files(wanted)
    done = run(bucket, "--model", model, "--output", tmp_path / "cloud")
    assert "23 known before" in done.stdout


def test_an_address_wherever_a_path_is_taken(model, videos, bucket, tmp_path):
    address, path = f"{bucket}/a/00.mp4", str(videos / "a" / "00.mp4")
    processor = load(str(model))[1]
    wanted = processor(path, return_tensors="pt")
    for source in (address, {"path": address, "bytes": None}, {"path": address}):
        assert processor(source, return_tensors="pt")["pixel_values"].equal(wanted["pixel_values"])
    (tmp_path / "list.txt").write_text(f"{address}\n{path}\n")
    (tmp_path / "list.csv").write_text(f"path,label\n{address},x\na/02.mp4,y\n")
    pq.write_table(pa.table({"path": [address, path], "number": [1, 2]}), tmp_path / "list.parquet")
    pq.write_table(pa.table({"number": [1, 2]}), tmp_path / "none.parquet")
    pq.write_table(pa.table({"path": ["a.mp4", None]}), tmp_path / "null.parquet")
    assert video_paths([tmp_path / "list.txt"]) == video_paths([tmp_path / "list.parquet"]) == [address, path]
    assert from_file(tmp_path / "list.csv", bucket).sources == [address, f"{bucket}/a/02.mp4"]
    assert list(find([address, f"{bucket}/a"]))[:2] == [address, "memory:///bucket/a/00.mp4"]
    with pytest.raises(ValueError, match="expected a column path or video, found 'number'"):
        video_paths([tmp_path / "none.parquet"])
    with pytest.raises(ValueError, match="expected text in each row of the column path"):
        video_paths([tmp_path / "null.parquet"])
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(ValueError, match="expected a Parquet file"):
        video_paths([tmp_path / "text.parquet"])


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://gone/a.mp4", "could not be downloaded"),
        ("nosuch://a/b.mp4", "could not be downloaded .Protocol not known: nosuch"),
    ],
)
def test_what_is_not_there_is_one_line(model, address, message):
    with pytest.raises(ValueError, match=f"^{address}: {message}.*Download it yourself and pass the file.$"):
        load(str(model))[1](address)


def test_a_place_that_cannot_be_listed_is_one_line(model, tmp_path):
    done = run("nosuch://bucket/videos", "--model", model, "--output", tmp_path / "out")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "nosuch://bucket/videos: cannot be listed (Protocol not known: nosuch" in done.stderr


@pytest.mark.slow
def test_a_bucket_of_s3(model, videos, tmp_path, monkeypatch):
    moto, s3fs = pytest.importorskip("moto.server"), pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        s3fs.S3FileSystem.clear_instance_cache()
        files = s3fs.S3FileSystem()
        files.mkdir("bucket")
        files.put(str(videos), "bucket/videos", recursive=True)
        assert run("s3://bucket/videos", "--model", model, "--output", tmp_path / "cloud").exit_code == 1
    finally:
        server.stop()
    assert run(videos, "--model", model, "--output", tmp_path / "disk").exit_code == 1
    assert without_files(lines(tmp_path / "cloud")) == without_files(lines(tmp_path / "disk"))


class _Counting(http.server.SimpleHTTPRequestHandler):
    asked: list = []  # noqa: RUF012

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


def test_a_web_server_is_asked_once_for_each_video(model, videos, tmp_path):
    _Counting.asked.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Counting, directory=str(videos)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = f"http://127.0.0.1:{server.server_port}"
    (tmp_path / "list.txt").write_text(f"{place}/a/00.mp4\n{place}/a/gone.mp4\n{place}/b/01.mp4\n")
    try:
        done = run(tmp_path / "list.txt", "--model", model, "--output", tmp_path / "out")
    finally:
        server.shutdown()
        server.server_close()
    assert done.exit_code == 1, done.stderr
    assert _Counting.asked == ["/a/00.mp4", "/a/gone.mp4", "/b/01.mp4"]
    assert ["error" in row for row in lines(tmp_path / "out")] == [False, True, False]
    assert "HTTP Error 404" in lines(tmp_path / "out")[1]["error"]
