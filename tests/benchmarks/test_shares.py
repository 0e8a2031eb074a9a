# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The threshold that computes a wanted share of the tokens."""

import pytest
import torch

from benchmarks.common.shares import readable_views, share_at, threshold_for_share
from hf_rlt import RunRule, find_runs
from hf_rlt.data import EvalDataset, from_folder
from hf_rlt.errors import HfRltError

RULE = RunRule(threshold=None, tubelet_size=2, patch_size=8)


def test_a_threshold_computes_the_share_it_was_found_for():
    generator = torch.Generator().manual_seed(0)
    # Clips that change a little and a lot, in batches of unequal size.
    batches = [torch.randn(n, 8, 3, 32, 32, generator=generator) * scale for n, scale in ((3, 0.1), (1, 1.0))]
    differences = [RULE.differences(pixels) for pixels in batches]
    for tokens in (64, 65, 150, 255):
        threshold = threshold_for_share(RULE, differences, tokens / 256)
        assert sum(int((find_runs(pixels, threshold, 2, 8) > 0).sum()) for pixels in batches) == tokens
        assert share_at(RULE, differences, threshold) == tokens / 256


def test_the_nearer_side_of_a_step_is_taken():
    clips = torch.zeros(1, 8, 1, 16, 8)  # 4 tubelets in time of 2 places
    clips[0, 2:, :, :8] = 1  # one place changes once, the other three times, by twice as much
    clips[0, 2::4, :, 8:] = 2
    clips[0, 3::4, :, 8:] = 2
    differences = [RULE.differences(clips)]
    found = {share: threshold_for_share(RULE, differences, share) for share in (0.25, 0.4, 0.45, 0.62, 0.68, 0.7, 0.75)}
    computed = {share: int(8 * share_at(RULE, differences, threshold)) for share, threshold in found.items()}
    assert computed == {0.25: 2, 0.4: 2, 0.45: 5, 0.62: 5, 0.68: 5, 0.7: 6, 0.75: 6}


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_share_that_no_threshold_computes(share):
    clips = torch.zeros(1, 8, 1, 16, 8)
    clips[0, 4:, :, :8] = 1
    with pytest.raises(HfRltError, match=f"from 0.25 .* to 0.375 .* received {share}"):
        threshold_for_share(RULE, [RULE.differences(clips)], share)


def test_views_that_can_be_read(labelled, processor, tmp_path):
    data = EvalDataset(from_folder(*labelled), processor, num_clips=2, on_bad_video="skip")
    pixels = list(readable_views(data, batch_size=4))
    assert sum(map(len, pixels)) == 2 * 5
    assert torch.equal(torch.cat(pixels)[:2], data[0]["pixel_values"])
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "broken.mp4").write_bytes(b"no video")
    broken = EvalDataset(from_folder(tmp_path, ["a"]), processor, on_bad_video="skip")
    with pytest.raises(HfRltError, match="None of the 1 videos"):
        list(readable_views(broken))
