"""The figure of analysis/replay.py: how the loss is spread over a batch, and its images, largest loss first."""

from pathlib import Path

import numpy as np

from analysis.support import style

MOST = 24  # images in the figure; of a larger batch those with the largest losses
GRID_WIDTH, GRID_HEIGHT = 15.6, 6.0  # inches for all tiles
CAPTION = 2.1 * style.LINE  # inches below an image: its class, and what was predicted
NARROWEST = 1.9  # inches that a class name takes
RIGHT, WRONG = style.GREEN, style.ORANGE
PANELS = ("losses", "images")


def draw(result, class_names, title: str, out: Path, only: str | None = None) -> None:
    """Draw a BatchResult. only: the one of PANELS that is drawn."""
    order = result.by_loss()
    shown = order[:MOST]
    drawing, axes = style.figure(1, 1) if only else style.figure(2, 1, heights=[1.4, GRID_HEIGHT])
    if only != "images":
        draw_losses(axes[0, 0], result, order, 0 if only else len(shown))
    if only != "losses":
        draw_images(axes[-1, 0], result, shown, class_names)
    drawing.suptitle(title, x=0.01, ha="left")
    style.save(drawing, out)


def draw_losses(panel, result, order: np.ndarray, shown: int) -> None:
    """Every image's loss as a bar, in the order of the images below; as high as the axes if it is not a number.

    shown: how many images are below; 0 if none.
    """
    losses, chance = result.losses[order].astype(np.float64), np.log(10)  # the sum of float32 may be infinite
    finite = np.isfinite(losses)
    top = 1.1 * max(losses[finite].max(initial=0), chance)
    wrong = result.predicted[order] != result.labels[order]
    edges = np.arange(len(order) + 1) + 0.5
    for chosen, colour, label in ((wrong, WRONG, "wrong"), (~wrong, RIGHT, "correct")):
        heights = np.where(finite, losses, top)
        panel.stairs(np.where(chosen, heights, 0), edges, fill=True, color=colour, label=f"{label}: {chosen.sum():,}")
    panel.axhline(chance, color="black", linewidth=1, linestyle=":", label="chance level")
    if 0 < shown < len(order):
        panel.axvline(shown + 0.5, color="black", linewidth=1.5, label=f"left of it: shown below, {shown}")
    panel.set(xlim=(0.5, len(order) + 0.5), ylim=(0, top), xticks=[], ylabel="loss (nats)")
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")  # a power of ten above would meet the legend
    panel.grid(visible=False, axis="x")
    panel.set_title(spread(losses), fontweight="normal", loc="left", pad=30)
    panel.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 0.96), borderaxespad=0)


def spread(losses: np.ndarray) -> str:
    """How the loss is spread over the images, in words. losses [B], largest first."""
    if not np.isfinite(losses).all():
        return f"The loss of {(~np.isfinite(losses)).sum():,} of {len(losses):,} images is not a number."
    tenth = -(-len(losses) // 10)
    return (
        f"Loss of each image, largest first: the largest {tenth:,} of {len(losses):,} make up "
        f"{100 * losses[:tenth].sum() / max(losses.sum(), 1e-30):.0f} % of the sum."
    )


def in_a_corner(loss: float) -> str:
    """A loss as it fits into the corner of an image: 2.30, and a diverged run's 3.3e+38."""
    return f"{loss:.2f}" if not abs(loss) >= 1000 else f"{loss:.1e}"


def columns_for(count: int) -> tuple[int, float]:
    """(columns, side of an image in inches) that make `count` tiles as large as possible."""
    possible = range(1, min(count, int(GRID_WIDTH / NARROWEST)) + 1)
    sides = {c: min(GRID_WIDTH / c - 0.1, GRID_HEIGHT / -(-count // c) - CAPTION) for c in possible}
    columns = max(sides, key=sides.get)
    return columns, sides[columns]


def draw_images(panel, result, order: np.ndarray, class_names) -> None:
    """The images as tiles, row by row: the loss in the corner; below the class, and → what was predicted instead."""
    columns, side = columns_for(len(order))
    width = GRID_WIDTH / columns
    for position, i in enumerate(order):
        x, y = position % columns * width, position // columns * (side + CAPTION)  # inches
        right = result.predicted[i] == result.labels[i]
        colour = RIGHT if right else WRONG
        panel.imshow(result.images[i], extent=(x, x + side, y + side, y), interpolation="nearest")
        panel.plot([x, x + side, x + side, x, x], [y, y, y + side, y + side, y], color=colour, linewidth=3)
        panel.text(
            x + 0.05, y + 0.05, in_a_corner(result.losses[i]), va="top",
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
        )  # fmt: skip
        panel.text(x, y + side + 0.04, style.shortened(class_names[result.labels[i]], 13), va="top")
        if not right:
            instead = class_names[result.predicted[i]] if result.predicted[i] >= 0 else "not finite"
            panel.text(x, y + side + 0.02 + style.LINE, f"→ {style.shortened(instead, 12)}", va="top", color=colour)
    panel.set(xlim=(-0.05, GRID_WIDTH), ylim=(GRID_HEIGHT, -0.05), aspect="equal")
    panel.set_anchor("NW")
    panel.axis("off")
