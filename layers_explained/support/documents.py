"""docs/layers/: prose written by hand, with what the code prints and the code itself between marks.

<!-- printed: by_hand -->       what that section prints
<!-- source: forward_loops -->  the code of that function
<!-- end -->
"""

import inspect
import re
from pathlib import Path

from layers_explained.support.constants import Problem
from layers_explained.support.printing import printable, printed_by

PROJECT = Path(__file__).resolve().parent.parent.parent
FOLDER = PROJECT / "docs" / "layers"
BLOCK = re.compile(r"<!-- (printed|source): (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def render(document: str, walkthrough) -> str:
    """The document with every block written anew from the walkthrough."""
    sections = walkthrough.sections

    def block(match: re.Match) -> str:
        kind, name = match.groups()
        if name not in (sections if kind == "printed" else walkthrough.names):
            raise Problem(
                f"docs/layers/{walkthrough.name}.md: block '{kind}: {name}' names nothing in {walkthrough.name}.py; "
                "correct or remove it"
            )
        if kind == "source":
            language, text = "python", inspect.getsource(walkthrough.names[name])
        else:
            language, text = "text", printed_by(sections[name][1])
        return f"<!-- {kind}: {name} -->\n```{language}\n{text.strip(chr(10))}\n```\n<!-- end -->"

    return BLOCK.sub(block, document)


def write(walkthrough) -> None:
    """Rewrite the blocks of the walkthrough's document in place. Raises Problem when there is none."""
    path = FOLDER / f"{walkthrough.name}.md"
    if not path.is_file():
        raise Problem(f"{path}: missing; write its prose first, with marks where the printed parts go")
    path.write_text(render(path.read_text(encoding="utf-8"), walkthrough), encoding="utf-8", newline="\n")
    print(f"document: {path}")


def save(figure, path: Path) -> None:
    """Write a matplotlib figure and print where. Raises Problem when it cannot be written."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120, format=Path(path).suffix[1:] or "png")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise Problem(f"{path}: cannot write the figure ({reason}); name another file with --out") from None
    print(printable(f"\nfigure: {path}"))
