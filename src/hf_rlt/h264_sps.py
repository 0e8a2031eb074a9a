# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Whether an H.264 stream may store the two fields of a frame apart, as its sequence parameter sets say.

Source: ITU-T H.264, sections 7.3.2.1.1 (the sets) and 9.1 (Exp-Golomb codes); ISO/IEC 14496-15, section 5.3.3.1 (avcC).
"""

import re
from collections.abc import Iterator

_WITH_CHROMA = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}  # profiles whose sets say more


def may_hold_fields(extradata: bytes | None) -> bool:
    """Return False if every parameter set rules out fields (frame_mbs_only_flag), True otherwise or if none can be read.

    Args:
        extradata: what the decoder is opened with: an avcC box's content or NAL units with start codes.
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
    """The bits of a parameter set, the most significant of each byte first."""

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
