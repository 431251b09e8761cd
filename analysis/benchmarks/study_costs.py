"""What does each variant of the study cost? Parameters, FLOPs, receptive field and seconds a step, measured in turn.

    python analysis/benchmarks/study_costs.py            docs/reference/study_variants.md and .csv, in some minutes

The seconds are those that the processor computes for one step with one thread: what else the machine does makes little
difference to them. Every variant is measured in each of three rounds; the median of a round, the lowest of the rounds.
"""

import argparse
import csv
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from analysis.benchmarks import options
from analysis.study_parts.design import BASE, WHOLE, Variant
from analysis.support import common
from core import devices

tf = devices.import_tensorflow()

import numpy as np

import train_loop
from core.data import load
from core.model import IMAGE_SHAPE
from core.settings.settings import option

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
COLUMNS = ("variant", "parameters", "flops", "receptive_field", "step_ms")
WARM_UP, ROUNDS = 3, 3


def receptive_field(network) -> int:
    """The side of the square of pixels that one number before the head depends on, at most the image's."""
    field, jump = 1, 1
    for layer in network.layers:
        if layer.name in ("flatten", "average"):
            break
        field, jump = field + (layer.kernel_size - 1) * jump, jump * layer.stride
    return min(field, IMAGE_SHAPE[0])


def prepared(variant: Variant, data):
    """(network, a function that takes the step of this number) of a variant."""
    training = train_loop.prepare(variant.settings(WHOLE, final=False), data)
    return training.network, training.step


def milliseconds(step, first: int, count: int) -> float:
    """The median time of the processor for one step, over `count` steps after WARM_UP."""
    times = []
    for number in range(first, first + WARM_UP + count):
        began = time.process_time()
        metrics, _ = step(tf.constant(number))
        float(metrics["loss"])
        times.append(1000 * (time.process_time() - began))
    return float(np.median(times[WARM_UP:]))


def table(rows: list[dict], machine: str) -> str:
    """The document: one line a variant, times the base's in brackets."""
    base = next(row for row in rows if row["variant"] == BASE)
    lines = [
        "# What the variants of the study cost",
        "",
        "`python analysis/benchmarks/study_costs.py` wrote this table. FLOPs are those of one image's forward pass "
        "(a multiply-accumulate is two); training takes three times as many. The receptive field is that of one number "
        "before the head: the side of a square of pixels, 32 at most. Milliseconds are the processor's for one step of "
        f"one batch, with one thread ({machine}). In brackets: the multiple of the base.",
        "",
        "| variant | options | parameters | FLOPs an image | receptive field | ms a step |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        variant = next(v for v in WHOLE.variants if v.name == row["variant"])
        cells = [f"`{row['variant']}`", f"`{' '.join(variant.options)}`" if variant.options else ""]
        for column, form in (("parameters", "{:,.0f}"), ("flops", "{:,.0f}"), ("receptive_field", "{:.0f}"),
                             ("step_ms", "{:.1f}")):  # fmt: skip
            multiple = "" if column == "receptive_field" else f" ({row[column] / base[column]:.2f})"
            cells.append(form.format(row[column]) + multiple)
        lines.append(f"| {' | '.join(cells)} |")
    base_options = " ".join(WHOLE.base_options)
    return "\n".join([*lines, "", f"The base: `{option('network')[2:]}` with `{base_options}`.", ""])


def main(args) -> None:
    """Measure every variant, write the table."""
    devices.configure(1)
    data, rows = load(args.data, args.data_dir, holdout=True), {}
    for turn in range(ROUNDS):
        for variant in WHOLE.variants:
            network, step = prepared(variant, data)
            found = milliseconds(step, 1, args.steps)
            if turn == 0:
                rows[variant.name] = {
                    "variant": variant.name, "parameters": network.parameter_count, "flops": network.flops(),
                    "receptive_field": receptive_field(network), "step_ms": found,
                }  # fmt: skip
            rows[variant.name]["step_ms"] = min(rows[variant.name]["step_ms"], found)
            common.say(f"round {turn + 1}  {variant.name:16} {found:6.1f} ms")
    args.out.mkdir(parents=True, exist_ok=True)
    with open(args.out / "study_variants.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())
    (args.out / "study_variants.md").write_text(table(list(rows.values()), devices.processor_name()))
    common.say(f"written  {args.out / 'study_variants.md'}")


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = options.parser("study_costs.py", __doc__.splitlines()[0])
    options.add_data(parser.add_argument)
    parser.add_argument("--steps", type=options.count, default=20, metavar="N", help="steps a variant and round [20]")
    parser.add_argument("--out", type=Path, metavar="DIR", default=FOLDER, help="[docs/reference]")
    return parser


if __name__ == "__main__":
    common.answer(main, build_parser().parse_args())
