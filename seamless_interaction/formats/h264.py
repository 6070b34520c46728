"""What an H.264 stream says of its picture in its sequence parameter set: FFmpeg tells it of a decoded frame alone."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import av

# H.264 table E-1, by aspect_ratio_idc; 255 means that the ratio follows.
_ASPECTS = dict(
    enumerate(
        [(1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11), (80, 33), (18, 11)]
        + [(15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1)],
        start=1,
    )
)


_CHROMA_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}


class _Bits:
    """H.264's bit syntax: ``u`` fixed length, ``ue`` and ``se`` Exp-Golomb. ValueError at the end."""

    def __init__(self, data: bytes):
        self.bits = "".join(f"{byte:08b}" for byte in data)
        self.at = 0

    def u(self, length: int) -> int:
        self.at += length
        return int(self.bits[self.at - length : self.at], 2)

    def ue(self) -> int:
        zeros = self.bits.index("1", self.at) - self.at
        self.at += zeros
        return self.u(zeros + 1) - 1

    def se(self) -> int:
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)


class _Said(NamedTuple):
    """What a stream says of itself; 0 and None if it does not."""

    width: int = 0
    height: int = 0
    aspect: Fraction | None = None


def h264_says(stream: av.VideoStream) -> _Said:
    """Raster and pixel aspect ratio of an ``avcC`` record's first parameter set (H.264 7.3.2.1.1 and E.1.1).

    MP4s may say the ratio here only, and another raster elsewhere. Nothing if this is not H.264.
    """
    extradata = stream.codec_context.extradata
    if not extradata or extradata[0] != 1 or len(extradata) < 8 or extradata[5] & 224 != 224 or not extradata[5] & 31:
        return _Said()
    length = int.from_bytes(extradata[6:8], "big")
    bits = _Bits(extradata[8 : 8 + length].replace(b"\0\0\3", b"\0\0"))
    said = _Said()
    try:
        said = _Said(*_raster_before_vui(bits))
        if bits.u(1) and bits.u(1):  # vui_parameters_present, aspect_ratio_info_present
            idc = bits.u(8)
            width, height = (bits.u(16), bits.u(16)) if idc == 255 else _ASPECTS.get(idc, (0, 0))
            return said._replace(aspect=Fraction(width, height) if width and height else None)
    except ValueError:
        pass
    return said


def _raster_before_vui(bits: _Bits) -> tuple[int, int]:
    """Width and height in pixels, cropped. What follows is whether there are VUI parameters."""
    bits.u(8)  # NAL unit header
    profile = bits.u(8)
    bits.u(16), bits.ue()  # constraints and level, id
    chroma, is_separate = 1, 0
    if profile in _CHROMA_PROFILES:
        chroma = bits.ue()
        if chroma == 3:
            is_separate = bits.u(1)
        bits.ue(), bits.ue(), bits.u(1)  # bit depths, lossless
        if bits.u(1):
            for i in range(12 if chroma == 3 else 8):
                if bits.u(1):
                    _skip_scaling_list(bits, 16 if i < 6 else 64)
    bits.ue()  # frame numbers
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.u(1), bits.se(), bits.se()
        for _ in range(bits.ue()):
            bits.se()
    bits.ue(), bits.u(1)  # reference frames, gaps
    width, height = 16 * (bits.ue() + 1), 16 * (bits.ue() + 1)  # of macroblocks, or of pairs of them in two fields
    fields = 1 if bits.u(1) else 2
    if fields == 2:
        bits.u(1)
    bits.u(1)
    left = right = top = bottom = 0
    if bits.u(1):
        left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
    across, down = (1, 1) if is_separate else {1: (2, 2), 2: (2, 1)}.get(chroma, (1, 1))  # pixels of a sample of colour
    return width - across * (left + right), fields * (height - down * (top + bottom))


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last
