"""The figure of throughput.py: speeds as bars, and under them the parts of one step."""

from pathlib import Path

import numpy as np

from analysis.support import style


def draw(speeds: dict[str, np.ndarray], own: dict[str, float], title: str, out: Path) -> None:
    """Speeds {name: images/s of each round} with whiskers from lowest to highest; own: {part: milliseconds} or {}."""
    drawing, axes = style.figure(2 if own else 1, 1, heights=[len(speeds) + 1, 2.5] if own else None)
    panel = axes[0, 0]
    medians = np.array([np.median(speed) for speed in speeds.values()])
    whiskers = [medians - [s.min() for s in speeds.values()], [s.max() for s in speeds.values()] - medians]
    ours = next(iter(speeds))  # the loop comes first, and its variants carry its name
    colours = [style.BLUE if name.startswith((ours, "diagnostics")) else "#AAAAAA" for name in speeds]
    names = [name.replace(" --", "\n--") for name in speeds]  # a setting a line: the panels keep their width
    panel.barh(names, medians, xerr=np.array(whiskers), color=colours, capsize=5, ecolor="#333333")
    for position, (median, speed) in enumerate(zip(medians, speeds.values())):
        panel.annotate(
            f"{median:,.0f}", (speed.max(), position), xytext=(9, 0), textcoords="offset points", va="center"
        )
    panel.margins(x=0.12)
    panel.invert_yaxis()
    panel.grid(visible=False, axis="y")
    panel.set_xlabel("training images a second: median, lowest and highest round")
    drawing.suptitle(title)
    if own:
        draw_parts(axes[1, 0], own)
    style.save(drawing, out)


def draw_parts(panel, own: dict[str, float]) -> None:
    """One stacked bar; a part that came out below zero is noise and is drawn as zero."""
    from matplotlib import pyplot as plt

    left, whole = 0.0, sum(own.values())
    for part, colour in zip(own, plt.cm.viridis(np.linspace(0.15, 0.95, len(own)))):
        width = max(own[part], 0.0)
        panel.barh([0], [width], left=left, color=colour, label=f"{part} {100 * own[part] / whole:.0f} %")
        left += width
    panel.set_yticks([0], ["one step"])
    panel.grid(visible=False)
    panel.set_xlim(0, left)
    panel.set_xlabel("milliseconds of this loop's step, in a process that does nothing else")
    panel.legend(
        ncols=len(own),
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        columnspacing=0.8,
        handlelength=0.8,
        handletextpad=0.4,
    )
