# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A file of JSON lines survives interruptions, full disks and other processes, and spoils no other file."""

import threading

import pytest

from hf_rlt.jobs.jsonl import JsonlStore


def store(path, **settings) -> JsonlStore:
    return JsonlStore(path, ("video",), ("value",), "values", **settings)


def record(number: int, value: int = 0) -> dict:
    return {"video": f"{number}.mp4", "value": value}


def test_records_are_found_again_and_the_last_one_counts(tmp_path):
    with store(tmp_path / "a") as lines:
        lines.add([record(1), record(2), {"video": "3.mp4"}])
        lines.add([record(1, 5)])
        assert lines.get(record(1)) == record(1, 5)
    with store(tmp_path / "a") as lines:
        assert [lines.get(record(number)) for number in (1, 2, 3)] == [record(1, 5), record(2), None]  # 3 lacks a field
        assert [record(number) in lines for number in (1, 2, 3)] == [True, True, False]


def test_a_torn_line_costs_that_line(tmp_path):
    path, records = tmp_path / "a", [record(number) for number in range(3)]
    with store(path) as lines:
        lines.add(records)
    content = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == 10]
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        with store(path) as lines:
            assert [one in lines for one in records] == [end <= cut for end in ends]
            lines.add(one for one in records if one not in lines)
        assert path.read_bytes() == content


def test_a_full_disk_tears_no_record(tmp_path):
    resource = pytest.importorskip("resource")
    with store(tmp_path / "a") as lines:
        lines.add([record(0)])
        content = (tmp_path / "a").read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) + 20, limits[1]))  # bytes of a file: as little room
        try:
            with pytest.raises(OSError, match=r"cannot be written \(File too large\): make room"):
                lines.add([record(1)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert (tmp_path / "a").read_bytes() == content
        lines.add([record(2)])
        assert [record(number) in lines for number in range(3)] == [True, False, True]


def test_one_process_writes_and_others_wait_or_are_refused(tmp_path):
    def add_later() -> None:
        with store(tmp_path / "a", wait=True) as lines:
            seen.append(record(0) in lines)
            lines.add([record(1)])

    seen: list[bool] = []
    waiting = threading.Thread(target=add_later)
    with store(tmp_path / "a") as lines:
        with pytest.raises(ValueError, match="another run writes it: wait, or choose"):
            store(tmp_path / "a")
        waiting.start()
        lines.add([record(0)])
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(10)
    assert seen == [True]
    with store(tmp_path / "a", exclusive=False) as lines, store(tmp_path / "a", exclusive=False):
        assert record(1) in lines


@pytest.mark.parametrize("content", [b"\x00\x00\x00\x18ftypmp42", b'{"videos": []}\n', b"one line\n"])
def test_another_file_is_not_spoilt(tmp_path, content):
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(ValueError, match="other: is no file of values"):
        store(tmp_path / "other")
    assert (tmp_path / "other").read_bytes() == content
