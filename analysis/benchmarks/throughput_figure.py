"""The figure of throughput.py: speeds as bars, and under them the parts of one step."""

from pathlib import Path

import numpy as np

from analysis.support import common

OURS, BASELINE = "#1f77b4", "#999999"


def draw(speeds: dict[str, np.ndarray], own: dict[str, float], title: str, out: Path) -> None:
    """Speeds {name: images/s of each round} with whiskers from lowest to highest; own: {part: milliseconds} or {}."""
    drawing, axes = common.figure(2 if own else 1, 1, width=9, height=2.4 if own else 2.6)
    panel = axes[0, 0]
    medians = np.array([np.median(speed) for speed in speeds.values()])
    whiskers = [medians - [s.min() for s in speeds.values()], [s.max() for s in speeds.values()] - medians]
    ours = next(iter(speeds))  # the loop comes first, and its variants carry its name
    colours = [OURS if name.startswith((ours, "diagnostics")) else BASELINE for name in speeds]
    names = [name.replace(" --", "\n--") for name in speeds]  # a setting a line: the panels keep their width
    panel.barh(names, medians, xerr=np.array(whiskers), color=colours, capsize=3, ecolor="#444444")
    for position, (median, speed) in enumerate(zip(medians, speeds.values())):
        panel.annotate(
            f"{median:,.0f}", (speed.max(), position), xytext=(6, 0), textcoords="offset points", va="center"
        )
    panel.margins(x=0.12)
    panel.invert_yaxis()
    panel.grid(visible=False, axis="y")
    panel.set_title(title, loc="left")
    panel.set_xlabel("training images a second: median, lowest and highest round")
    if own:
        draw_parts(axes[1, 0], own)
        axes[1, 0].get_gridspec().set_height_ratios([len(speeds) + 1, 2.5])
    common.save(drawing, out)


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
    panel.legend(ncols=len(own), loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False, fontsize="small",
                 columnspacing=1.2, handlelength=1.2)  # fmt: skip
