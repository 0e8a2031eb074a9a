# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Clean files of unusual make: copied packets, moved times, joined pieces."""

from collections.abc import Callable, Iterator
from pathlib import Path

from media import remux


def variants(get: Callable[[str], Path]) -> Iterator[tuple[str, str, Callable[[Path], object]]]:
    """Yield (name, suffix, how to write it); `get` returns other clean files by name."""
    for source in ("libx264_b3_avi", "libx264_open_pyramid_avi", "libx264_b1_avi", "libx264_b3_asf", "mpeg4_b2_avi"):
        for suffix in (".mp4", ".mov", ".mkv", ".nut", ".ts"):

            def build(path: Path, source: str = source) -> object:
                return remux(get(source), path)

            yield f"copy_{source}_to_{suffix[1:]}", suffix, build
