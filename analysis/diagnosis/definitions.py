"""What the recorded quantities meant when they were recorded: a hash of the code that defines each.

Recordings whose definitions.json differs from today's code have to be made again: a number under an old definition is
compared with a threshold for a new one. Comments, docstrings, line breaks and `with np.errstate(...)`, which silences
warnings, do not count. No TensorFlow.
"""

import ast
import hashlib
import json
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
FILE = "definitions.json"
# {file: the functions, methods and constants that define what is logged}
DEFINING = {
    "core/measure/probes.py": (
        "LAYER_QUANTITIES", "NEAR_ZERO", "ACTIVATION_IMAGES", "step_metrics", "safe_divide", "dot", "activation_batch",
        "activation_quantities", "batch_loss",
    ),
    "core/measure/diagnostics.py": ("EARLY_STEPS", "evaluation_disagreement", "measure_gain_ratio"),
    "core/measure/evaluation.py": ("evaluate_batch", "batch_sums", "from_sums", "calibration_error"),
    "core/losses.py": ("softmax_cross_entropy", "correct"),
}  # fmt: skip


def definitions() -> dict[str, str]:
    """{"file: name": hash} of today's code."""
    return {
        f"{file}: {name}": hashlib.sha256(ast.dump(WithoutErrstate().visit(tree)).encode()).hexdigest()[:16]
        for file, names in DEFINING.items()
        for name, tree in found(PROJECT / file, names).items()
    }


class WithoutErrstate(ast.NodeTransformer):
    """Puts the body of each `with np.errstate(...)` in its place."""

    def visit_With(self, node):  # noqa: D102
        self.generic_visit(node)
        return node.body if all("np.errstate(" in ast.unparse(item) for item in node.items) else node


def found(path: Path, names: tuple[str, ...]) -> dict[str, ast.AST]:
    """{name: its syntax tree without docstring} of these functions, methods and constants. Raises KeyError."""
    trees = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            node.body = node.body[1:] if ast.get_docstring(node) else node.body
            trees.setdefault(node.name, node)
        elif isinstance(node, ast.Assign):
            for target in ast.walk(node.targets[0]):  # of `a, b = 1, 2` both
                if isinstance(target, ast.Name):
                    trees.setdefault(target.id, node.value)
    return {name: trees[name] for name in names}


def write(recordings: Path) -> None:
    """Note today's definitions beside the recordings."""
    (recordings / FILE).write_text(json.dumps(definitions(), indent=1) + "\n", encoding="utf-8")


def outdated(recordings: Path) -> list[str]:
    """What is defined otherwise today than when these recordings were made; all of it without the file."""
    path = recordings / FILE
    recorded = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return [name for name, value in definitions().items() if recorded.get(name) != value]
