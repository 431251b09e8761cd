"""A figure of small images in rows: filters, or image patches, with a name for each row and text under each image."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.support import style

GRID_WIDTH, GRID_HEIGHT = 15.6, 6.7  # inches for all rows
GAP, UNDER = 0.12, 0.3  # inches between two images; for the line under an image


@dataclass(frozen=True)
class Tile:
    """One image of the sheet: uint8 or float in 0..1, [h,w,3]."""

    image: np.ndarray
    under: str = ""  # text under it


def draw(rows: list[tuple[str, list[Tile]]], title: str, reading: str, out: Path) -> None:
    """Draw rows (name, tiles), each from left to right; `title` above them and `reading` below."""
    drawing, axes = style.figure(2, 1, heights=[GRID_HEIGHT, 1.25])
    panel, below = axes.flat
    draw_rows(panel, rows)
    below.set_axis_off()
    below.text(0, 1, style.wrapped(reading, GRID_WIDTH - 0.6), va="top").set_in_layout(False)
    drawing.suptitle(title, x=0.01, ha="left")
    style.save(drawing, out)


def draw_rows(panel, rows: list[tuple[str, list[Tile]]], across: float = GRID_WIDTH, high: float = GRID_HEIGHT) -> None:
    """Draw rows (name, tiles) into axes of so many inches."""
    names_width = 1.2 * max(len(line) for name, _ in rows for line in name.split("\n")) * style.LETTER  # bold
    names_width += 0.2 * (names_width > 0)
    under = max(height_under(tiles) for _, tiles in rows)
    lines = [line for _, tiles in rows for tile in tiles for line in tile.under.split("\n")]
    longest = 1.15 * max(map(len, lines)) * style.LETTER
    columns = max(len(tiles) for _, tiles in rows)
    width, height = (across - names_width) / columns, high / len(rows)
    side = min(width - GAP, height - under - GAP)
    pitch = min(max(side, longest) + GAP, width)  # from one image to the next
    for r, (name, tiles) in enumerate(rows):
        top = r * (side + under + GAP)
        panel.text(0, top + side / 2, name, va="center", fontweight="bold")
        for c, tile in enumerate(tiles):
            left = names_width + c * pitch
            tall, wide = (side * pixels / max(tile.image.shape[:2]) for pixels in tile.image.shape[:2])
            x, y = left + (side - wide) / 2, top + (side - tall) / 2
            panel.imshow(tile.image, extent=(x, x + wide, y + tall, y), interpolation="nearest")
            panel.text(left, top + side + 0.04, tile.under, va="top")
    panel.set(xlim=(0, across), ylim=(high, 0), aspect="equal")
    panel.set_anchor("NW")
    panel.axis("off")


def height_under(tiles: list[Tile]) -> float:
    """Inches for the text under the tiles of a row, of one line or more."""
    lines = max((tile.under.count("\n") + 1 for tile in tiles if tile.under), default=0)
    return UNDER + (lines - 1) * style.LINE if lines else 0


def in_rows(tiles: list[Tile]) -> list[tuple[str, list[Tile]]]:
    """All tiles in rows without a name, in the number of columns that makes them largest."""

    def side(columns: int) -> float:
        return min(GRID_WIDTH / columns, GRID_HEIGHT / -(-len(tiles) // columns) - max(height_under(tiles), UNDER))

    columns = max(range(1, len(tiles) + 1), key=side)
    return [("", tiles[start : start + columns]) for start in range(0, len(tiles), columns)]


def columns_beside(rows: int, most: int) -> int:
    """How many tiles stand in each of `rows` named rows, so that they fill the figure; at most `most`."""
    return min(max(int((GRID_WIDTH - 1.6) / (GRID_HEIGHT / rows - UNDER)), 4), most)
