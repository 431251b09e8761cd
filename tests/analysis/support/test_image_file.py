"""Image files: every format gives the pixels that another decoder gives, and whatever is none is one line."""

import io
import os

import numpy as np
import pytest
from PIL import Image, ImageOps  # comes with matplotlib

from analysis.support import image_file, image_header
from analysis.support.image_file import ImageError, read_image

RANDOM = np.random.default_rng(0)
RGBA = RANDOM.integers(0, 256, (9, 14, 4), np.uint8)
RGB, GREY = RGBA[..., :3], RGBA[..., 0]
FRAMES = [Image.fromarray(np.full((9, 14, 3), value, np.uint8)) for value in (10, 120, 240)]


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def animated(kind: str) -> bytes:
    """Three frames."""
    return encoded(FRAMES[0], kind, save_all=True, append_images=FRAMES[1:], duration=100)


def read(tmp_path, content: bytes):
    """Decode these bytes as a file."""
    path = tmp_path / "image"
    path.write_bytes(content)
    return read_image(path)


PALETTE = Image.fromarray(RGB).convert("P")
EXACT = {
    "RGB PNG": (encoded(Image.fromarray(RGB), "PNG"), RGB),
    "grey PNG": (encoded(Image.fromarray(GREY), "PNG"), np.repeat(GREY[..., None], 3, 2)),
    "palette PNG": (encoded(PALETTE, "PNG"), np.array(PALETTE.convert("RGB"))),
    "interlaced 1 bit PNG": (encoded(Image.fromarray(GREY > 99), "PNG"), np.repeat(255 * (GREY > 99)[..., None], 3, 2)),
    "GIF": (encoded(PALETTE, "GIF"), np.array(PALETTE.convert("RGB"))),
    "BMP": (encoded(Image.fromarray(RGB), "BMP"), RGB),
    "lossless WebP": (encoded(Image.fromarray(RGB), "WEBP", lossless=True), RGB),
}


@pytest.mark.parametrize("name", EXACT)
def test_the_pixels_are_those_of_another_decoder(tmp_path, name):
    content, expected = EXACT[name]
    found = read(tmp_path, content)
    np.testing.assert_array_equal(found.pixels, expected)
    assert found.pixels.dtype == np.uint8 and found.pixels.flags.c_contiguous
    assert [note.partition(":")[0] for note in found.notes] == (
        ["greyscale"] if name in ("grey PNG", "interlaced 1 bit PNG") else []
    )


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_are_close_to_another_decoder(tmp_path, kind):
    content = encoded(Image.fromarray(RGB), kind)
    expected = np.array(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    assert np.abs(read(tmp_path, content).pixels - expected).mean() < 3


def test_a_greyscale_jpeg_and_one_for_printing(tmp_path):
    grey = read(tmp_path, encoded(Image.fromarray(GREY), "JPEG"))
    assert grey.pixels.shape == (9, 14, 3) and np.ptp(grey.pixels, axis=2).max() == 0 and "greyscale" in grey.notes[0]
    assert read(tmp_path, encoded(Image.fromarray(RGB).convert("CMYK"), "JPEG")).pixels.shape == (9, 14, 3)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparent_pixels_are_laid_on_white(tmp_path, kind):
    content = encoded(Image.fromarray(RGBA), kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    found, alpha = read(tmp_path, content), RGBA[..., 3:] / 255
    assert np.abs(found.pixels - (RGB * alpha + 255 * (1 - alpha))).max() <= 0.51
    assert found.notes == ("transparent pixels are laid on white",)


def test_grey_with_alpha_and_an_alpha_that_hides_nothing(tmp_path):
    both = read(tmp_path, encoded(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(RGBA[..., 3])]), "PNG"))
    assert len(both.notes) == 2
    opaque = RGBA.copy()
    opaque[..., 3] = 255
    found = read(tmp_path, encoded(Image.fromarray(opaque), "PNG"))
    assert found.notes == ()
    np.testing.assert_array_equal(found.pixels, RGB)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[image_header.ORIENTATION] = orientation
    content = encoded(Image.fromarray(RGB).resize((56, 36)), "JPEG", exif=exif)
    expected = np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(content)))).astype(int)
    found = read(tmp_path, content)
    assert found.pixels.shape == expected.shape and np.abs(found.pixels - expected).mean() < 3
    assert found.notes == (("rotated as its Exif orientation says",) if orientation > 1 else ())


