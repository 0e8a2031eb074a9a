# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Bit streams changed by hand into what no encoder here writes: field-coded pictures, and H.264 that hides its order.

A picture of half the height becomes a field: two of them are then a frame, in two packets or in one.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
from media import Get, copy_of, encode, packets_of

SIZE = (64, 64)  # of a frame; a field has half the height
FIELDS = 80
START = b"\0\0\0\1"


class Bits:
    """Bits of a NAL unit's payload, read from the front of a string of zeros and ones."""

    def __init__(self, unit: bytes) -> None:
        payload = unit[1:].replace(b"\0\0\3", b"\0\0")
        self.text, self.at = "".join(f"{byte:08b}" for byte in payload), 0

    def u(self, n: int) -> int:
        self.at += n
        return int(self.text[self.at - n : self.at] or "0", 2)

    def ue(self) -> int:
        zeros = self.text.index("1", self.at) - self.at
        self.at += zeros
        return self.u(zeros + 1) - 1


def exp_golomb(value: int) -> str:
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


def units(data: bytes) -> Iterator[bytes]:
    """Yield the NAL units of an Annex B stream, without their start codes."""
    yield from data.replace(START, START[1:]).split(START[1:])[1:]


def unit_of(head: int, bits: str) -> bytes:
    """Return a NAL unit of bits that end with the stop bit."""
    bits = bits.rstrip("0")
    bits += "0" * (-len(bits) % 8)
    raw = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return bytes([head]) + re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", raw)


