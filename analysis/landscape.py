"""How does the loss change around the weights that a run passed through? The loss landscape on a line and on a plane.

    python analysis/landscape.py                        the latest run
    python analysis/landscape.py RUN --panel plane      one panel as a slide
    python analysis/landscape.py RUN --directions random

The line leads from the initial weights, rebuilt from the seed, to those of the newest checkpoint (Goodfellow et al.
2015). The plane goes through the newest checkpoint along the two principal components of the path of the checkpoints,
or along two random directions; lengths are relative to the final filters (filter normalization, Li et al. 2018).
Principal components are the default because a path is nearly orthogonal to random directions: they show almost none of
it. On the plane only the kernels change; biases and the gamma and beta of batch norm are the final ones. At every
point the batch-norm statistics are estimated anew, from the training images that the loss is computed from.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common

GRIDS = (5, 61)  # points along one side of the plane


def build_parser():
    """The command line."""
    question = "How does the loss change around the weights that a run passed through? On a line and on a plane."
    parser = common.parser("landscape", question)
    add = parser.add_argument
    add("--panel", metavar="NAME", choices=("line", "plane"), help="one panel as a slide: line, plane [both]")
    add("--directions", choices=("pca", "random"), default="pca", help="what spans the plane [pca, of the path]")
    add("--grid", metavar="N", type=int, default=17, help="N x N points of the plane [17]")
    add("--images", metavar="N", type=int, help="of N training images, and N test images for the line "
        "[200 to 1,000, fewer for a larger network]")  # fmt: skip
    add("--data-dir", metavar="DIR", default="", help="where the images are now, if they have moved")
    return parser


def parse(argv=None):
    """The arguments; what is wrong with them ends the program with one line and exit status 2."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if not GRIDS[0] <= args.grid <= GRIDS[1]:
        parser.error(f"--grid {args.grid}: expected {GRIDS[0]} to {GRIDS[1]}")
    if args.images is not None and args.images < 50:
        parser.error(f"--images {args.images}: at least 50")
    return args


if __name__ == "__main__":
    ARGS = parse()  # before TensorFlow, which takes seconds to start
    common.end_quietly_while_importing()

from matplotlib import colors, ticker

from analysis.support import checkpoint_series, panels, style, weight_space
from analysis.support.loss_surface import ALPHAS, Line, LossSurface, Plane, Weights, compute_line, compute_plane
from analysis.support.panels import Panel
from analysis.support.predictions import data_of
from analysis.support.run import Run, counted
from core import devices
from core.run import run_folder
from core.run.errors import RunError

OPERATIONS = 6e12  # that the default number of images may take: about a minute on two cores
FLAT = 0.01  # of the whole fall: a smaller rise is none


def read_line(line: Line, test_name: str) -> str:
    """What the line shows, in words."""
    inside = (ALPHAS >= 0) & (ALPHAS <= 1)
    alphas, train = ALPHAS[inside], line.train[inside]
    begin, end = train[0], train[-1]
    text = f"Training loss, initial to final: {begin:.2f} to {end:.2f}"
    if not np.isfinite(train).all():
        return f"{text}; at {counted(int((~np.isfinite(train)).sum()), 'point')} it is not finite."
    rises = train - np.minimum.accumulate(train)
    top = int(rises.argmax())
    if rises[top] > FLAT * abs(begin - end) + 1e-9:
        kind = "with a barrier" if top < len(train) - 1 else "not falling"
        text += f", {kind}: up by {style.number(rises[top])} to {train[top]:.2f} at α = {alphas[top]:.2f}."
    else:
        text += ", falling all the way."
    if end < begin:
        half = alphas[np.flatnonzero(train <= (begin + end) / 2)[0]]
        text += f" Half of the fall is reached at α = {half:.2f}."
    best = [ALPHAS[np.nanargmin(np.where(np.isfinite(v), v, np.nan))] for v in (line.train, line.test)]
    return f"{text} Lowest on the line: training loss at α = {best[0]:.2f}, {test_name} loss at α = {best[1]:.2f}."


def read_plane(plane: Plane) -> str:
    """What the plane shows, in words."""
    shown = 100 * plane.fraction
    percentage = f"{shown:.0f} %" if shown >= 1 else f"{style.number(shown)} %"
    count = f"{len(plane.steps)} points"
    if plane.directions == "pca":
        walk = 100 * weight_space.random_walk_fraction(plane.steps)
        text = (
            f"The plane shows {percentage} of the path's variance ({count}); of a random walk's it shows {walk:.0f} %."
        )
    else:
        text = f"These random directions show {percentage} of the variance of the path ({count})."
    finite = plane.losses[np.isfinite(plane.losses)]
    text += (
        f" Final loss {plane.own_losses[-1]:.2f}, lowest on the grid {finite.min():.2f}, highest {finite.max():.2f}."
    )
    if missing := plane.losses.size - finite.size:
        text += f" At {counted(missing, 'point')} it is not finite (white)."
    return text + (
        f" The initial weights have the loss {plane.own_losses[0]:.2f}, their projection {plane.projected_loss:.2f}: "
        "the difference is what lies off the plane."
    )


