"""The command line that every walkthrough has."""

import argparse
import difflib
from pathlib import Path

from layers_explained.support.printing import one_line


def read(name: str, docstring: str, arguments: list[str] | None = None) -> argparse.Namespace:
    """The arguments: run, runs_dir, layer, image, out, docs. Exits with 2 and one line on a wrong one."""
    parser = argparse.ArgumentParser(
        prog=f"{name}.py", description=paragraph(docstring), allow_abbrev=False,
        epilog="Without --run, the walkthrough uses the constants at the top of the file: change them, run it again.",
    )  # fmt: skip
    parser.error = lambda message: parser.exit(2, one_line(f"{name}.py: {message}; see --help") + "\n")
    parser.add_argument(
        "--run", nargs="?", const="", metavar="RUN",
        help="show the numbers of a layer you trained: a run's name or folder, or nothing for the latest",
    )  # fmt: skip
    parser.add_argument("--runs-dir", metavar="DIR", help="with --run: where runs are kept [runs]")
    parser.add_argument("--layer", metavar="NAME", help="with --run: which layer [the first of its kind]")
    parser.add_argument("--image", type=int, metavar="N", help="with --run: which image of the test set [0]")
    parser.add_argument(
        "--out", type=Path, metavar="FILE",
        help=f"the figure's file [layers_explained/figures/{name}.png; with --run, in the run's folder]",
    )  # fmt: skip
    parser.add_argument(
        "--docs", action="store_true", help=f"rewrite the printed parts and the figure of docs/layers/{name}.md"
    )
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        options = [option for action in parser._actions for option in action.option_strings]
        near = difflib.get_close_matches(unknown[0], options, n=1)
        parser.error(f"{unknown[0]}: no such argument" + (f" (did you mean {near[0]}?)" if near else ""))
    for option in ("runs_dir", "layer", "image"):
        if args.run is None and getattr(args, option) is not None:
            parser.error(f"--{option.replace('_', '-')} belongs to --run, which names the run to show")
    if args.docs and (args.run is not None or args.out):
        parser.error("--docs stands alone: the documents are written from the constants at the top of the file")
    return args


def paragraph(text: str) -> str:
    """The first paragraph of a docstring, its lines joined."""
    return " ".join(text.strip().partition("\n\n")[0].split())
