# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Open the video stream of a file with PyAV, decode it from its current position, and convert its frames to RGB."""

import io
import multiprocessing
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import chain, islice, tee
from typing import Any, BinaryIO, NamedTuple

import av
import av.filter
import numpy as np

from .errors import HfRltError

Source = str | os.PathLike | bytes | BinaryIO

REENCODE_HINT = "Re-encode it, e.g. with `ffmpeg -i in -c:v libx264 out.mp4`, or leave it out."
_ONE_THREAD = 1 << 17  # pixels of a frame below which handing it to a thread costs more than it saves
# Formats that open files or addresses they name, run scripts, or draw text: a request for a video must not do that.
_REFUSED = {"concat", "hls", "dash", "webm_dash_manifest", "imf", "sdp", "rtp", "rtsp", "sap", "tty"}
_REFUSED |= {"image2", "vobsub", "mlv", "dvdvideo", "lavfi", "avisynth", "vapoursynth"}
FORMATS = ",".join(sorted(av.formats_available - _REFUSED))
_filters = threading.local()


class Limits(NamedTuple):
    """Limits on the cost of reading a video."""

    max_pixels: int | None = None  # a frame with more, counting the decoder's padding, is an error and not decoded
    on_frame: Callable[[Any], None] | None = None  # called with every decoded `av.VideoFrame`; may raise to stop


NO_LIMITS = Limits()


def name_of(source: Source) -> str:
    """Return the name of a source for error messages."""
    if isinstance(source, (str, os.PathLike)):
        return os.fsdecode(source)
    return "<bytes>" if isinstance(source, bytes) else str(getattr(source, "name", f"<{type(source).__name__}>"))


@contextmanager
def open_stream(source: Source, limits: Limits = NO_LIMITS) -> Iterator[tuple[Any, Any]]:
    """Yield the open container of a regular file, bytes or seekable binary file, and its video stream.

    Raises:
        OSError: the path cannot be opened.
        HfRltError: the source holds no video, or is a playlist or another format that names further files.
    """
    codec_options = {} if limits.max_pixels is None else {"max_pixels": str(limits.max_pixels)}
    with _open_container(source, codec_options) as container:
        yield container, prepare_stream(container, name_of(source), codec_options)


def prepare_stream(container: Any, name: str, codec_options: dict[str, str]) -> Any:
    """Return the video stream of an open container, ready to be decoded; raise HfRltError if there is none."""
    stream = choose_stream(container)
    if stream is None:
        found = [f"{s.type} {s.codec_context.name if s.codec_context else '?'}" for s in container.streams]
        raise HfRltError(f"{name}: no video stream to decode, found: {', '.join(found) or 'nothing'}. {REENCODE_HINT}")
    for other in container.streams:
        if other.index != stream.index:
            other.discard = av.stream.Discard.all  # not read, where the format allows it
    context = stream.codec_context
    context.options = codec_options
    context.copy_opaque = True  # each frame carries the number of its packet
    stream.thread_type = "FRAME"  # with slice threads the H.264 decoder conceals damage without reporting it
    # One thread reports damage just as several do. Sibling processes use the other cores; 0 is one thread per core.
    small = 0 < context.width * context.height < _ONE_THREAD
    context.thread_count = 1 if small or multiprocessing.parent_process() is not None else 0
    return stream


def choose_stream(container: Any) -> Any:
    """Return the video stream that ffmpeg considers best, never a cover picture; None if none can be decoded."""
    cover = av.stream.Disposition.attached_pic
    streams = {s.index: s for s in container.streams.video if s.codec_context and not s.disposition & cover}
    best = container.streams.best("video")
    return streams.get(best.index if best is not None else None, next(iter(streams.values()), None))


def _open_container(source: Source, codec_options: dict[str, str]) -> Any:
    file, protocols = _file(source)
    options = {"format_whitelist": FORMATS, "protocol_whitelist": protocols, **codec_options}
    try:
        return av.open(file, options=options, metadata_errors="replace")
    except av.error.ArgumentError as error:  # FFmpeg's error for a format that is not on the list
        raise HfRltError(
            f"{name_of(source)}: not a video that can be opened ({error.strerror}), or a playlist (m3u8, ...): formats that "
            "name other files are not read. Pass the video itself."
        ) from error
    except (av.error.FFmpegError, IndexError) as error:  # IndexError: PyAV's, for a stream that appears late
        reason = getattr(error, "strerror", None) or error
        raise HfRltError(f"{name_of(source)}: not a video that can be opened ({reason}). {REENCODE_HINT}") from error


def _file(source: Source) -> tuple[Any, str]:
    """Return the file for PyAV to open, and the FFmpeg protocols that it may use for that."""
    if isinstance(source, (str, os.PathLike)):
        path = os.fsdecode(source)
        if "\0" in path:
            raise HfRltError(f"{path!r}: expected the path of a file, received one with a zero byte.")
        if "://" in path:
            raise HfRltError(f"{path!r}: expected a file or an http(s) address: download it, and pass the file.")
        _check_regular(os.stat(path), path)
        open(path, "rb").close()  # raises the ordinary OSError if it cannot be opened
        return f"file:{path}", "file"  # without the prefix, a colon in the name would make it a protocol
    if isinstance(source, bytes):
        return io.BytesIO(source), "none"
    name, raw = name_of(source), getattr(source, "raw", source)
    if isinstance(raw, io.FileIO) and not raw.closed:
        _check_regular(os.fstat(raw.fileno()), name)
    try:
        source.seek(0)
        binary = isinstance(source.read(0), bytes)
    except (OSError, ValueError, AttributeError) as error:  # ValueError: it is closed
        raise HfRltError(f"{name}: expected a seekable binary file ({error}): read it and pass bytes.") from error
    if not binary:
        raise HfRltError(f"{name}: expected a binary file, received one of text: open it with mode 'rb'.")
    return source, "none"


