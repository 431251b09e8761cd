"""What the tests of the documents share: the files, their commands, and where a name stands in the code."""

import ast
import re
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
FOLDERS = ("core", "layers_explained", "analysis", "tests", "docs")
CODE_SPAN = re.compile(r"`([^`\n]+)`")


def documents() -> list[Path]:
    """Every Markdown file that a reader meets, README.md first."""
    return [PROJECT / "README.md", *sorted(PROJECT.glob("*.md")), *sorted((PROJECT / "docs").rglob("*.md"))]


def text_files() -> list[Path]:
    """Every Python and Markdown file of the project, the Makefile and the settings of the editor."""
    found = [path for folder in FOLDERS for kind in ("*.py", "*.md") for path in (PROJECT / folder).rglob(kind)]
    top = [*PROJECT.glob("*.py"), *PROJECT.glob("*.md"), PROJECT / "Makefile", *PROJECT.glob(".vscode/*")]
    return sorted({*found, *top, *PROJECT.glob(".devcontainer/*")})


def named(path: Path) -> str:
    """A file's name inside the project."""
    return path.relative_to(PROJECT).as_posix()


def code_spans(path: Path) -> list[str]:
    """What stands in backticks in a document, outside of code blocks."""
    return CODE_SPAN.findall(re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE))


def code_blocks(path: Path) -> list[str]:
    """The lines of a document's code blocks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


@cache
def tree(path: Path) -> ast.Module:
    """A Python file, parsed."""
    return ast.parse(path.read_text())


def defines(path: Path, name: str) -> bool:
    """Whether the file defines `name`: a function, a class, a constant, or "Class.method"."""
    body = tree(path).body
    for part in name.split("."):
        found = [node for node in body if part in names_of(node)]
        if not found:
            return False
        body = getattr(found[0], "body", [])
    return True


def names_of(node: ast.stmt) -> list[str]:
    """The names that a statement defines."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]


@cache
def makefile_scripts() -> dict[str, list[str]]:
    """{target: the scripts that it runs}."""
    text = (PROJECT / "Makefile").read_text()
    training = re.search(r"define train\n(.*?)endef", text, re.DOTALL).group(1)
    recipes = re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)*)", text, re.MULTILINE)
    return {
        target: re.findall(r"[\w/]+\.py", recipe.replace("$(call train", training + "$(call train"))
        for target, recipe in recipes
    }


@cache
def options_of(script: str) -> frozenset[str]:
    """The options of a script: of train_loop.py its parser's, else what it and its helpers name in their code."""
    if script == "train_loop.py":
        from core.settings.command_line import build_parser

        return frozenset(name for action in build_parser()._actions for name in action.option_strings)
    found = set()
    for path in helpers(PROJECT / script):
        strings = (node.value for node in ast.walk(tree(path)) if isinstance(node, ast.Constant))
        found |= {s for s in strings if isinstance(s, str) and re.fullmatch(r"--[a-z][a-z-]*", s)}
    return frozenset(found | {"--help"})


def helpers(path: Path, known: frozenset = frozenset()) -> set[Path]:
    """A script and the modules of analysis/ and layers_explained/ that it imports, directly or not."""
    found = {path}
    for node in ast.walk(tree(path)):
        if not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("analysis", "layers_explained"))):
            continue
        module = PROJECT / node.module.replace(".", "/")
        candidates = [module.with_suffix(".py"), *(module / f"{alias.name}.py" for alias in node.names)]
        for candidate in candidates:
            if candidate.is_file() and candidate not in known | found:
                found |= helpers(candidate, known | frozenset(found))
    return found
