"""Small images as text: a PNG in a data URI, which a browser shows without asking any network."""

import base64
import struct
import zlib

import numpy as np


def png(pixels: np.ndarray, palette: np.ndarray | None = None) -> bytes:
    """A PNG file. pixels: uint8 [H,W,3], or with a palette uint8 [256,3] the numbers of its colours [H,W]."""
    height, width = pixels.shape[:2]
    colour_type = 2 if palette is None else 3  # three bytes a pixel, or one that names a colour of the palette
    rows = np.concatenate([np.zeros([height, 1], np.uint8), pixels.reshape(height, -1)], axis=1)  # 0: no row filter
    parts = [("IHDR", struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0))]
    if palette is not None:
        parts.append(("PLTE", palette.astype(np.uint8).tobytes()))
    parts += [("IDAT", zlib.compress(rows.tobytes(), 9)), ("IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name.encode(), content) for name, content in parts)


def chunk(name: bytes, content: bytes) -> bytes:
    """Length, name, content and checksum, as the PNG specification orders them."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def data_uri(pixels: np.ndarray, palette: np.ndarray | None = None) -> str:
    """The same for the src of an image."""
    return "data:image/png;base64," + as_text(png(pixels, palette))


def as_text(content: bytes | np.ndarray) -> str:
    """Bytes, or an array little-endian, in base64."""
    if isinstance(content, np.ndarray):
        content = content.astype(content.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(content).decode()
