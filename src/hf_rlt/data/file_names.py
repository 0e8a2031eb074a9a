# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Tell videos from other files by their names."""

# Suffixes of the formats that PyAV opens. A file of another kind with such a suffix, e.g. TypeScript's .ts, is reported
# when it cannot be read.
_VIDEOS = """
.264 .265 .266 .3g2 .3gp .3gp2 .3gpp .3gpp2 .amv .apng .asf .avc .avi .dav .dif .divx .dv .dvr-ms .evo .f4v .flv .gif
.gxf .h261 .h263 .h264 .h265 .h266 .h26l .hevc .ismv .ivf .m1v .m2p .m2t .m2ts .m2v .m4v .mj2 .mjpeg .mjpg .mk3d .mkv
.mod .mov .mp2v .mp4 .mp4v .mpe .mpeg .mpg .mpv .mts .mxf .nsv .nut .nuv .obu .ogg .ogm .ogv .ogx .qt .rm .rmvb .tod
.trp .ts .vob .vro .vvc .webm .wmv .wtv .xvid .y4m
"""
# Suffixes of files that are common beside videos, skipped without a warning.
_COMPANIONS = """
.aac .arrow .ass .bmp .cfg .csv .db .flac .h5 .hdf5 .heic .html .idx .info .ini .ipynb .jpeg .jpg .json .jsonl .lnk .log
.m4a .mat .md .md5 .mp3 .nfo .npy .npz .opus .parquet .pdf .pkl .png .pt .pth .py .rst .safetensors .sh .sha1 .sha256
.srt .ssa .sub .svg .thm .tif .tiff .toml .tsv .txt .url .vtt .wav .webp .xml .xmp .yaml .yml
"""
# Files and folders left behind by file managers, network drives and file systems, in lower case.
_LEFT_BEHIND = """
__macosx/@eadir/@tmp/@recycle/@recently-snapshot/#recycle/#snapshot/$recycle.bin/recycler/recycled/lost+found/found.000
system volume information/network trash folder/temporary items
"""
VIDEO_SUFFIXES = frozenset(_VIDEOS.split())
COMPANION_SUFFIXES = frozenset(_COMPANIONS.split())
LEFT_BEHIND = frozenset(_LEFT_BEHIND.strip().replace("\n", "/").split("/"))


def is_left_behind(name: str) -> bool:
    """Return whether a program left a file or folder behind, like .Trash-0, .ipynb_checkpoints or ._clip.mp4."""
    return name.startswith(".") or name.lower() in LEFT_BEHIND