def _check_regular(status: os.stat_result, name: str) -> None:
    """Refuse pipes, sockets and devices, which may never end; folders get the system's own error."""
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
        found = kinds.get(stat.S_IFMT(status.st_mode), "a device")
        raise HfRltError(f"{name}: expected a regular file, found {found}: save the video to a file first.")


def _demuxed(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the packets up to where the file breaks off, without empty ones, which would end the decoder."""
    with suppress(av.error.FFmpegError, IndexError):
        yield from (packet for packet in container.demux(stream) if packet.size)


def _packets(container: Any, stream: Any) -> Iterator[tuple[Any, bool]]:
    """Yield (packet, damaged).

    In a transport stream, a packet is marked as corrupt if data after it is lost. If one of the next two is a keyframe,
    another file may have been joined there: the decoder then has to tell whether the packet is whole.
    """
    packets, seconds, thirds = tee(chain(_demuxed(container, stream), [None, None]), 3)
    for packet, *later in zip(packets, islice(seconds, 1, None), islice(thirds, 2, None), strict=False):
        yield packet, packet.is_corrupt and not any(other and other.is_keyframe for other in later)


class Decoded(NamedTuple):
    """A decoded `av.VideoFrame`."""

    frame: Any
    is_key: bool  # decoding can start from it: packet and decoder both call it a keyframe
    intact: bool  # no damage was found from the last keyframe on


def decode(container: Any, stream: Any, limits: Limits = NO_LIMITS) -> Iterator[Decoded]:
    """Yield the frames from the current position on; after damage, none is intact until a keyframe stored after it."""
    broken, damaged, lost = False, -1, 1 << 62
    for number, (packet, marked) in enumerate(chain(_packets(container, stream), [(None, False)])):
        if packet is not None:
            packet.opaque = number, packet.is_keyframe
        if marked:
            lost, damaged = min(lost, number), number
        try:
            frames = stream.decode(packet)
        except av.error.FFmpegError as error:
            # After refusing a frame for its size, the decoder reports that size, or none.
            pixels = stream.codec_context.width * stream.codec_context.height
            if limits.max_pixels is not None and not 0 < pixels <= limits.max_pixels:
                raise HfRltError(f"a frame has more than {limits.max_pixels:,} pixels, the limit") from error
            frames, broken, damaged = [], True, number  # or a packet before, if threads decode
        for frame in frames:
            if limits.on_frame is not None:
                limits.on_frame(frame)
            origin, is_key = frame.opaque or (number, True)
            is_key = bool(is_key and frame.key_frame)
            if frame.is_corrupt:
                broken, damaged = True, max(damaged, origin)
            elif is_key and origin > damaged:
                broken, lost = False, 1 << 62
            yield Decoded(frame, is_key, not broken and origin < lost)


def quarter_turns(frame: Any) -> int:
    """Return how many quarter turns counterclockwise, as np.rot90 counts them, make a frame upright."""
    return round((frame.rotation or 0) / 90) % 4


def square_pixel_width(stream: Any, width: int) -> int:
    """Stretch a width by the stream's pixel aspect ratio, unless that is nonsense (beyond 1/8 to 8)."""
    ratio = float(stream.sample_aspect_ratio or 1)
    return round(width * (ratio if 1 / 8 <= ratio <= 8 else 1)) or 1


def upright_size(stream: Any, frame: Any) -> tuple[int, int]:
    """Return height and width of a frame when it is upright, with square pixels."""
    size = (frame.height, square_pixel_width(stream, frame.width))
    return (size[1], size[0]) if quarter_turns(frame) % 2 else size


def to_rgb(frame: Any, height: int, width: int) -> np.ndarray:
    """Convert a frame to (height, width, 3) uint8 RGB, upright. FFmpeg's filters convert the colours, as in ffmpeg."""
    turns = quarter_turns(frame)
    size = (height, width) if turns % 2 else (width, height)
    if size == (frame.width, frame.height):
        pixels = _converted(frame)
    else:  # one thread: starting swscale's threads anew for every frame would cost more than the conversion
        pixels = frame.to_ndarray(format="rgb24", width=size[0], height=size[1], threads=1)
    return np.rot90(pixels, turns)


def _converted(frame: Any) -> np.ndarray:
    """Convert by a filter: `frame.to_ndarray` would misplace chroma other than 8-bit 4:2:0, and interpolate linearly."""
    kind = (frame.format.name, frame.width, frame.height, frame.colorspace, frame.color_range, frame.interlaced_frame)
    if getattr(_filters, "kind", None) != kind:
        graph = av.filter.Graph()
        graph.threads = 1
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)
        )
        graph.link_nodes(source, graph.add("format", "pix_fmts=rgb24"), graph.add("buffersink")).configure()
        _filters.graph, _filters.kind = graph, kind
    _filters.graph.push(frame)
    return _filters.graph.pull().to_ndarray()
