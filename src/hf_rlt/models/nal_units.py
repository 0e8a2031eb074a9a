# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Parse NAL units of H.264 and HEVC: does each packet hold exactly one picture, a frame, and is none missing?

Source: ITU-T H.264, sections 7.3.1, 7.3.2.1.1, 7.3.3, 7.4.3 and 9.1; ITU-T H.265, sections 7.3.1.2 and 7.3.6.1; ISO/IEC
14496-15, sections 5.3.3.1 (avcC) and 8.3.3.1 (hvcC).
"""

from collections.abc import Iterator

from .errors import HfRltError

_WITH_CHROMA = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}  # profiles with a longer parameter set


class PictureScan:
    """Check the packets of a stream, one after the other.

    Args:
        codec: "h264" or "hevc".
        extradata: what the decoder is opened with: an avcC or hvcC box's content, or NAL units with start codes.

    Raises:
        HfRltError: its parameter sets cannot be read, differ, or allow packets that hold one field of a frame.
    """

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        data = extradata or b""
        self._hevc, place = codec == "hevc", 21 if codec == "hevc" else 4
        # Bytes before each unit that give its length; 0 if start codes separate them.
        self._length = (data[place] & 3) + 1 if data[:1] == b"\1" and len(data) > place else 0
        self._last: int | None = None  # frame_num of the last reference picture
        if not self._hevc:
            sets = {_read_set(unit) for unit in _parameter_sets(data)}
            if len(sets) != 1:
                raise HfRltError(f"{len(sets)} kinds of parameter sets")
            self._planes, self._bits = sets.pop()

    def holds_next(self, packet: bytes) -> bool:
        """Return whether a packet holds exactly one picture and no reference picture is missing before it."""
        pictures = 0
        for begin in _units(packet, self._length):
            header = packet[begin]
            kind = header >> 1 & 63 if self._hevc else header & 31
            if kind > 31 if self._hevc else kind not in (1, 2, 5):
                continue  # not a slice
            first = packet[begin + (2 if self._hevc else 1)]
            pictures += first >> 7  # first_mb_in_slice = 0, first_slice_segment_in_pic_flag
            if self._hevc:
                if 16 <= kind <= 23 and first >> 6 & 1:
                    return False  # no_output_of_prior_pics_flag: the decoder forgets pictures
            elif first >> 7 and not self._follows(packet[begin : begin + 12], kind == 5):
                return False
        return pictures == 1

    def _follows(self, unit: bytes, anew: bool) -> bool:
        """Return whether the frame_num of an H.264 picture follows that of the last reference picture."""
        # With integers alone: a file has thousands of pictures, and `_Bits` would take longer than reading a clip of it.
        payload = unit[1:].replace(b"\0\0\3", b"\0\0")
        rest, left = int.from_bytes(payload, "big"), 8 * len(payload)
        for _ in range(3):  # first_mb_in_slice, slice_type, pic_parameter_set_id
            rest &= (1 << left) - 1
            left -= 2 * (left - rest.bit_length()) + 1
            if left < 0:
                return False
        left -= self._bits + (2 if self._planes else 0)
        if left < 0:
            return False
        number = rest >> left & (1 << self._bits) - 1
        expected = 0 if anew else None if self._last is None else (self._last + 1) % (1 << self._bits)
        if unit[0] >> 5 & 3:
            self._last = number
        return expected is None or number == expected


def _units(data: bytes, length: int) -> Iterator[int]:
    """Yield the offset of each unit of at least three bytes, after `length` bytes of its length or a start code."""
    place = length or data.find(b"\0\0\1") + 3
    while (length or 3) <= place <= len(data) - 3:
        yield place
        if length:
            place += int.from_bytes(data[place - length : place], "big") + length
        else:
            place = data.find(b"\0\0\1", place) + 3


def _parameter_sets(data: bytes) -> Iterator[bytes]:
    if data[:1] == b"\1" and len(data) > 5:
        place = 6
        for _ in range(data[5] & 31):
            size = int.from_bytes(data[place : place + 2], "big")
            yield data[place + 2 : place + 2 + size]
            place += 2 + size
        return
    yield from (unit for unit in data.split(b"\0\0\1")[1:] if unit and unit[0] & 31 == 7)


def _read_set(unit: bytes) -> tuple[bool, int]:
    """Return whether colour planes are coded apart, and the bits of frame_num, of an H.264 sequence parameter set.

    Raises:
        HfRltError: it ends early, or allows fields (frame_mbs_only_flag = 0).
    """
    bits, planes = _Bits(unit), False
    profile = bits.take(8)
    bits.take(16)
    bits.golomb()
    if profile in _WITH_CHROMA:
        chroma = bits.golomb()
        planes = bool(bits.take(1 if chroma == 3 else 0))
        bits.golomb(2)
        bits.take(1)
        if bits.take(1):
            for i in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    bits.scaling_list(16 if i < 6 else 64)
    width = bits.golomb() + 4
    order_type = bits.golomb()
    if order_type == 0:
        bits.golomb()
    elif order_type == 1:
        bits.take(1)
        bits.golomb(2)
        bits.golomb(min(bits.golomb(), 256))
    bits.golomb()
    bits.take(1)
    bits.golomb(2)
    if not bits.take(1):
        raise HfRltError("fields are possible")
    return planes, width


class _Bits:
    """Bit reader of a NAL unit's payload, most significant bit of each byte first. Raises HfRltError at its end."""

    def __init__(self, unit: bytes) -> None:
        payload = unit[1:].replace(b"\0\0\3", b"\0\0")
        self._rest, self._left = int.from_bytes(payload, "big"), 8 * len(payload)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise HfRltError("the unit ends early")
        taken = self._rest >> self._left
        self._rest &= (1 << self._left) - 1
        return taken

    def golomb(self, count: int = 1) -> int:
        """Return the last of `count` unsigned Exp-Golomb codes."""
        value = 0
        for _ in range(count):
            zeros = self._left - self._rest.bit_length()
            value = self.take(2 * zeros + 1) - 1
        return value

    def scaling_list(self, size: int) -> None:
        last = step = 8
        for _ in range(size):
            if step:
                code = self.golomb()
                step = (last + (code + 1 >> 1) * (1 if code % 2 else -1)) % 256
            last = step or last
