# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Parse NAL units of H.264 and HEVC: does a packet hold exactly one picture, and may a picture be a field?

Source: ITU-T H.264, sections 7.3.1, 7.3.2.1.1, 7.3.3 and 9.1; ITU-T H.265, sections 7.3.1.2 and 7.3.6.1; ISO/IEC
14496-15, sections 5.3.3.1 (avcC) and 8.3.3.1 (hvcC).
"""

import re
from collections.abc import Iterator

_WITH_CHROMA = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}  # profiles with a longer parameter set


def length_size(extradata: bytes | None, codec: str) -> int:
    """Return the size in bytes of the length field before each unit of a packet; 0 if start codes separate them."""
    place = {"h264": 4, "hevc": 21}[codec]
    return (extradata[place] & 3) + 1 if extradata and extradata[0] == 1 and len(extradata) > place else 0


def holds_one_picture(data: bytes, codec: str, size: int) -> bool:
    """Return whether exactly one picture begins in a packet and does not make the decoder drop earlier ones.

    Args:
        data: the packet.
        codec: "h264" or "hevc".
        size: see `length_size`.
    """
    hevc, pictures = codec == "hevc", 0
    for begin in _units(data, size):
        kind = data[begin] >> 1 & 63 if hevc else data[begin] & 31
        if kind > 31 if hevc else kind not in (1, 2, 5):
            continue  # not a slice
        first = data[begin + (2 if hevc else 1)]
        pictures += first >> 7  # first_mb_in_slice = 0, first_slice_segment_in_pic_flag
        if hevc and 16 <= kind <= 23 and first >> 6 & 1:
            return False  # no_output_of_prior_pics_flag
    return pictures == 1


def _units(data: bytes, size: int) -> Iterator[int]:
    """Yield the offset of each unit of at least three bytes."""
    if size:
        place = size
        while place + 3 <= len(data):
            yield place
            place += int.from_bytes(data[place - size : place], "big") + size
        return
    place = data.find(b"\0\0\1") + 3
    while 3 <= place <= len(data) - 3:
        yield place
        place = data.find(b"\0\0\1", place) + 3


def may_hold_fields(extradata: bytes | None) -> bool:
    """Return False if every H.264 parameter set rules out fields (frame_mbs_only_flag), and there is at least one.

    Args:
        extradata: of the decoder: the content of an avcC box, or NAL units with start codes.
    """
    try:
        flags = [_frames_only(unit) for unit in _parameter_sets(extradata or b"")]
    except (IndexError, ValueError):
        return True
    return not flags or not all(flags)


def _parameter_sets(data: bytes) -> Iterator[bytes]:
    if data[:1] == b"\x01":
        place = 6
        for _ in range(data[5] & 31):
            size = int.from_bytes(data[place : place + 2], "big")
            yield data[place + 2 : place + 2 + size]
            place += 2 + size
        return
    yield from (unit for unit in re.split(rb"\x00\x00\x01", data)[1:] if unit and unit[0] & 31 == 7)


def _frames_only(unit: bytes) -> bool:
    payload = unit[1:].replace(b"\x00\x00\x03", b"\x00\x00")
    bits = _Bits(payload)
    profile = bits.take(8)
    bits.take(16)
    bits.golomb()
    if profile in _WITH_CHROMA:
        chroma = bits.golomb()
        bits.take(1 if chroma == 3 else 0)
        bits.golomb()
        bits.golomb()
        bits.take(1)
        if bits.take(1):
            for i in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    bits.scaling_list(16 if i < 6 else 64)
    bits.golomb()
    order_type = bits.golomb()
    if order_type == 0:
        bits.golomb()
    elif order_type == 1:
        bits.take(1)
        bits.golomb()
        bits.golomb()
        for _ in range(min(bits.golomb(), 256)):
            bits.golomb()
    bits.golomb()
    bits.take(1)
    bits.golomb()
    bits.golomb()
    return bool(bits.take(1))


class _Bits:
    """Bit reader of a parameter set, most significant bit of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._text = "".join(f"{byte:08b}" for byte in data)
        self._place = 0

    def take(self, count: int) -> int:
        taken = self._text[self._place : self._place + count]
        self._place += count
        if len(taken) < count:
            raise ValueError("the parameter set ends early")
        return int(taken or "0", 2)

    def golomb(self) -> int:
        zeros = self._text.index("1", self._place) - self._place
        self._place += zeros
        return self.take(zeros + 1) - 1

    def scaling_list(self, size: int) -> None:
        last = step = 8
        for _ in range(size):
            if step:
                code = self.golomb()
                step = (last + (code + 1 >> 1) * (1 if code % 2 else -1)) % 256
            last = step or last
