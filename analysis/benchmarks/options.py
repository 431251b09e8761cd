"""What the command lines of the benchmarks share. No TensorFlow, no PyTorch."""

import argparse
import math

from core.settings.command_line import Parser
from core.settings.settings import DATA_SETS, shown


def parser(script: str, question: str) -> Parser:
    """The command line of a script of this folder; a mistake is one line and exit status 2."""
    return Parser(prog=script, description=question, allow_abbrev=False)


def add_data(add, default: str = "cifar10") -> None:
    """--data and --data-dir; add: a parser's add_argument."""
    add("--data", choices=DATA_SETS, default=default, help=f"[{default}]")
    add("--data-dir", metavar="DIR", default="", help="where cifar-10-batches-bin/ is")


def count(text: str, lowest: int = 1) -> int:
    """A whole number from `lowest` to 999,999,999."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) >= lowest):
        raise argparse.ArgumentTypeError(f"expected a whole number, {lowest} or above, found {shown(text)}")
    return int(text)


def seed(text: str) -> int:
    """A whole number from 0 to 999,999,999."""
    return count(text, lowest=0)


def epochs(text: str) -> float:
    """A number of passes over the data above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {shown(text)}")
    return value