def sequence(unit: bytes, *, fields: bool, vui: bool, half: bool = False) -> tuple[bytes, int]:
    """Return a sequence parameter set for fields or without usability information, and the bits of frame_num.

    With `half` its height is that of a frame, not of a field.
    """
    bits = Bits(unit)
    profile, _, _ = bits.u(8), bits.u(16), bits.ue()
    if profile in (100, 110, 122, 244):
        chroma, _, _, _, scaling = bits.ue(), bits.ue(), bits.ue(), bits.u(1), bits.u(1)
        assert (chroma != 3, scaling) == (True, 0)
    frame_num, poc = bits.ue() + 4, bits.ue()
    assert poc != 1
    if poc == 0:
        bits.ue()
    _ = bits.ue(), bits.u(1), bits.ue()
    text = bits.text[: bits.at]
    rows = bits.ue() + 1
    text += exp_golomb((rows // 2 if half else rows) - 1)
    assert bits.u(1) == 1  # frames only
    text += "00" if fields else "1"  # nor macroblocks of both kinds
    bits.u(1)
    text += "1"  # direct_8x8_inference, which fields need
    begin = bits.at
    if bits.u(1):
        assert not fields  # no cropping: its units would change
        for _ in range(4):
            bits.ue()
    text += bits.text[begin : bits.at]
    text += bits.text[bits.at :] if vui else "01"
    return unit_of(unit[0], text.rstrip("0") if vui else text), frame_num


def _simple(path: Path, options: str, **settings: Any) -> Path:
    """Write H.264 whose slices can be changed by hand."""
    x264 = f"{options}:scenecut=0:bframes=0:cabac=0:8x8dct=0:ref=1:weightp=0:slices=1:aud=0"
    return encode(path, "libx264", {"crf": "20", "preset": "veryfast", "x264-params": x264}, **settings)


def field_coded_h264(path: Path, get: Get | None = None, options: str = "keyint=12") -> Path:
    """Write Annex B."""
    half = _simple(path.with_suffix(".half.h264"), options, n=FIELDS, size=(64, 32))
    out, width, since, picture = bytearray(), 4, 0, 0
    for unit in units(half.read_bytes()):
        kind = unit[0] & 31
        if kind == 7:
            unit, width = sequence(unit, fields=True, vui=True)
        elif kind in (1, 5):
            since = picture if kind == 5 else since
            unit = _field(unit, width, (picture - since) // 2, picture % 2)
            picture += 1
        if kind != 6:  # what it says of the picture's structure is wrong now
            out += START + unit
    path.write_bytes(out)
    half.unlink()
    return path


def _field(unit: bytes, width: int, number: int | None, bottom: int | None) -> bytes:
    """Return a slice of a frame as that of a field, or where fields are possible as that of a frame."""
    bits = Bits(unit)
    _ = bits.ue(), bits.ue(), bits.ue()
    head, old = bits.text[: bits.at], bits.u(width)
    rest = bits.text[bits.at :]
    flags = "0" if bottom is None else f"1{bottom}"
    return unit_of(unit[0], head + f"{(old if number is None else number) % (1 << width):0{width}b}" + flags + rest)


def mixed_h264(path: Path, get: Get, late: bool) -> Path:
    """Write Annex B in which groups of field pictures and of frames take turns, or first all frames and then fields."""
    by_fields = field_coded_h264(path.with_suffix(".fields.h264"))
    whole = _simple(path.with_suffix(".frames.h264"), "keyint=6", n=40, size=SIZE)
    frames, width = [], 4
    for unit in units(whole.read_bytes()):
        if unit[0] & 31 == 7:
            unit, width = sequence(unit, fields=True, vui=True, half=True)
        elif unit[0] & 31 in (1, 5):
            unit = _field(unit, width, None, None)
        if unit[0] & 31 != 6:
            frames.append(unit)
    groups = [_groups(units(by_fields.read_bytes())), _groups(frames)]
    parts = groups[1] + groups[0] if late else [group for pair in zip(*groups, strict=False) for group in pair]
    path.write_bytes(b"".join(START + unit for group in parts for unit in group))
    by_fields.unlink()
    whole.unlink()
    return path


def _groups(found: Iterable[bytes]) -> list[list[bytes]]:
    groups: list[list[bytes]] = []
    for unit in found:
        if unit[0] & 31 == 7:
            groups.append([])
        groups[-1].append(unit)
    return groups


def without_vui(source: Path, path: Path) -> Path:
    """Write Annex B whose sequence parameters do not say by how much frames are reordered."""
    out = bytearray()
    for unit in units(source.read_bytes()):
        out += START + (sequence(unit, fields=False, vui=False)[0] if unit[0] & 31 == 7 else unit)
    path.write_bytes(out)
    return path


def field_coded_mpeg2(path: Path, get: Get) -> Path:
    """Write a raw MPEG-2 stream of field pictures, all of them intra."""
    half = path.with_suffix(".half.m2v")
    encode(half, "mpeg2video", {"g": "1", "q": "3"}, n=FIELDS, size=(64, 32))
    data, picture = bytearray(half.read_bytes()), 0
    at = data.find(b"\0\0\1")
    while at >= 0:
        kind = data[at + 3]
        if kind == 0xB3:  # sequence: twice the height
            data[at + 5] = (data[at + 5] & 0xF0) | (SIZE[1] >> 8)
            data[at + 6] = SIZE[1] & 255
        elif kind == 0xB5 and data[at + 4] >> 4 == 1:  # its extension: not progressive
            data[at + 5] &= ~0x08
        elif kind == 0x00:  # picture: both fields of a frame have its number
            rest = data[at + 5] & 0x3F
            data[at + 4], data[at + 5] = 0, rest
        elif kind == 0xB5 and data[at + 4] >> 4 == 8:  # its extension: the parity
            data[at + 6] = (data[at + 6] & 0xFC) | (1 + picture % 2)
            data[at + 7] &= ~0xC0  # neither top_field_first, nor all blocks of frames
            data[at + 8] &= 0x7F  # no progressive frame
            picture += 1
        at = data.find(b"\0\0\1", at + 3)
    path.write_bytes(_one_group_head_a_frame(bytes(data)))
    half.unlink()
    return path


def _one_group_head_a_frame(data: bytes) -> bytes:
    """Drop the sequence and group headers before second fields."""
    parts, out, picture = data.split(b"\0\0\1")[1:], bytearray(), 0
    for part in parts:
        if part[0] in (0xB3, 0xB8) or (part[0] == 0xB5 and part[1] >> 4 in (1, 2)):
            if picture % 2 == 0:
                out += b"\0\0\1" + part
            continue
        picture += part[0] == 0
        out += b"\0\0\1" + part
    return bytes(out)


def pack(path: Path, get: Get, name: str, together: bool) -> None:
    """Write the fields of a raw stream into a container, each as a packet or two by two, 25 frames a second."""
    source = get(name)
    fields: list[Any] = list(packets_of(source))
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        stream.time_base = old.streams.video[0].time_base
        step = round(1 / (50 * stream.time_base))
        for i in range(0, len(fields), 2 if together else 1):
            data = bytes(fields[i]) + (bytes(fields[i + 1]) if together and i + 1 < len(fields) else b"")
            packet = copy_of(fields[i], data)
            packet.pts = packet.dts = i * step
            packet.duration = step * (2 if together else 1)
            packet.is_keyframe, packet.stream = fields[i].is_keyframe, stream
            new.mux_one(packet)
