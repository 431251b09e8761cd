"""Image files as uint8 pixels, by tf.io alone. A file that cannot be used is refused in one line."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from analysis.support.image_header import Header, HeaderError, read_header
from core.devices import standard_error_hidden

SMALLEST = 8  # pixels of the shorter side
MOST_PIXELS = 64_000_000  # decoded and resized, these take about 1 GB
MOST_BYTES = 200_000_000
WHITE = 255


class ImageError(Exception):
    """A file that cannot be used as an image; the message says which, what was found and what to do."""


@dataclass(frozen=True)
class ImageFile:
    """A decoded image file."""

    path: Path
    pixels: np.ndarray  # uint8 [H,W,3], upright
    notes: tuple[str, ...]  # what was done to the pixels that the file holds, in words


def read_image(path: Path) -> ImageFile:
    """Decode a JPEG, PNG, GIF, WebP or BMP file. Raises ImageError.

    Of an animation the first frame is taken; transparent pixels are laid on white; a photograph is rotated as its
    Exif orientation says.
    """
    path = Path(path)
    content = read_bytes(path)
    try:
        header = read_header(content)
    except HeaderError as error:
        raise ImageError(f"{path}: {error}") from None
    check_size(path, header)
    if header.first_frame:
        content = content[: header.first_frame] + b";"  # the trailer: later frames need not be decoded
    pixels, notes = as_rgb(decode(path, header, content))
    if header.frames > 1:
        number = f" of {header.frames}" if header.kind == "GIF" else ""
        notes.insert(0, f"animated {header.kind}: the first frame{number} is taken")
    if header.orientation > 1:
        pixels = upright(pixels, header.orientation)
        notes.append("rotated as its Exif orientation says")
    return ImageFile(path, np.ascontiguousarray(pixels), tuple(notes))


def read_bytes(path: Path) -> bytes:
    """The content of a file of at most MOST_BYTES. Raises ImageError."""
    try:
        if path.is_dir():
            raise ImageError(f"{path}: a folder; name the image files in it")
        if path.exists() and not path.is_file():
            raise ImageError(f"{path}: not a file; name an image file")
        if (size := path.stat().st_size) > MOST_BYTES:
            raise ImageError(f"{path}: {size:,} bytes; expected at most {MOST_BYTES:,}; save the image smaller")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise ImageError(f"{path}: {getattr(error, 'strerror', None) or error}; check the path") from None


def check_size(path: Path, header: Header) -> None:
    """Raise ImageError unless the image is large enough to show something and small enough to decode."""
    size = f"{header.width:,}x{header.height:,} pixels"
    if min(header.width, header.height) < SMALLEST:
        raise ImageError(f"{path}: {size}; expected at least {SMALLEST}x{SMALLEST}; choose a larger image")
    if header.width * header.height > MOST_PIXELS:
        raise ImageError(f"{path}: {size}; expected at most {MOST_PIXELS / 1e6:.0f} million; save the image smaller")


def decode(path: Path, header: Header, content: bytes) -> np.ndarray:
    """The pixels as the file has them, uint8 [H,W,C], C from 1 to 4. Raises ImageError."""
    decoded = None
    with standard_error_hidden():  # the libraries behind tf.io print their own lines
        try:
            decoded = tf.io.decode_image(content, expand_animations=False).numpy()
        except (tf.errors.OpError, ValueError):  # a ResourceExhaustedError too: not enough memory
            pass
    if decoded is None or decoded.ndim != 3 or decoded.size == 0:
        raise ImageError(f"{path}: a {header.kind} that is truncated or damaged; open it in a viewer and save it again")
    return decoded


def as_rgb(pixels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """(uint8 [H,W,3], notes) of grey, grey with alpha, RGB or RGB with alpha: uint8 [H,W,C]."""
    notes, alpha = [], None
    if pixels.shape[2] in (2, 4):
        pixels, alpha = pixels[..., :-1], pixels[..., -1:]
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
        notes.append("greyscale: red, green and blue are the same")
    if alpha is not None and (alpha < 255).any():
        opacity = alpha.astype(np.float32) / 255
        pixels = np.rint(pixels * opacity + WHITE * (1 - opacity)).astype(np.uint8)
        notes.append("transparent pixels are laid on white")
    return pixels, notes


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo the rotation and mirroring that an Exif orientation from 2 to 8 describes.  [H,W,3] -> [H,W,3] or [W,H,3].

    5 and 7 are mirrored at a diagonal, 6 and 8 lie on their side.
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
