"""The computed parts of a Markdown document: what stands between `<!-- study: NAME -->` and `<!-- study: end -->`.

docs/choices.md is written by hand around such blocks; `analysis/study.py --report` fills them from the rows, and a test
holds the document to the rows.
"""

import re
from pathlib import Path

from analysis.study_parts import effects as of
from analysis.study_parts import sentences
from analysis.study_parts.design import Study
from analysis.study_parts.effects import Effect
from analysis.study_parts.table import Row
from core.run.errors import RunError

BLOCK = re.compile(r"(<!-- study: ([\w -]+) -->\n).*?(<!-- study: end -->)", re.DOTALL)
NOT_YET = "Not run yet; what is expected:"


def blocks(study: Study, rows: list[Row], found: list[Effect], data: str, figures: str = "") -> dict[str, list[str]]:
    """{name of a block: its lines}: base, effects, surprises, pending, and one for every factor of the design.

    figures: where they are, from the document.
    """
    computed = {
        "base": [sentences.base_sentence(study, rows, found, data)],
        "effects": sentences.effect_table(found),
        "surprises": sentences.surprises(found),
        "pending": [sentences.pending(study, found)],
    }
    lacking, expectations = of.not_run(study, found), of.read_expectations(of.EXPECTATIONS)
    for factor in study.factors:
        own = [effect for effect in found if effect.factor is factor]
        lines = sentences.factor_block(rows, own, figures) if own else [f"*{factor.question}*"]
        if factor.name in lacking:
            lines += ["", NOT_YET, ""]
            lines += [sentences.expected(name, *expectations[name]) for name in lacking[factor.name]]
        computed[factor.name] = lines
    return computed


def fill(text: str, computed: dict[str, list[str]], name: str = "the document") -> str:
    """The text with every block replaced by what is computed. Raises RunError for a block that nothing computes."""

    def replaced(match: re.Match) -> str:
        if match[2] not in computed:
            raise RunError(f"{name}: '<!-- study: {match[2]} -->': expected one of {', '.join(computed)}")
        return match[1] + "\n" + "\n".join(computed[match[2]]) + "\n\n" + match[3]

    return BLOCK.sub(replaced, text)


def whole(computed: dict[str, list[str]]) -> str:
    """A document of its own: every block under its name."""
    return "\n".join(f"## {name.capitalize()}\n\n" + "\n".join(lines) + "\n" for name, lines in computed.items())


def write(path: Path, computed: dict[str, list[str]]) -> None:
    """Fill the blocks of a file, which is written whole or not at all."""
    text = path.read_text()
    partial = path.with_name(f".partial-{path.name}")
    partial.write_text(fill(text, computed, str(path)))
    partial.replace(path)
