# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The reader against a full decode by FFmpeg: a small share of what `run.py` compares."""

import pytest
from cases import Cases
from isolated import Reader
from report import is_bad

from helpers.paths import CLIPS

CLEAN = """
libx264_b3_mp4 libx264_b3_avi libx264_open_gop_mkv libx264_n1_mp4 libx264_wide_pixels_mkv libx264_grey_mp4
libx264_odd_size_mp4 libx265_open_gop_mkv mpeg4_b2_avi mpeg2video_interlaced_vob libvpx_alt_ref_webm libsvtav1_plain_obu
gif_plain_gif apng_pal_apng
copy_libx264_open_pyramid_avi_mp4 times_pts_is_dts_libx264_b3_mp4_mkv times_much_jitter_libx264_b3_mp4_mov
patched_random_mpeg4_b0_mkv packed_48_avi wrap_0.7_libx264_b3_ts_ts flags_all_libx264_b3_mp4_mkv paff_keyint12_single_ts
paff_mixed_pairs_mkv empty_libx264_b0_h264_nut forgotten_libx265_closed_hevc_mp4 no_vui_b3_mkv
edits_middle_libx264_b3_mp4 turned_90 variable_1_mkv joined_four_libx264_b3_ts joined_three_sizes_libx264_b3_h264
beside_larger_second_mkv cover_mp4 cut_first_5_libx264_open_gop_ts_ts cut_holes_libx265_open_gop_mkv_mkv
cut_bytes_0.62_libx264_b3_mkv
"""
MORE = """
libx264_b3_asf libx264_open_pyramid_ts libx264_open_gop_fragments_short libx264_refresh_b_mkv libx264_tff_mp4
libx264_one_key_h264 libx264_n2_avi libx264_n7_mp4 libx264_b3_mxf libx264_fps3000_mkv libx264_10bit_mp4 libx264_444_mp4
libx264_b3_mkv_small_clusters libx264_larger_mp4 libx265_fields_ts mpeg4_b2_m4v mpeg1video_b2_m1v libvpx-vp9_alt_ref_ivf
mjpeg_plain_mov copy_mpeg4_b2_avi_mkv copy_libx264_b3_h264_ts times_swapped_mpeg4_b2_mp4_mp4
times_again_from_zero_mpeg4_b0_mp4_mkv clock_wrap_libx265_open_gop_ts_ts clock_ahead_mpeg2video_b2_ts_ts
index_none_mpeg4_b2_avi paff_keyint2_single_mp4 paff_late_single_mkv empty_mpeg4_b0_m4v_mkv
empty_chunks_no_index_mpeg4_b2_avi mpeg2_fields_mpg no_vui_open_pyramid_ts without_ctts_libx264_open_gop_mp4
edits_twice_the_same_mpeg4_b2_mp4 joined_other_size_libx264_open_gop_ts joined_two_mpeg2video_b2_mpg
joined_other_size_mpeg2video_b2_m2v cut_holes_libx264_open_gop_ts_avi cut_pairs_libx264_b3_mp4_mkv
"""
FOLDERS = [CLIPS / name for name in ("odd", "real", "faults")]
DAMAGED, NO_VIDEO = ("corrupt_bytes", "mpeg4_times_moved"), ("audio_only", "empty", "text_named", "truncated_no_moov")


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """Read a case, and fail if any of its frames is wrong."""
    with Reader(tmp_path_factory.mktemp("media"), seconds=300) as reader:

        def checked(name, most=400 << 20):
            result = reader.read(name)
            if result.skipped:
                pytest.skip(str(result.notes))
            assert not is_bad(result), result
            assert result.memory < most, result
            return result

        yield checked


def slow(values):
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


@pytest.mark.parametrize("name", [*CLEAN.split(), *slow(MORE.split())])
def test_frames_of_made_files(read, name):
    assert read(name).held > 0


@pytest.mark.parametrize("seeds", [range(20), *slow(range(i, i + 20) for i in (20, 40, 60))], ids=str)
def test_frames_of_damaged_files(read, seeds):
    for seed in seeds:
        read(f"mutated:{seed}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [path for folder in FOLDERS for path in sorted(folder.glob("*"))], ids=lambda p: p.name
)
def test_frames_of_files_from_elsewhere(read, path):
    kind = "damaged" if path.stem in DAMAGED else "file"
    result = read(f"{kind}:{path}", most=1 << 30)  # all frames of the largest are 365 MB
    assert (result.held > 0) == (path.stem not in NO_VIDEO)


def test_there_is_more_to_run_by_hand(tmp_path):
    clean = Cases(tmp_path).clean
    assert len(clean) > 2000
    assert not {*CLEAN.split(), *MORE.split()} - clean.keys()