def test_the_orientation_in_both_byte_orders_and_damaged():
    entry = {"<": b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"}
    entry[">"] = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    assert [image_header.exif_orientation(block) for block in entry.values()] == [6, 6]
    assert image_header.exif_orientation(entry["<"].replace(b"\x06", b"\x09")) == 1
    assert all(image_header.exif_orientation(entry["<"][:length]) == 1 for length in range(19))


def test_the_first_frame_of_an_animation(tmp_path):
    found = read(tmp_path, animated("GIF"))
    assert found.pixels.shape == (9, 14, 3) and np.abs(found.pixels.astype(int) - 10).max() <= 1
    assert found.notes == ("animated GIF: the first frame of 3 is taken",)
    found = read(tmp_path, animated("PNG"))
    assert (found.pixels == 10).all() and found.notes == ("animated PNG: the first frame is taken",)


def sized_png(width: int, height: int) -> bytes:
    """The start of a PNG of this size, a few bytes long."""
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return image_header.STARTS["PNG"] + b"\0\0\0\x0dIHDR" + size + b"\x08\x02\0\0\0"


BAD = {
    "empty": (b"", "expected a JPEG, PNG, GIF, WebP or BMP image, found an empty file"),
    "text": (b"hello, I am a cat", "expected a JPEG.*found something else"),
    "a photograph of a telephone": (b"\0\0\0\x18ftypheic" + bytes(30), "found a file in the format HEIC or AVIF"),
    "1x1": (encoded(Image.fromarray(RGB[:1, :1]), "PNG"), "1x1 pixels; expected at least 8x8; choose a larger image"),
    "a line": (encoded(Image.fromarray(RGB[:1]), "PNG"), "14x1 pixels; expected at least 8x8"),
    "no pixels": (sized_png(0, 7), "0x7 pixels; expected at least 8x8"),
    "10,000x10,000": (sized_png(10_000, 10_000), "10,000x10,000 pixels; expected at most 64 million; save the image"),
    "4 billion": (sized_png(2**32 - 1, 2**32 - 1), "expected at most 64 million"),
    "header only": (sized_png(20, 20), "a PNG that is truncated or damaged; open it in a viewer and save it again"),
    "a palette BMP": (encoded(PALETTE, "BMP"), "a BMP of 8 bits a pixel: expected 24 or 32; save it as PNG"),
    "animated WebP": (animated("WEBP"), "an animated WebP: save one of its frames as PNG"),
    "JPEG without size": (b"\xff\xd8\xff\xe0\0\x04aa\xff\xd9\0\0\0", "a damaged JPEG: no frame header"),
    "GIF without image": (b"GIF89a\x09\0\x09\0\0\0\0;", "a damaged GIF: no image in it"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_whatever_is_no_usable_image_is_one_line(tmp_path, name):
    content, message = BAD[name]
    with pytest.raises(ImageError, match=message) as error:
        read(tmp_path, content)
    assert str(error.value).startswith(f"{tmp_path / 'image'}: ") and "\n" not in str(error.value)


def test_no_large_image_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(image_file, "decode", lambda *given: pytest.fail("it was decoded"))
    with pytest.raises(ImageError, match="at most 64 million"):
        read(tmp_path, sized_png(10_000, 10_000))


@pytest.mark.parametrize("name", EXACT)
def test_a_truncated_file_is_refused(tmp_path, name):
    content = EXACT[name][0]
    for kept in [*range(4, 60, 5), len(content) // 2, len(content) - 15]:
        with pytest.raises(ImageError, match=r"truncated|damaged|something else|expected at least"):
            read(tmp_path, content[:kept])


def test_a_truncated_jpeg_is_refused_quietly(tmp_path, capfd):
    content = encoded(Image.fromarray(RGB), "JPEG")
    for kept in [*range(4, len(content), len(content) // 25), len(content) - 1]:
        with pytest.raises(ImageError, match=r"truncated|damaged"):
            read(tmp_path, content[:kept])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", [*EXACT, "JPEG"])
def test_damaged_bytes_give_pixels_or_one_line(tmp_path, name, monkeypatch):
    content = EXACT[name][0] if name in EXACT else encoded(Image.fromarray(RGB), "JPEG")
    monkeypatch.setattr(image_file, "MOST_PIXELS", 100_000)
    random = np.random.default_rng(1)
    for _ in range(40):
        damaged = bytearray(content)
        for _ in range(random.integers(1, 4)):
            damaged[random.integers(len(damaged))] = random.integers(256)
        try:
            found = read(tmp_path, bytes(damaged))
        except ImageError as error:
            assert "\n" not in str(error)
        else:
            assert found.pixels.ndim == 3 and found.pixels.shape[2] == 3 and found.pixels.dtype == np.uint8


def test_what_is_no_file(tmp_path):
    with pytest.raises(ImageError, match="a folder; name the image files in it"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="No such file or directory; check the path"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="null"):
        read_image("a\0b")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="not a file; name an image file"):
        read_image(tmp_path / "pipe")
    with open(tmp_path / "film", "wb") as file:
        file.truncate(image_file.MOST_BYTES + 1)
    with pytest.raises(ImageError, match="200,000,001 bytes; expected at most 200,000,000"):
        read_image(tmp_path / "film")
