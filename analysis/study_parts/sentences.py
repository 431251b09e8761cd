"""What the numbers of a study say, as sentences and tables. Every conclusion is computed from the effects."""

from analysis.study_parts import effects as of
from analysis.study_parts import runner
from analysis.study_parts.design import BASE, Study
from analysis.study_parts.effects import BETTER, SAME, WORSE, Effect
from analysis.study_parts.table import Row
from analysis.support import statistics, style
from analysis.support.statistics import points

OUTCOMES = {BETTER: "better", WORSE: "worse", SAME: "no difference shown"}
EXPECTED = {BETTER: "better", WORSE: "worse", SAME: "no difference"}
CORRECTION = "all p-values of the study corrected together (Holm)"


def with_interval(effect: Effect) -> str:
    """`+3.10 (+2.51 to +3.69)`, in points."""
    mean, half = effect.result.difference, effect.result.half
    return f"{points(mean)} ({points(mean - half)} to {points(mean + half)})"


def title(found: list[Effect], data: str) -> str:
    """The heading of the forest plot: the largest gain and the largest loss that are shown."""
    ordered = sorted(found, key=lambda effect: effect.result.difference)
    parts = []
    for effect, outcome, word in ((ordered[-1], BETTER, "gains"), (ordered[0], WORSE, "loses")):
        if effect.outcome == outcome:
            parts.append(f"{effect.variant.name} {word} most ({points(effect.result.difference)} points)")
    none = sum(effect.outcome == SAME for effect in found)
    parts.append(f"no difference is shown for {none} of {len(found)}")
    return f"{'; '.join(parts)}. {data}, {found[0].result.k} seeds"


def cost_title(found: list[Effect], data: str) -> str:
    """The heading of the figure of costs: which gains cost no more than the base."""
    cheap = [e for e in found if e.outcome == BETTER and e.work <= 1.05]
    best = sorted(cheap, key=lambda effect: -effect.result.difference)[:3]
    names = style.listed([f"{e.variant.name} ({points(e.result.difference)})" for e in best])
    said = f"Better than the base for at most 1.05 times its FLOPs: {names}" if cheap else (
        "No variant is shown to be better than the base for at most 1.05 times its FLOPs"
    )  # fmt: skip
    return f"{said}. {data}"


def factor_title(own: list[Effect], data: str) -> str:
    """The heading of a factor's curves: each variant's difference and what it amounts to."""
    each = [f"{e.variant.name} {points(e.result.difference)} ({OUTCOMES[e.outcome]})" for e in own]
    return f"{own[0].factor.name.capitalize()}: {', '.join(each)}. {data}"


