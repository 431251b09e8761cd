"""What the checks are written with: calling the learner's function, comparing arrays, central differences."""

import inspect

import numpy as np

from checker.exercise import Wrong

TOLERANCE = 1e-9  # of float64 results, relative to the largest number
GRADIENT_TOLERANCE = 1e-5
STEP = 1e-5  # of the central differences
LARGEST_SHOWN = 24  # numbers of an array that are shown whole


def call(module, name: str, *args):
    """The learner's function with these arguments, arrays as copies.

    Raises Wrong when there is no such function, when its parameters are others, when it returns nothing and when it
    changes an argument.
    """
    function = getattr(module, name, None)
    if not callable(function):
        raise Wrong(f"The file has no function {name}; the checker calls it by this name.")
    try:
        inspect.signature(function).bind(*args)
    except TypeError:
        raise Wrong(f"{name}{inspect.signature(function)} does not take {len(args)} arguments as the file that you "
                    "were given; put its first line back.") from None  # fmt: skip
    copies = [np.copy(a) if isinstance(a, np.ndarray) else a for a in args]
    result = function(*copies)
    if result is None:
        raise Wrong(f"{name} returns nothing: is there a return, outside of the loops?")
    for before, after, parameter in zip(args, copies, inspect.signature(function).parameters):
        if isinstance(before, np.ndarray) and not np.array_equal(before, after, equal_nan=True):
            raise Wrong(f"{name} changes its argument {parameter}, which the caller still needs: work on a copy.")
    return result


def call_for_arrays(module, name: str, count: int, *args) -> list:
    """The same for a function that returns `count` arrays. Raises Wrong when it returns something else."""
    result = call(module, name, *args)
    if not isinstance(result, tuple | list) or len(result) != count:
        found = f"{len(result)} of them" if isinstance(result, tuple | list) else f"one {type(result).__name__}"
        raise Wrong(f"{name} returns {found}; expected {count} results, as in the last line of the file.")
    return list(result)


def array(value, name: str) -> np.ndarray:
    """The value as a float64 array. Raises Wrong when it is none."""
    try:
        return np.asarray(value, float)
    except (TypeError, ValueError):
        raise Wrong(f"{name} is a {type(value).__name__}; expected an array of numbers.") from None


def expect_shape(name: str, value, shape: tuple, rule: str) -> None:
    """Raise Wrong unless the array has this shape; `rule` says where the shape comes from."""
    found = array(value, name).shape
    if found != tuple(shape):
        raise Wrong(f"{name} has shape {list(found)}, expected {list(shape)}: {rule}.")


def expect_equal(name: str, value, expected, sentence: str, tolerance: float = TOLERANCE) -> None:
    """Raise Wrong with this sentence unless all numbers agree."""
    found, expected = array(value, name), np.asarray(expected, float)
    if found.shape != expected.shape:
        raise Wrong(f"{name} has shape {list(found.shape)}, expected {list(expected.shape)}.")
    if np.isnan(found).any() and not np.isnan(expected).any():
        raise Wrong(f"{name} holds nan, which is not a number: a division 0/0, inf - inf or log of a negative number.",
                    (f"expected {name}", text(expected)), (f"found {name}", text(found)))  # fmt: skip
    if not same(found, expected, tolerance):
        raise Wrong(sentence, *compared(name, found, expected))


def compared(name: str, found: np.ndarray, expected: np.ndarray) -> list[tuple[str, str]]:
    """Both arrays; where they look the same as they are shown, the entry that differs most."""
    shown = text(expected), text(found)
    if shown[0] != shown[1] or not expected.size:
        return [(f"expected {name}", shown[0]), (f"found {name}", shown[1])]
    difference = np.abs(found - expected)
    index = tuple(int(i) for i in np.unravel_index(np.argmax(np.nan_to_num(difference, nan=np.inf)), expected.shape))
    where = f"{name}{list(index) if index else ''}"
    return [("expected", f"{where} = {expected[index]:.10g}"), ("found", f"{where} = {found[index]:.10g}")]


def same(a, b, tolerance: float = TOLERANCE) -> bool:
    """Whether two arrays have one shape and the same numbers, up to the tolerance times the largest of b."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape:
        return False
    finite = np.abs(b[np.isfinite(b)])
    return np.allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.max(finite, initial=0.0)), equal_nan=True)


def numerical_gradient(loss, x: np.ndarray, step: float = STEP) -> np.ndarray:
    """(L(x + h) - L(x - h)) / 2h for every entry of x."""
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        above, below = x.astype(float), x.astype(float)
        above[index] += step
        below[index] -= step
        gradient[index] = (loss(above) - loss(below)) / (2 * step)
    return gradient


def expect_gradient(name: str, value, loss, x: np.ndarray) -> None:
    """Raise Wrong, naming the worst entry, unless `value` is the gradient of loss at x."""
    found, expected = array(value, name), numerical_gradient(loss, x)
    expect_shape(name, found, x.shape, "a gradient has the shape of what it belongs to")
    error = np.abs(found - expected)
    if not np.max(error) <= GRADIENT_TOLERANCE * max(1.0, np.max(np.abs(expected))):
        index = tuple(int(i) for i in np.unravel_index(np.argmax(np.nan_to_num(error, nan=np.inf)), error.shape))
        where = f"{name}{list(index)}"
        raise Wrong(f"The gradient check does not pass: {where} is not the slope of the loss.",
                    ("expected", f"{where} = {expected[index]:.6g}, by (L(x+h) - L(x-h)) / 2h"),
                    ("found", f"{where} = {found[index]:.6g}"))  # fmt: skip


def text(value) -> str:
    """A number, or a small array, a line for each row; of a large one its beginning."""
    flat = np.asarray(value, float)
    if flat.ndim > 2:
        flat = np.squeeze(flat)
    if flat.ndim > 2 or flat.size > LARGEST_SHOWN:
        return f"{text(flat.ravel()[:6])}, the first 6 of {flat.size}"
    rows = np.atleast_2d(flat + 0.0)  # -0 is 0
    cells = [[f"{number:.4g}" for number in row] for row in rows]
    width = max((len(cell) for row in cells for cell in row), default=0) if flat.ndim == 2 else 0
    return "\n".join("  ".join(cell.rjust(width) for cell in row) for row in cells)


def numbers(seed: int, *shape: int) -> np.ndarray:
    """Random numbers from N(0, 1), the same ones each time."""
    return np.random.default_rng(seed).standard_normal(shape)
