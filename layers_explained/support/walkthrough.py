"""How an essay is told: its command line, its sections, its figure, its reading version in docs/layers/.

An essay is a file with a list of functions, SECTIONS. Each prints one part of the story, and the
first line of its docstring is the title of that part. `tell` runs them in order.
"""

import argparse
import contextlib
import difflib
import importlib.util
import inspect
import io
import os
import re
import sys
from pathlib import Path

import numpy as np

from core import devices
from core.run.checkpoints import CheckpointError
from core.data import DataError
from core.run.run_folder import RunError

PROJECT = Path(__file__).resolve().parent.parent
FIGURES = PROJECT / "layers_explained" / "figures"  # not kept in git: everybody's own
DOCUMENTS = PROJECT / "docs" / "layers"

# True while docs/layers/ is written: what differs from machine to machine is then left out.
reading_version = False


class Problem(Exception):
    """Something the reader can put right; the message is one line that says what, where and how."""


def tell(essay: dict, figure, on_your_network, arguments: list[str] | None = None) -> int:
    """Tell an essay as the command line wants it told, and return the exit status: 0, or 1 after a Problem.

    essay: the globals() of the file, with its SECTIONS and its docstring. A plain run prints every
    section and draws figure(). With --run it calls on_your_network(trained), a trained_layer.TrainedLayer,
    which prints its numbers and returns a figure. Each figure is a matplotlib Figure.
    """
    name = Path(essay["__file__"]).stem
    args = read_command_line(name, essay["__doc__"], arguments)
    try:
        if args.docs:
            write_document(DOCUMENTS / f"{name}.md", essay)
            save(figure(), DOCUMENTS / f"{name}.png")
        elif args.run is None:
            print(paragraph(essay["__doc__"]))
            for number, section in enumerate(essay["SECTIONS"], start=1):
                print(f"\n{number}. {title(section)}\n", flush=True)
                section()
            save(figure(), args.out or FIGURES / f"{name}.png")
        else:
            from layers_explained.support import trained_layer

            layer = trained_layer.find(args, essay["LAYER_CLASSES"])
            print(f"{title(on_your_network)}\n\n{layer.story}\n", flush=True)
            save(on_your_network(layer), args.out or layer.run / f"{name}.png")
    except (Problem, RunError, CheckpointError, DataError) as problem:
        print(f"{name}.py: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}.py: stopped", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever was reading, `less` or `head`, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def read_command_line(name: str, docstring: str, arguments: list[str] | None):
    """The words of the command line: run, runs_dir, layer, image, out, docs. Exits with 2 on a wrong one."""
    parser = argparse.ArgumentParser(
        prog=f"{name}.py", description=paragraph(docstring), allow_abbrev=False,
        epilog="Without --run, the story is told with the numbers at the top of the file: change them and see.",
    )  # fmt: skip
    parser.error = lambda message: parser.exit(2, f"{name}.py: {message}; see --help\n")
    parser.add_argument(
        "--run", nargs="?", const="", metavar="RUN",
        help="show the numbers of a layer you trained: a run's name or folder, or nothing for the latest",
    )  # fmt: skip
    parser.add_argument("--runs-dir", metavar="DIR", help="with --run: where runs are kept [runs]")
    parser.add_argument("--layer", metavar="NAME", help="with --run: which layer [the first of its kind]")
    parser.add_argument("--image", type=int, metavar="N", help="with --run: which picture of the test set [0]")
    parser.add_argument(
        "--out", type=Path, metavar="FILE",
        help=f"where the figure goes [layers_explained/figures/{name}.png; with --run, the run's folder]",
    )  # fmt: skip
    parser.add_argument(
        "--docs", action="store_true", help=f"rewrite the printed parts and the figure of docs/layers/{name}.md"
    )
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        options = [option for action in parser._actions for option in action.option_strings]
        near = difflib.get_close_matches(unknown[0], options, n=1)
        parser.error(f"{unknown[0]}: no such word here" + (f" (did you mean {near[0]}?)" if near else ""))
    for option in ("runs_dir", "layer", "image"):
        if args.run is None and getattr(args, option) is not None:
            parser.error(f"--{option.replace('_', '-')} belongs to --run, which says whose numbers to show")
    if args.docs and (args.run is not None or args.out):
        parser.error("--docs stands alone: the documents are written from the constants at the top of the file")
    return args


def title(section) -> str:
    """What a section is called: the first line of its docstring, without the full stop."""
    return inspect.getdoc(section).partition("\n")[0].rstrip(".")


def paragraph(text: str) -> str:
    """The first paragraph of a docstring, its lines joined."""
    return " ".join(text.strip().partition("\n\n")[0].split())


def measured(text: str, promise: str) -> str:
    """A number that this machine measured; in the reading version, what is promised of it on every machine."""
    return promise if reading_version else text


def import_tensorflow():
    """TensorFlow, imported silently, on the processor: the rungs compare ways to write it, not devices."""
    if importlib.util.find_spec("tensorflow") is None:
        raise Problem("TensorFlow is not installed, and from here on it is needed; `make setup` installs it")
    tf = devices.import_tensorflow()
    with contextlib.suppress(RuntimeError):  # already awake in this process, as in a test: leave it as it is
        tf.config.set_visible_devices([], "GPU")
    return tf


def save(figure, path: Path) -> None:
    """Write a matplotlib figure and say where. Raises Problem when it cannot be written."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120, format=Path(path).suffix[1:] or "png")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise Problem(f"{path}: cannot write the figure ({reason}); name another place with --out") from None
    print(f"\nfigure: {path}")


def check_sizes(constants: dict, *names: str) -> None:
    """Raise Problem unless each of these constants of an essay is a whole number, 1 or above (SEED: 0 or above)."""
    for name in names:
        least = 0 if name == "SEED" else 1
        if not isinstance(constants[name], int) or constants[name] < least:
            raise Problem(f"{name} = {constants[name]!r}: expected a whole number, {least} or above")


def matrices(constants: dict, *names: str) -> list[np.ndarray]:
    """These constants of an essay as float64 matrices. Raises Problem for one that is none."""
    found = []
    for name in names:
        try:
            matrix = np.array(constants[name], float)
        except (ValueError, TypeError):
            matrix = np.zeros(0)
        if matrix.ndim != 2 or matrix.size == 0:
            raise Problem(f"{name} = {constants[name]}: expected rows of numbers, equally long, as [[1, 2], [3, 4]]")
        found.append(matrix)
    return found


def check_window(size: int, padding: str, rows: int, columns: int) -> None:
    """Raise Problem unless a size x size window can slide over an image of rows x columns."""
    if padding not in ("SAME", "VALID"):
        raise Problem(f"PADDING = {padding!r}: expected 'SAME' or 'VALID'")
    if size > min(rows, columns):
        raise Problem(
            f"a {size}x{size} kernel is larger than the {rows}x{columns} image; make KERNEL_SIZE at most "
            f"{min(rows, columns)}, or ROWS and COLUMNS larger"
        )


def number(value: float) -> str:
    """A number as a person writes it: 3, -1, 0.25, -1.7321; at most four decimals, and no minus before a zero."""
    return f"{round(float(value), 4) + 0.0:.4f}".rstrip("0").rstrip(".")


def beside(*blocks: tuple[str, object]) -> str:
    """Matrices next to each other, each under its name: beside(("x", x), ("k", k))."""
    columns = []
    for name, values in blocks:
        cells = [[number(value) for value in row] for row in np.atleast_2d(values)]
        width = max(len(cell) for row in cells for cell in row)
        lines = [name] + ["  ".join(cell.rjust(width) for cell in row) for row in cells]
        columns.append([line.ljust(max(map(len, lines))) for line in lines])
    height = max(map(len, columns))
    padded = [lines + [" " * len(lines[0])] * (height - len(lines)) for lines in columns]
    return "\n".join("   " + "     ".join(row).rstrip() for row in zip(*padded))


def sum_of_products(a, b) -> str:
    """1*2 + 3*(-1) for a = [1, 3] and b = [2, -1], as one writes it by hand."""

    def bracketed(value):
        return f"({number(value)})" if value < 0 else number(value)

    pairs = zip(np.ravel(a), np.ravel(b))
    return " + ".join(f"{bracketed(p)}*{bracketed(q)}" for p, q in pairs)


# The reading version. A document keeps its prose; what stands between these two marks is written here:
#     <!-- printed: by_hand -->       what that section prints
#     <!-- source: forward_loops -->  the code of that function
#     <!-- end -->
BLOCK = re.compile(r"<!-- (printed|source): (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def render(document: str, essay: dict) -> str:
    """The document with every block written anew from the essay, a dict of its names (its globals())."""

    def block(match: re.Match) -> str:
        kind, name = match.groups()
        if name not in essay:
            raise Problem(f"docs/layers/: block '{kind}: {name}' names nothing in the essay; correct or remove it")
        if kind == "source":
            language, text = "python", inspect.getsource(essay[name])
        else:
            language, text = "text", printed_by(essay[name])
        return f"<!-- {kind}: {name} -->\n```{language}\n{text.strip(chr(10))}\n```\n<!-- end -->"

    return BLOCK.sub(block, document)


def printed_by(section) -> str:
    """What a section prints in the reading version."""
    global reading_version
    reading_version, caught = True, io.StringIO()
    try:
        with contextlib.redirect_stdout(caught):
            section()
    finally:
        reading_version = False
    return "\n".join(line.rstrip() for line in caught.getvalue().splitlines())


def write_document(path: Path, essay: dict) -> None:
    """Rewrite the blocks of one document in place."""
    if not path.is_file():
        raise Problem(f"{path}: missing; write its prose first, with marks where the printed parts go")
    path.write_text(render(path.read_text(encoding="utf-8"), essay), encoding="utf-8", newline="\n")
    print(f"document: {path}")
