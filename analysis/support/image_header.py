"""What the first bytes of an image file tell without decoding it: format, size, frames, orientation.

A file of some kilobytes can describe an image of gigabytes, so the size is read here before anything is decoded. The
formats are those of tf.io.decode_image. Sources: PNG (RFC 2083), JPEG (ITU-T T.81, Exif 2.3), GIF89a, BMP, WebP
(RFC 9649).
"""

import struct
from dataclasses import dataclass

STARTS = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff", "GIF": b"GIF8", "BMP": b"BM"}
# Formats that people have and that tf.io does not decode: (name, position, the bytes there).
OTHERS = (
    ("HEIC or AVIF", 4, b"ftyp"), ("TIFF", 0, b"II*\x00"), ("TIFF", 0, b"MM\x00*"), ("JPEG XL", 0, b"\xff\x0a"),
    ("SVG", 0, b"<svg"), ("SVG or XML", 0, b"<?xml"), ("PDF", 0, b"%PDF"), ("Photoshop", 0, b"8BPS"),
)  # fmt: skip
ORIENTATION = 0x0112  # the Exif tag: 1 upright, 2 to 8 mirrored or rotated
SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15


class HeaderError(ValueError):
    """Bytes that are no image of a known format, or that end too early; the message says which."""


@dataclass(frozen=True)
class Header:
    """What is known of an image before it is decoded."""

    kind: str  # PNG, JPEG, GIF, BMP or WebP
    width: int  # pixels, before any rotation
    height: int
    frames: int = 1  # 2 stands for "several" where the format does not count them
    orientation: int = 1  # 1 to 8, as Exif has it
    first_frame: int | None = None  # of a GIF: the bytes up to the end of its first frame


def read_header(content: bytes) -> Header:
    """The header of an image file. Raises HeaderError."""
    readers = {"PNG": png, "JPEG": jpeg, "GIF": gif, "BMP": bmp, "WebP": webp}
    kind = next((kind for kind, start in STARTS.items() if content.startswith(start)), None)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        kind = "WebP"
    if kind is None:
        other = next((name for name, at, start in OTHERS if content[at : at + len(start)] == start), None)
        found = f"a file in the format {other}" if other else "something else" if content else "an empty file"
        raise HeaderError(f"expected a JPEG, PNG, GIF, WebP or BMP image, found {found}")
    try:
        return readers[kind](content)
    except (struct.error, IndexError):
        raise HeaderError(f"a truncated {kind}: its header ends after {len(content):,} bytes") from None


def png(content: bytes) -> Header:
    """Width and height stand in the first chunk, IHDR; an acTL chunk before the pixels announces an animation."""
    width, height = struct.unpack_from(">II", content, 16)
    return Header("PNG", width, height, frames=2 if b"acTL" in content[: content.find(b"IDAT") + 1] else 1)


def jpeg(content: bytes) -> Header:
    """Segment after segment: the frame header SOF has the size, an Exif segment before it the orientation."""
    at, orientation = 2, 1
    while True:
        while content[at] == 0xFF:  # any number of them may stand before a marker
            at += 1
        marker, (length,) = content[at], struct.unpack_from(">H", content, at + 1)
        if marker in SIZE_MARKERS:
            height, width = struct.unpack_from(">HH", content, at + 4)
            return Header("JPEG", width, height, orientation=orientation)
        if marker in (0xD9, 0xDA) or length < 2:  # the pixels begin, or the file ends, without a size
            raise HeaderError("a damaged JPEG: no frame header before its pixels")
        if marker == 0xE1 and content[at + 3 : at + 9] == b"Exif\0\0":
            orientation = exif_orientation(content[at + 9 : at + 1 + length])
        at += 1 + length
        if content[at] != 0xFF:
            raise HeaderError(f"a damaged JPEG: no segment at byte {at:,}")


def exif_orientation(tiff: bytes) -> int:
    """The orientation in an Exif block, 1 to 8; 1 where there is none or the block is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == ORIENTATION:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def gif(content: bytes) -> Header:
    """Block after block to the end: each image descriptor is a frame."""
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    at, frames, first_frame = 13 + color_table_bytes(flags), 0, None
    while (kind := content[at]) != 0x3B:  # the trailer
        if kind == 0x21:  # an extension: its label, then sub-blocks
            at = after_sub_blocks(content, at + 2)
        elif kind == 0x2C:  # an image: position, size, flags, (colours,) code size, sub-blocks
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", content, at + 1)
            at = after_sub_blocks(content, at + 11 + color_table_bytes(flags))
            frames += 1
            if frames == 1:
                first_frame, width, height = at, max(width, left + wide), max(height, top + high)
        else:
            raise HeaderError(f"a damaged GIF: no block at byte {at:,}")
    if not frames:
        raise HeaderError("a damaged GIF: no image in it")
    return Header("GIF", width, height, frames, first_frame=first_frame)


def color_table_bytes(flags: int) -> int:
    """The length of the colour table that a GIF's flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def after_sub_blocks(content: bytes, at: int) -> int:
    """The position after a chain of a GIF's sub-blocks: a length, so many bytes, ..., a length of 0."""
    while content[at]:
        at += 1 + content[at]
    return at + 1


def bmp(content: bytes) -> Header:
    """Size and bits a pixel; tf.io takes the index of a palette for a grey value, so such a file is refused."""
    width, height, _, bits = struct.unpack_from("<iiHH", content, 18)
    if bits not in (24, 32):
        raise HeaderError(f"a BMP of {bits} bits a pixel: expected 24 or 32; save it as PNG")
    return Header("BMP", abs(width), abs(height))  # a negative height: rows from top to bottom


def webp(content: bytes) -> Header:
    """The first chunk is VP8 (lossy), VP8L (lossless) or VP8X (with more to come, an animation for one)."""
    chunk = content[12:16]
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return Header("WebP", width & 0x3FFF, height & 0x3FFF)
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return Header("WebP", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if chunk == b"VP8X":
        if content[20] & 2:  # tf.io cannot take one frame out of an animated WebP
            raise HeaderError("an animated WebP: save one of its frames as PNG")
        width, height = (1 + int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
        return Header("WebP", width, height)
    raise HeaderError("a damaged WebP: its first chunk is no image")
