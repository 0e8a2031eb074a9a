# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Batches of videos in an engine: rows in, the same rows out, whoever hands them out."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset

from helpers.paths import ROOT, SHARED
from helpers.predictions import lines
from hf_rlt.inference import Options, predict
from hf_rlt.inference.batch import RLTBatchDecoder, RLTBatchPredictor
from hf_rlt.inference.loading import load

POOLED = Options(batch_size=4, max_tokens_per_batch=300, num_workers=2, features="pooled")


@pytest.fixture
def paths(videos):
    return [str(path) for path in sorted(videos.rglob("*.mp4"))]


def rows_of(columns):
    """Rows as plain Python."""
    columns = {name: [plain(value) for value in values] for name, values in columns.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def plain(value):
    return [float(x) for x in value] if hasattr(value, "dtype") else value


def test_a_batch_says_what_predict_says(model, videos, paths, tmp_path):
    found = RLTBatchPredictor(str(model), POOLED)({"path": paths, "number": range(len(paths))})
    assert (found["path"], found["number"]) == (paths, list(range(len(paths))))
    list(predict([videos], *load(str(model)), tmp_path / "out", Options(features="pooled", num_workers=0)))
    wanted = {line["video"]: line for line in lines(tmp_path / "out")}
    for row in rows_of(found):
        line = wanted[row["path"]]
        if "error" in line:
            assert row["error"] == line["error"]
            assert {row[name] for name in row if name not in ("path", "number", "error")} == {None}
            continue
        assert row["error"] is None
        assert row["labels"] == line["labels"]
        assert row["scores"] == pytest.approx(line["scores"], abs=2e-6)
        assert (row["label"], row["score"]) == (row["labels"][0], row["scores"][0])
        assert (row["tokens_computed"], row["tokens"]) == (line["tokens_computed"], line["tokens"])
        assert len(row["features"]) == 48
    assert sum(error is not None for error in found["error"]) == 1


def test_two_stages_bytes_and_a_pickled_predictor_say_the_same(model, paths):
    predictor, decoder = RLTBatchPredictor(str(model), POOLED), RLTBatchDecoder(str(model), POOLED)
    predictor, decoder = (pickle.loads(pickle.dumps(stage)) for stage in (predictor, decoder))
    wanted = rows_of(predictor({"path": paths}))
    decoded = decoder({"path": paths})
    sent = sum(len(each) for each in decoded["tubelets"] if each is not None)
    computed = sum(row["tokens_computed"] or 0 for row in wanted)
    assert sent == computed * 2 * 3 * 8 * 8  # bytes of what is computed, nothing else
    assert rows_of(predictor(decoded)) == wanted
    table = predictor(decoder(pa.table({"path": paths})))
    assert rows_of(table.to_pydict()) == wanted
    assert table.schema == pa.schema([("path", pa.string()), *predictor.schema])
    by_content = rows_of(predictor({"path_of": paths, "bytes": [Path(path).read_bytes() for path in paths]}))
    for row, one in zip(by_content, wanted, strict=True):
        assert row.pop("path_of") == one.pop("path")
        assert (row.pop("error") is None) == (one.pop("error") is None)
        assert row == one


def test_datasets_map_says_the_same(model, paths):
    predictor = RLTBatchPredictor(str(model), POOLED)
    data = Dataset.from_dict({"path": paths}).with_format("arrow").map(predictor, batched=True, batch_size=len(paths))
    assert rows_of(data.with_format(None).to_dict()) == rows_of(predictor({"path": paths}))


def test_all_unreadable_and_no_rows(model, tmp_path):
    gone, predictor = str(tmp_path / "gone.mp4"), RLTBatchPredictor(str(model))
    table = predictor(pa.table({"path": [gone]}))
    assert table.schema.field("labels").type == pa.list_(pa.string())
    assert table["error"][0].as_py() == "cannot be found (No such file or directory)."
    for stage in (predictor, RLTBatchDecoder(str(model))):
        assert set(map(tuple, stage({"path": []}).values())) == {()}
        assert stage(pa.table({"path": pa.array([], pa.string())})).num_rows == 0


def test_settings_and_mistakes(model, paths):
    few = RLTBatchPredictor(str(model), num_tokens=80, dtype="bfloat16", device="cpu")
    assert few.runner.dtype == torch.bfloat16
    assert few({"path": paths[:2]})["tokens_computed"] == [80, 80]
    with pytest.raises(ValueError, match="Expected a column path or bytes, received video"):
        few({"video": paths})
    with pytest.raises(ValueError, match="Expected dtype to be one of float32, bfloat16, float16, received 'int8'"):
        RLTBatchPredictor(str(model), dtype="int8")
    whole = RLTBatchPredictor(str(model), Options(2, features="tokens"))(pa.table({"path": paths[:1]}))
    assert numpy.array(whole["features"][0].as_py()).shape == (2, 512, 48)
    decoded = RLTBatchDecoder(str(model), Options(num_clips=2))({"path": paths[:1]})
    with pytest.raises(ValueError, match="decode with the same model, options and settings"):
        few(decoded)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "daft"])
def test_the_examples_say_the_same(engine, model, paths, tmp_path):
    pytest.importorskip(engine)
    real = sorted((SHARED / "clips").glob("*/*")) if (SHARED / "clips").is_dir() else []
    paths = [*paths, *(str(path) for path in real if path.is_file())]
    (tmp_path / "list.txt").write_text("\n".join(paths))
    argv = [ROOT / "examples" / "cluster" / f"{engine}_predict.py", tmp_path / "list.txt", model, tmp_path / "out"]
    done = subprocess.run([sys.executable, *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {row["path"]: row for row in pq.read_table(tmp_path / "out").to_pylist()}
    predictor = RLTBatchPredictor(str(model))
    for row in rows_of(predictor({"path": paths})):
        wanted = {name: row[name] for name in found[row["path"]]}
        assert found[row["path"]] == wanted
    assert len(found) == len(paths)
