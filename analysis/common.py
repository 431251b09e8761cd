"""What the analysis scripts share: their command line, their answer to bad input, smoothing, saving a figure."""

import argparse
import sys
from pathlib import Path

import matplotlib
import numpy as np

from core import checkpoints, data, logs, runs

EXPECTED_ERRORS = (runs.RunError, logs.LogError, checkpoints.CheckpointError, data.DataError)


def parser(script: str, question: str, several: bool = False) -> argparse.ArgumentParser:
    """A command line with RUN (or RUN ...), --runs-dir and --out, its help opened by the script's question."""
    words = argparse.ArgumentParser(prog=f"analysis/{script}.py", description=question, allow_abbrev=False)
    text = "a run: its name, its folder, or nothing for the latest"
    words.add_argument(
        "run", metavar="RUN", nargs="*" if several else "?", help=text + ("; several are overlaid" * several)
    )
    words.add_argument("--runs-dir", metavar="DIR", type=Path, default=Path("runs"), help="where runs are kept [runs]")
    words.add_argument(
        "--out", metavar="FILE", type=Path, help=f"the picture to write [{script}.png in the run's folder]"
    )
    return words


def answer(main, *arguments) -> None:
    """Run `main`; turn what a user can do wrong into one line and exit status 1."""
    script = Path(sys.argv[0]).name
    try:
        main(*arguments)
    except EXPECTED_ERRORS as error:
        sys.exit(f"{script}: {error}")
    except OSError as error:
        sys.exit(f"{script}: {error.filename}: {error.strerror}; check the path and its permissions")
    except KeyboardInterrupt:
        sys.exit(f"\n{script}: stopped")


def smoothed(values: np.ndarray, share: float = 0.02) -> np.ndarray:
    """Exponential moving average over about share * n points, debiased: s_t = (a s_{t-1} + (1-a) x_t) / (1 - a^t).

    Debiased (as Adam's moments are), the line starts at the data and not at zero. A value that
    is not finite is left out of the average. values [n] -> [n] float64.
    """
    decay = 1 - 1 / max(share * len(values), 1)
    average, weight, line = 0.0, 0.0, np.empty(len(values))
    for i, value in enumerate(np.asarray(values, np.float64).tolist()):
        if np.isfinite(value):
            average, weight = decay * average + (1 - decay) * value, decay * weight + (1 - decay)
        line[i] = average / weight if weight else np.nan
    return line


def figure(rows: int, columns: int, width: float = 11, height: float = 3.4):
    """A new figure and its axes [rows, columns], drawn without a screen."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25})
    return plt.subplots(rows, columns, figsize=(width, height * rows), squeeze=False, layout="constrained")


def save(drawing, path: Path) -> None:
    """Write the figure, whole or not at all, so that a viewer that follows it never meets half a picture."""
    from matplotlib import pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower().lstrip(".") not in drawing.canvas.get_supported_filetypes():
        raise OSError(22, "not a picture format that matplotlib writes (try .png, .svg or .pdf)", str(path))
    partial = path.with_name(f".partial-{path.name}")
    drawing.savefig(partial, dpi=120)
    partial.replace(path)
    plt.close(drawing)
