# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The reader against a full decode by FFmpeg: a small share of what `run.py` compares, about half a minute."""

import pytest
from cases import Cases
from processes import Reader
from report import is_bad

CLEAN = [
    "libx264_b3_mp4",
    "libx264_b3_avi",
    "libx264_b3_asf",
    "libx264_open_pyramid_ts",
    "libx264_open_gop_fragments_short",
    "libx264_refresh_b_mkv",
    "libx264_tff_mp4",
    "libx264_one_key_h264",
    "libx264_n1_mp4",
    "libx264_n2_avi",
    "libx264_b3_mxf",
    "libx264_fps3000_mkv",
    "libx264_wide_pixels_mkv",
    "libx265_open_gop_mkv",
    "libx265_fields_ts",
    "mpeg4_b2_avi",
    "mpeg4_b2_m4v",
    "mpeg2video_interlaced_vob",
    "mpeg1video_b2_m1v",
    "libvpx_alt_ref_webm",
    "libvpx-vp9_alt_ref_ivf",
    "libsvtav1_plain_obu",
    "apng_pal_apng",
    "gif_plain_gif",
    "mjpeg_plain_mov",
    "copy_libx264_open_pyramid_avi_mp4",
    "copy_mpeg4_b2_avi_mkv",
    "copy_libx264_b3_h264_ts",
    "times_pts_is_dts_libx264_b3_mp4_mkv",
    "times_swapped_mpeg4_b2_mp4_mp4",
    "times_again_from_zero_mpeg4_b0_mp4_mkv",
    "times_much_jitter_libx264_b3_mp4_mov",
    "patched_random_mpeg4_b0_mkv",
    "packed_48_avi",
    "wrap_0.7_libx264_b3_ts_ts",
    "clock_wrap_libx265_open_gop_ts_ts",
    "clock_ahead_mpeg2video_b2_ts_ts",
    "flags_all_libx264_b3_mp4_mkv",
    "index_none_mpeg4_b2_avi",
    "paff_keyint12_single_ts",
    "paff_keyint2_single_mp4",
    "paff_mixed_pairs_mkv",
    "paff_late_single_mkv",
    "empty_mpeg4_b0_m4v_mkv",
    "empty_libx264_b0_h264_nut",
    "empty_chunks_no_index_mpeg4_b2_avi",
    "forgotten_libx265_closed_hevc_mp4",
    "mpeg2_fields_mpg",
    "no_vui_open_pyramid_ts",
    "no_vui_b3_mkv",
    "without_ctts_libx264_open_gop_mp4",
    "edits_middle_libx264_b3_mp4",
    "edits_twice_the_same_mpeg4_b2_mp4",
    "turned_90",
    "variable_1_mkv",
    "joined_four_libx264_b3_ts",
    "joined_other_size_libx264_open_gop_ts",
    "joined_three_sizes_libx264_b3_h264",
    "joined_two_mpeg2video_b2_mpg",
    "joined_other_size_mpeg2video_b2_m2v",
    "beside_larger_second_mkv",
    "cover_mp4",
    "cut_first_5_libx264_open_gop_ts_ts",
    "cut_holes_libx265_open_gop_mkv_mkv",
    "cut_holes_libx264_open_gop_ts_avi",
    "cut_pairs_libx264_b3_mp4_mkv",
    "cut_bytes_0.62_libx264_b3_mkv",
]
MUTATED = [range(first, first + 15) for first in range(0, 60, 15)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    with Reader(tmp_path_factory.mktemp("media"), seconds=60) as reader:
        yield reader


def check(result):
    assert not is_bad(result), result
    assert result.memory < 400 << 20, result


@pytest.mark.parametrize("name", CLEAN)
def test_frames_of_whole_files(reader, name):
    result = reader.read(name)
    if result.skipped:
        pytest.skip(str(result.notes))
    assert result.held > 0
    check(result)


@pytest.mark.parametrize("seeds", MUTATED, ids=str)
def test_frames_of_damaged_files(reader, seeds):
    for seed in seeds:
        check(reader.read(f"mutated:{seed}"))


def test_there_is_more_to_run_by_hand(tmp_path):
    assert len(Cases(tmp_path).clean) > 1500
