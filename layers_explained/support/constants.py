"""The constants at the top of a walkthrough, which the reader changes: are they possible?"""

import numpy as np


class Problem(Exception):
    """Something the reader can put right; the message is one line that says what, where and how."""


def check_sizes(constants: dict, *names: str) -> None:
    """Raise Problem unless each of these constants is a whole number, 1 or above (SEED: 0 or above)."""
    for name in names:
        least = 0 if name == "SEED" else 1
        if not isinstance(constants[name], int) or constants[name] < least:
            raise Problem(f"{name} = {constants[name]!r}: expected a whole number, {least} or above")


def check_numbers(constants: dict, **intervals: tuple[float, float]) -> None:
    """Raise Problem unless each constant is a number in [low, high): check_numbers(globals(), RATE=(0, 1))."""
    for name, (low, high) in intervals.items():
        value = constants[name]
        if not isinstance(value, int | float) or not low <= value < high:
            bounds = f" from {low} up to, but not including, {high}" if high < np.inf else ""
            raise Problem(f"{name} = {value!r}: expected a number{bounds}")


def matrices(constants: dict, *names: str) -> list[np.ndarray]:
    """These constants as float64 matrices. Raises Problem for one that is none."""
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


def require(fits: bool, message: str) -> None:
    """Raise Problem with this message unless the constants fit together."""
    if not fits:
        raise Problem(message)


def check_window(size: int, padding: str, rows: int, columns: int) -> None:
    """Raise Problem unless a size x size window can slide over an image of rows x columns."""
    if padding not in ("SAME", "VALID"):
        raise Problem(f"PADDING = {padding!r}: expected 'SAME' or 'VALID'")
    if size > min(rows, columns):
        raise Problem(
            f"a {size}x{size} kernel is larger than the {rows}x{columns} image; make KERNEL_SIZE at most "
            f"{min(rows, columns)}, or ROWS and COLUMNS larger"
        )
