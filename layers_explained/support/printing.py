"""How a walkthrough prints: numbers, matrices beside each other, sums term by term."""

import contextlib
import io

import numpy as np

# True while docs/layers/ is written: what differs from machine to machine is then left out.
reading_version = False


def number(value: float) -> str:
    """A number as a person writes it: 3, -1, 0.25, -1.7321; at most four decimals, no minus before a zero."""
    return f"{round(float(value), 4) + 0.0:.4f}".rstrip("0").rstrip(".")


def several(count: int, one: str) -> str:
    """`1 image`, `3 images`."""
    return f"{count:,} {one}" + ("" if count == 1 else "s")


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


def print_beside(*blocks: tuple[str, object]) -> None:
    """Print `beside`, and an empty line after it."""
    print(beside(*blocks) + "\n")


def sum_of_products(a, b) -> str:
    """1*2 + 3*(-1) for a = [1, 3] and b = [2, -1], as one writes it by hand."""

    def bracketed(value):
        return f"({number(value)})" if value < 0 else number(value)

    pairs = zip(np.ravel(a), np.ravel(b))
    return " + ".join(f"{bracketed(p)}*{bracketed(q)}" for p, q in pairs)


def print_terms(columns: dict[str, np.ndarray], bias: float | None = None, most: int = 5) -> float:
    """Print a sum of products term by term, the largest first, the others as one number; return the sum.

    columns: the two factors by name, both [n] or both [H,W]; the position of a term stands before it.
    """
    (one, a), (other, b) = columns.items()
    product = a * b
    positions = ["index"] if product.ndim == 1 else ["row", "column"]
    print("   " + "".join(f"{name:>8}" for name in positions) + f"{one:>14}{other:>14}{'product':>14}")
    largest = np.argsort(-np.abs(product), axis=None, kind="stable")[:most]
    for index in zip(*np.unravel_index(largest, product.shape)):
        position = "".join(f"{k:8}" for k in index)
        print(f"   {position}{a[index]:14.6f}{b[index]:14.6f}{product[index]:14.6f}")
    indent = 8 * len(positions) + 28
    if product.size > len(largest):
        rest = product.sum() - product.flat[largest].sum()
        print(f"   {'the ' + several(product.size - len(largest), 'other term'):{indent}}{rest:14.6f}")
    if bias is not None:
        print(f"   {'bias':{indent}}{bias:14.6f}")
    return product.sum() + (bias or 0.0)


def print_total(own: float, value: float, source: str) -> None:
    """What a hand-written sum gives beside what the layer, or the tape, computed."""
    print(f"   by hand {own + 0.0:.6f}; by the {source} {value + 0.0:.6f}\n")


def printable(text: str) -> str:
    r"""`text` with every character that is not printable as its escape, "\x1b" for one; line ends stay.

    Names come from files and from the command line: they may hold escape codes, or bytes that are not UTF-8.
    """
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """The same, with line ends written as escapes too."""
    return printable(text).replace("\n", "\\n")


def measured(text: str, promise: str) -> str:
    """A number that this machine measured; in the reading version, what is promised of it on every machine."""
    return promise if reading_version else text


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
