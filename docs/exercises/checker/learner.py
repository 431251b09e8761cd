"""A learner's file: is there still a gap, does it load, and an exception in it as one sentence with its line."""

import ast
import bdb
from pathlib import Path
from types import ModuleType

from checker import catalogue
from checker.exercise import Wrong


def load(text: str, path: Path) -> ModuleType:
    """The learner's module. Raises Wrong with a sentence for an open gap, a syntax error and an exception."""
    try:
        tree = ast.parse(text, str(path))
    except SyntaxError as error:
        raise Wrong(f"Line {error.lineno} is not Python yet: {error.msg}.", shown(text, error.lineno)) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise Wrong(f"The file is not Python ({error}); check.py {path.stem[:2]} --reset restores it.") from None
    if line := open_gap(tree):
        raise Wrong(f"The gap in line {line} is still open: write your code in place of the three dots.",
                    shown(text, line))  # fmt: skip
    try:
        return catalogue.module(text, path)
    except BaseException as error:
        raise stopped(error, text, path) from None


def open_gap(tree: ast.Module) -> int | None:
    """The line of the first `...` that stands alone or is assigned or returned; None without one."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Expr, ast.Assign, ast.Return)) and isinstance(node.value, ast.Constant):
            if node.value.value is ...:
                return node.lineno
    return None


def stopped(error: BaseException, text: str, path: Path) -> Wrong:
    """An exception as what the learner reads: the line of the file at which it happened, and what Python says.

    An interrupt is raised again: it is the person's wish, not the file's mistake.
    """
    if isinstance(error, Wrong | KeyboardInterrupt):
        raise error
    lines = []
    trace = error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == str(path):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    message = " ".join(str(error).split()) or "no message"
    what = f"{type(error).__name__}: {message[:200]}"
    if not lines:
        return Wrong(f"Your function could not be called as the docstring says ({what}).")
    if isinstance(error, RecursionError):
        return Wrong(f"Line {lines[-1]} calls itself again and again.", shown(text, lines[-1]))
    if isinstance(error, EOFError | bdb.BdbQuit):
        return Wrong(f"Line {lines[-1]} waits for the keyboard, which the checker does not have: for breakpoint() or "
                     "input(), call your function from a file of your own.", shown(text, lines[-1]))  # fmt: skip
    if isinstance(error, SystemExit):
        return Wrong(f"Line {lines[-1]} ends Python; a function gives its result back with return.",
                     shown(text, lines[-1]))  # fmt: skip
    if isinstance(error, NameError) and not isinstance(error, UnboundLocalError):
        return Wrong(f"Line {lines[-1]} uses a name that nothing defines ({message}).", shown(text, lines[-1]))
    if isinstance(error, ValueError) and "inhomogeneous" in message:
        return Wrong(f"Line {lines[-1]} makes an array of parts that differ in their shapes: does a window reach over "
                     "the border, or has it another size than it should?", shown(text, lines[-1]))  # fmt: skip
    return Wrong(f"Line {lines[-1]} stops with {what}.", shown(text, lines[-1]))


def shown(text: str, line: int | None) -> tuple[str, str]:
    """(label, the line)."""
    lines = text.splitlines()
    return f"line {line}", lines[line - 1].strip() if line and line <= len(lines) else ""
