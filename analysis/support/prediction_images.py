"""A figure of images, each with its true class, the confidence of its prediction, and another class."""

import numpy as np

from analysis.support import batch_figure, style
from analysis.support.predictions import Predictions, percent

MOST = 21  # images of a figure: seven in a row, so that long names of classes fit


def draw_images(panel, found: Predictions, order: np.ndarray, word: str, others: np.ndarray) -> None:
    """The first MOST of `order` as tiles, row by row: the confidence in the corner; below the true class and another.

    others: that other class, of every image [N]; `word` stands before it.
    """
    panel.axis("off")
    shown = order[:MOST]
    if not len(shown):
        return
    columns, side = batch_figure.columns_for(len(shown))
    width = batch_figure.GRID_WIDTH / columns
    letters = int(width / style.LETTER) - 4  # beside the word
    for position, i in enumerate(shown):
        x, y = position % columns * width, position // columns * (side + batch_figure.CAPTION)  # inches
        colour = batch_figure.RIGHT if found.correct[i] else batch_figure.WRONG
        panel.imshow(found.images[i], extent=(x, x + side, y + side, y), interpolation="nearest")
        panel.plot([x, x + side, x + side, x, x], [y, y, y + side, y + side, y], color=colour, linewidth=3)
        panel.text(
            x + 0.05, y + 0.05, percent(found.confidence[i]), va="top",
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
        )  # fmt: skip
        for line, before, number in ((0, "", found.labels[i]), (1, f"{word} ", others[i])):
            name = style.shortened(found.name(number), letters)
            panel.text(
                x, y + side + 0.04 + line * style.LINE, before + name, va="top", color=colour if line else "black"
            )
    panel.set(xlim=(-0.05, batch_figure.GRID_WIDTH), ylim=(batch_figure.GRID_HEIGHT, -0.05), aspect="equal")
    panel.set_anchor("NW")