def draw_line(area, line: Line, test_name: str) -> str:
    """Both losses over α; initial and final weights marked."""
    for values, colour, name in ((line.train, style.BLUE, "training"), (line.test, style.ORANGE, test_name)):
        area.plot(ALPHAS, np.where(np.isfinite(values), values, np.nan), "o-", markersize=4, color=colour, label=name)
    top = np.nanmax(line.train[(ALPHAS >= 0) & (ALPHAS <= 1)])
    if np.isfinite(top):
        area.set_ylim(0, 1.6 * max(top, line.test[ALPHAS == 1][0]))
    for alpha, name in ((0, "initial"), (1, "final")):
        area.axvline(alpha, color="black", linewidth=1, linestyle=":")
        area.annotate(
            name, (alpha, 0.02), xycoords=("data", "axes fraction"), xytext=(5, 0), textcoords="offset points"
        )
    area.set(xlabel="α, position on the line", ylabel="loss (nats)")
    area.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:.1f}"))
    area.legend(loc="upper center")
    return read_line(line, test_name)


def draw_plane(area, plane: Plane) -> str:
    """Contours of the loss with the path of the checkpoints."""
    losses = np.ma.masked_invalid(np.maximum(plane.losses, 1e-6))
    low, high = losses.min(), max(losses.max(), losses.min() * 1.001)
    levels = np.geomspace(low, high, 25)
    filled = area.contourf(plane.x, plane.y, losses, levels, cmap="viridis_r", norm=colors.LogNorm(low, high))
    area.contour(plane.x, plane.y, losses, levels[::3], colors="white", linewidths=0.6, alpha=0.6)
    bar = area.figure.colorbar(filled, ax=area, label="training loss (nats)", pad=0.02)
    bar.ax.yaxis.set_major_locator(ticker.FixedLocator(np.geomspace(low, high, 7)))
    bar.ax.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: style.number(value)))
    bar.ax.minorticks_off()
    area.plot(*plane.points.T, "o-", color=style.RED, markersize=7, markeredgecolor="white", linewidth=2.5)
    middle = (plane.x[0] + plane.x[-1]) / 2
    for index, neighbour in ((0, 1), (-1, -2)):  # above or below, where the path is not
        (x, y), above = plane.points[index], plane.points[index, 1] >= plane.points[neighbour, 1]
        area.annotate(
            f"step {plane.steps[index]:,}", (x, y), xytext=(0, 9 if above else -9), va="bottom" if above else "top",
            textcoords="offset points", ha="left" if x < middle else "right",
            bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 1},
        )  # fmt: skip
    kind = "principal component" if plane.directions == "pca" else "random direction"
    area.set(xlabel=f"{kind} 1 (1: filters move by their length)", ylabel=f"{kind} 2")
    area.grid(visible=False)
    area.locator_params(nbins=5, prune="lower")  # no two numbers meet in the corner
    return read_plane(plane)


def main(args) -> None:
    """Compute what was asked for, draw it and print its reading. Raises RunError for what cannot be computed."""
    devices.configure(0)
    run = Run(run_folder.find(args.run, args.runs_dir))
    weights = Weights(run)
    path = weights.path()
    wanted = [args.panel] if args.panel else ["line", "plane"]
    if "plane" in wanted and args.directions == "pca" and len(path[0]) < 2:
        lacking = "the plane of principal components"
        if args.panel:
            how = f"--panel line and --directions random need one; to {checkpoint_series.HOW}"
            checkpoint_series.need(len(path[0]), 2, run.folder, lacking, how)
        common.say(f"{lacking} takes 2 usable checkpoints, the run has 1: the line alone is drawn")
        wanted = ["line"]
    data = data_of(run, args.data_dir)
    trained_on = run.config["settings"].get("train_images") or len(data.train_images)
    evaluations = {"line": 2 * len(ALPHAS), "plane": args.grid**2 + len(path[0]) + 2}
    points = sum(evaluations[name] for name in wanted)
    count = args.images or int(np.clip(OPERATIONS / (weights.network.flops() * points), 200, 1_000))
    chosen = checkpoint_series.spread(trained_on, count)
    train = data.train_images[chosen], data.train_labels[chosen]
    chosen = checkpoint_series.spread(len(data.test_images), count)
    test = data.test_images[chosen], data.test_labels[chosen]
    surface = LossSurface(weights.network, train, test)

    total = len(ALPHAS) * ("line" in wanted) + evaluations["plane"] * ("plane" in wanted)
    found = []
    with checkpoint_series.progress(total, "points", "loss landscape") as bar:
        if "line" in wanted:
            line = compute_line(surface, weights, bar)
            question = "Is there a barrier between the initial and the final weights?"
            title = "Loss from initial to final weights"
            found.append(Panel("line", title, question, lambda area, run: draw_line(area, line, run.test_name)))
        if "plane" in wanted:
            plane = compute_plane(surface, weights, path, args.directions, args.grid, bar)
            if not np.isfinite(plane.losses).any():
                raise RunError(
                    f"{weights.newest.path}: no loss on the plane is finite; `analysis/diagnose.py` says why"
                )
            question = "Which way did training take through the loss landscape?"
            found.append(Panel("plane", "Loss landscape and path", question, lambda area, _: draw_plane(area, plane)))
    subject = found[0].title if args.panel else "Loss landscape"
    out = args.out or run.folder / (f"landscape-{args.panel}.png" if args.panel else "landscape.png")
    panels.draw_all(run, tuple(found), f"{subject}: {style.shortened(run.name, 24)} on {run.data_title}", out)
    common.say(
        f"{len(train[0]):,} training and {len(test[0]):,} {run.test_name} images at each point, evaluation mode."
    )


if __name__ == "__main__":
    common.answer(main, ARGS)
