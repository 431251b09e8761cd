"""What the analysis scripts share: their command line, their answer to bad input, smoothing, saving a figure."""

import argparse
import itertools
import sys
from pathlib import Path

import matplotlib
import numpy as np

from core import data
from core.run import checkpoints, logs, run_folder

EXPECTED_ERRORS = (run_folder.RunError, logs.LogError, checkpoints.CheckpointError, data.DataError)


def parser(script: str, question: str, several: bool = False, picture: bool = True) -> argparse.ArgumentParser:
    """A command line with RUN (or RUN ...), --runs-dir and, for a picture, --out; the question opens its help."""
    args = argparse.ArgumentParser(prog=f"analysis/{script}.py", description=question, allow_abbrev=False)
    text = "a run: its name, its folder, or nothing for the latest"
    args.add_argument(
        "run", metavar="RUN", nargs="*" if several else "?", help=text + ("; several are overlaid" * several)
    )
    args.add_argument("--runs-dir", metavar="DIR", type=Path, default=Path("runs"), help="where runs are kept [runs]")
    if picture:
        args.add_argument(
            "--out", metavar="FILE", type=Path, help=f"the picture to write [{script}.png in the run's folder]"
        )
    return args


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
    values = np.asarray(values, np.float64)
    finite = np.isfinite(values)
    seen = np.cumsum(finite)  # [n] finite values up to and with each place: t above
    average = moving_average(values[finite], 1 - 1 / max(share * len(values), 1))
    return np.concatenate([[np.nan], average])[seen]


def moving_average(x: np.ndarray, decay: float, block: int = 256) -> np.ndarray:
    """The debiased average of finite x [n], a block of places at a time, exactly as one after the other would.

    Inside a block y_i = (1-a) sum_{j<=i} a^{i-j} x_j is one product with a triangular matrix; what
    came before the block enters as a^{i+1} times its last y.
    """
    n = len(x)
    x = np.concatenate([x, np.zeros(-n % block)]).reshape(-1, block)  # [blocks,block]
    age = np.arange(block)[:, None] - np.arange(block)  # [i,j] -> i - j
    y = x @ np.where(age >= 0, (1 - decay) * decay ** np.maximum(age, 0), 0.0).T
    fading = decay ** np.arange(1, block + 1)
    for before, here in itertools.pairwise(y):
        here += fading * before[-1]
    return y.ravel()[:n] / (1 - decay ** np.arange(1, n + 1))


def envelope(x: np.ndarray, y: np.ndarray, columns: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """The same line in few points: first, lowest, highest and last value of each of `columns` equal stretches of x.

    On a screen of that many pixels it looks as the whole line does, peaks included. x [n] rises;
    a short line comes back as it is. A value that is not finite hides no peak.
    """
    if len(x) <= 4 * columns:
        return x, y
    stretch = np.minimum((x - x[0]) * (columns / (x[-1] - x[0])), columns - 1).astype(np.int64)
    begins = np.flatnonzero(np.diff(stretch, prepend=-1))
    ends = np.append(begins[1:], len(x)) - 1
    y = np.where(np.isfinite(y), y, np.nan)
    lowest, highest = np.fmin.reduceat(y, begins), np.fmax.reduceat(y, begins)
    middle = (x[begins] + x[ends]) / 2
    return (
        np.stack([x[begins], middle, middle, x[ends]], axis=1).ravel(),
        np.stack([y[begins], lowest, highest, y[ends]], axis=1).ravel(),
    )


def layer_series(folder: Path) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """layers.csv taken apart: {quantity: {layer: (steps [n] int64, values [n] float64)}}, layers in network order.

    What is measured of the network as a whole stands under the layer "network".
    """
    table = logs.read(folder, logs.LAYERS)
    (layers, layer), (quantities, quantity) = numbered(table["layer"]), numbered(table["quantity"])
    series = layer.astype(np.int32) * len(quantities) + quantity  # one number a series
    order = np.argsort(series, kind="stable")  # stable: the steps of a series go on rising
    begins = np.flatnonzero(np.diff(series[order], prepend=-1))
    found = {name: {} for name in quantities}
    for begin, end in zip(begins, np.append(begins[1:], len(order))):
        place = order[begin:end]
        i, j = divmod(int(series[place[0]]), len(quantities))
        found[quantities[j]][layers[i]] = table["step"][place], table["value"][place]
    return found


def numbered(args: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The different words of a text column in the order in which they first appear, and the number of each row's."""
    number, names = np.full(len(args), -1, np.int16), []
    while len(args) and number[first := int(number.argmin())] < 0:
        number[args == args[first]] = len(names)
        names.append(args[first].decode())
    return names, number


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
