"""A reader's measure: what somebody who opens train_loop.py meets before the first parameter changes.

    python tests/readers_measure.py [FILE]

lines           all lines of the file, blank ones too
comment share   lines with a `#` comment or inside a docstring, as a fraction of the lines that are not blank
identifiers     distinct names a reader has to look up: variables, parameters, functions, modules, attributes, keyword
                arguments; Python's own (range, zip, None, ...) do not count. In train_step: up to the statement that
                adds an update to a parameter (`assign_add`). In train: up to the statement that takes the first step.
"""

import ast
import builtins
import io
import sys
import tokenize
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def measure(source: str) -> dict[str, float]:
    """{what: number} of a training loop's source."""
    tree = ast.parse(source)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    step, train = functions["train_step"], functions["train"]
    of_step, of_train = before(step, ("assign_add",)), before(train, ("step", "one_step"))
    return {
        "lines": source.count("\n"),
        "comment share": comment_share(source),
        "train_step parameters": len(parameters(step)),
        "train_step lines": step.end_lineno - step.lineno + 1,
        "train_step ends at line": step.end_lineno,
        "train lines": train.end_lineno - train.lineno + 1,
        "identifiers before the first update in train_step": len(identifiers(of_step) | parameters(step)),
        "identifiers before the first step in train": len(identifiers(of_train) | parameters(train)),
    }


def parameters(function: ast.FunctionDef) -> set[str]:
    """The names of a function's parameters."""
    return {argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)}


def before(function: ast.FunctionDef, called: tuple[str, ...]) -> list[ast.AST]:
    """The nodes of a function, up to and with the line of the first call of one of these functions or methods."""
    nodes = [node for statement in without_docstring(function) for node in ast.walk(statement)]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    names = [getattr(call.func, "attr", getattr(call.func, "id", "")) for call in calls]
    end = min(call.end_lineno for call, name in zip(calls, names) if name in called)
    return [node for node in nodes if getattr(node, "lineno", end + 1) <= end]


def identifiers(nodes: list[ast.AST]) -> set[str]:
    """The distinct identifiers among these nodes, without Python's own."""
    found = {node.id for node in nodes if isinstance(node, ast.Name)}
    found |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    found |= {node.arg for node in nodes if isinstance(node, ast.keyword) and node.arg}
    return found - set(dir(builtins))


def without_docstring(function: ast.FunctionDef) -> list[ast.stmt]:
    """The statements of a function."""
    return function.body[1:] if ast.get_docstring(function) else function.body


def comment_share(source: str) -> float:
    """The fraction of non-blank lines that hold a comment or belong to a docstring."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    explained = {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
    for node in ast.walk(ast.parse(source)):
        documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        if documented and ast.get_docstring(node):
            explained |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    written = {number for number, line in enumerate(source.splitlines(), start=1) if line.strip()}
    return len(explained & written) / len(written)


def main() -> None:
    """Print the measure of a file."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT / "train_loop.py"
    for what, number in measure(path.read_text()).items():
        print(f"{what:<52} {number:.2f}" if isinstance(number, float) else f"{what:<52} {number}")


if __name__ == "__main__":
    main()