def effect_table(found: list[Effect]) -> list[str]:
    """The table of all effects in Markdown, the largest first."""
    lines = [
        "| variant | expected | outcome | difference, points (95 % interval) | p, corrected | P(better) | "
        "smallest visible difference | FLOPs | seconds | parameters |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for effect in sorted(found, key=lambda effect: -effect.result.difference):
        result = effect.result
        lines.append(
            f"| `{effect.variant.name}` | {EXPECTED[effect.expected]} | {OUTCOMES[effect.outcome]} | "
            f"{with_interval(effect)} | {statistics.p_in_words(effect.p).removeprefix('p ').removeprefix('= ')} | "
            f"{result.superiority:.2f} | {100 * result.detectable:.2f} | {effect.work:.2f}× | "
            f"{effect.seconds:.2f}× | {effect.ratio('parameters'):.2f}× |"
        )
    return lines


def base_sentence(study: Study, rows: list[Row], found: list[Effect], data: str) -> str:
    """What the base reaches, and its learning rates."""
    base = found[0].base_rows
    values = [row.test_accuracy for row in base]
    mean, half = statistics.t_interval(values)
    tuned = runner.accuracies(rows, study.variants[0])
    return (
        f"The base reaches {100 * mean:.2f} % ± {100 * float(statistics.sample_std(values)):.2f} on the test images "
        f"(mean ± standard deviation of {len(values)} seeds; 95 % interval of the mean {100 * (mean - half):.2f} to "
        f"{100 * (mean + half):.2f}), {100 * of.mean(base, 'train_accuracy'):.1f} % on its training images: "
        f"{base[0].parameters:,} parameters, {base[0].flops / 1e6:.2f} MFLOP an image, "
        f"{of.mean(base, 'cpu_seconds'):.0f} seconds of one processor. Data: {data}. Learning rates on the hold-out: "
        f"{of.rates_in_words(rows, study.variants[0])}."
        + ("" if len(tuned) >= len(study.rates) else " The grid is not complete.")
    )


def effect_sentence(effect: Effect) -> str:
    """One variant in words: expected, measured, what could be seen, what it costs."""
    result = effect.result
    return (
        f"{outcome_sentence(effect)} Corrected {statistics.p_in_words(effect.p)}, P({effect.variant.name} > base) = "
        f"{result.superiority:.2f}; a true difference under {100 * result.detectable:.2f} points cannot be seen with "
        f"these runs. It costs {effect.work:.2f} times the FLOPs, {effect.seconds:.2f} times the seconds and "
        f"{effect.ratio('parameters'):.2f} times the parameters."
    )


def outcome_sentence(effect: Effect) -> str:
    """The difference of one variant, and what was expected."""
    result, name = effect.result, effect.variant.name
    surprised = "A surprise: " if effect.surprise else "Expected, and not seen: " if effect.missed else ""
    half_seen = effect.outcome == SAME and abs(result.difference) > result.half
    alone = " (by itself the interval leaves out 0; corrected for all comparisons that is not enough)" * half_seen
    found = {
        BETTER: f"`{name}` is better than the base", WORSE: f"`{name}` is worse than the base",
        SAME: f"no difference between `{name}` and the base is shown",
    }[effect.outcome]  # fmt: skip
    found = found if surprised else found[0].upper() + found[1:]
    lost = sum(row.diverged for row in effect.rows)
    diverged = f" {lost} of its {result.k} runs diverged, which counts as chance level" if lost else ""
    if 0 < lost < result.k:
        others = [row for row in effect.rows if not row.diverged]
        diverged += f"; the others reach {100 * of.mean(others, 'test_accuracy'):.2f} %"
    diverged += "." * bool(lost)
    return (
        f"{surprised}{found}: {with_interval(effect)} points{alone}.{diverged} Expected: {EXPECTED[effect.expected]}."
    )


def mechanism_table(own: list[Effect]) -> list[str]:
    """The diagnostics of a factor's variants beside the base, in Markdown."""
    lines = [
        "| | rate | training accuracy | gap to test, points | gradient first / last | signal last / first | zeros | "
        "dead channels |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, rows in ((BASE, own[0].base_rows), *((e.variant.name, e.rows) for e in own)):
        gap = 100 * sum(of.gap(row) for row in rows) / len(rows)
        cells = [f"{rows[0].learning_rate:g}", f"{100 * of.mean(rows, 'train_accuracy'):.1f} %", f"{gap:.1f}"]
        for column, form in (("gradient_ratio", "{:.2g}"), ("signal_ratio", "{:.2g}"), ("sparsity", "{:.0%}"),
                             ("dead_channels", "{:.1%}")):  # fmt: skip
            value = of.mean(rows, column)
            cells.append("" if value != value else form.format(value).replace("%", " %"))
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return lines


def factor_block(rows: list[Row], own: list[Effect], figures: str = "") -> list[str]:
    """Everything that is computed about a factor, as lines of Markdown. figures: the folder of the curves."""
    lines = [f"*{own[0].factor.question}*", ""]
    for effect in own:
        lines += [f"- {outcome_sentence(effect)} Rates on the hold-out: {of.rates_in_words(rows, effect.variant)}."]
    command = own[0].rows[0].command.replace(" --precision bfloat16", "")
    name = own[0].factor.name.replace(" ", "-")
    return [
        *lines, "", *mechanism_table(own), "",
        f"![Curves: {own[0].factor.name}]({figures}curves-{name}.png)", "",
        "In a minute:", "", "```text", command, "```",
    ]  # fmt: skip


def surprises(found: list[Effect]) -> list[str]:
    """The outcomes that are not what was expected: shown differences first, the largest first."""
    unexpected = [effect for effect in found if effect.surprise or effect.missed]
    return [
        f"- `{e.variant.name}`: expected {EXPECTED[e.expected]}, found {OUTCOMES[e.outcome]}, {with_interval(e)}. "
        f"The reason given before: {e.why}"
        for e in sorted(unexpected, key=lambda e: (e.missed, -abs(e.result.difference)))
    ] or ["- None: every outcome is the one that was expected."]


def expected(name: str, outcome: str, why: str) -> str:
    """One expectation whose runs are not there yet."""
    return f"- `{name}`: {EXPECTED[outcome]}. {why}"


def pending(study: Study, found: list[Effect]) -> str:
    """What is not run yet."""
    lacking = of.not_run(study, found)
    if not lacking:
        return "Every variant of the design has been run."
    each = [f"{name} ({', '.join(f'`{v}`' for v in variants)})" for name, variants in lacking.items()]
    return f"Not run yet: {style.listed(each)}. `python analysis/study.py` continues where it stopped."
