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
from analysis.study_parts.design import BASE, WHOLE
from analysis.support import common, style
from core import devices

tf = devices.import_tensorflow()

import numpy as np

import train_loop
from core.data import load
from core.data.loading import first_images
from core.model import IMAGE_SHAPE
from core.run.errors import RunError

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
COLUMNS = ("variant", "parameters", "flops", "receptive_field", "step_ms")
WARM_UP, ROUNDS = 3, 3
SAME_WORK = ("images-5000", "images-40000", "no-momentum", "decay-5")  # a step computes what the base's does


def receptive_field(network) -> int:
    """The side of the square of pixels that one number before the head depends on, at most the image's."""
    field, jump = 1, 1
    for layer in network.layers:
        if layer.name in ("flatten", "average"):
            break
        field, jump = field + (layer.kernel_size - 1) * jump, jump * layer.stride
    return min(field, IMAGE_SHAPE[0])


def milliseconds(step, first: int, count: int) -> float:
    """The median time of the processor for one step, over `count` steps after WARM_UP."""
    times = []
    for number in range(first, first + WARM_UP + count):
        began = time.process_time()
        metrics, _ = step(tf.constant(number))
        float(metrics["loss"])
        times.append(1000 * (time.process_time() - began))
    return float(np.median(times[WARM_UP:]))


def read(path: Path) -> list[dict]:
    """The rows as they were written. Raises RunError for another file."""
    try:
        with open(path, newline="") as file:
            return [{name: row[name] if name == "variant" else float(row[name]) for name in COLUMNS}
                    for row in csv.DictReader(file)]  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: not a table of study_costs.py ({error})") from None


def table(rows: list[dict]) -> str:
    """The document: one line a variant, times the base's in brackets."""
    by_name = {row["variant"]: row for row in rows}
    base = by_name[BASE]
    same = [by_name[name]["step_ms"] / base["step_ms"] for name in SAME_WORK]
    lines = [
        "# What the variants of the study cost",
        "",
        "`python analysis/benchmarks/study_costs.py` wrote this table. FLOPs are those of one image's forward pass "
        "(a multiply-accumulate is two); training takes three times as many. The receptive field is that of one number "
        "before the head: the side of a square of pixels, 32 at most. Milliseconds are the processor's for one step of "
        "one batch, with one thread. In brackets: the multiple of the base.",
        "",
        f"{style.listed([f'`{name}`' for name in SAME_WORK])} compute the same in a step as the base does, and took "
        f"{min(same):.2f} to {max(same):.2f} times as long: so far the milliseconds can be trusted.",
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
    return "\n".join([*lines, "", f"All variants begin with `{base_options}`.", ""])


def main(args) -> None:
    """Measure every variant, write the table."""
    if args.table:
        return write(args.out)
    devices.configure(1)
    data = load(args.data, args.data_dir, holdout=True)
    steps, rows = {}, {}
    for variant in WHOLE.variants:
        settings = variant.settings(WHOLE, final=False)
        training = train_loop.prepare(settings, first_images(data, settings.train_images))
        network, steps[variant.name] = training.network, training.step
        rows[variant.name] = {
            "variant": variant.name, "parameters": network.parameter_count, "flops": network.flops(),
            "receptive_field": receptive_field(network), "step_ms": float("inf"),
        }  # fmt: skip
    for turn in range(ROUNDS):
        for name, step in steps.items():
            found = milliseconds(step, 1 + turn * (WARM_UP + args.steps), args.steps)
            rows[name]["step_ms"] = min(rows[name]["step_ms"], found)
        common.say(f"round {turn + 1} of {ROUNDS}: the base takes {rows[BASE]['step_ms']:.1f} ms a step")
    args.out.mkdir(parents=True, exist_ok=True)
    with open(args.out / "study_variants.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())
    write(args.out)


def write(folder: Path) -> None:
    """The document, from the CSV."""
    (folder / "study_variants.md").write_text(table(read(folder / "study_variants.csv")))
    common.say(f"written  {folder / 'study_variants.md'}")


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = options.parser("study_costs.py", __doc__.splitlines()[0])
    options.add_data(parser.add_argument)
    parser.add_argument("--steps", type=options.count, default=20, metavar="N", help="steps a variant and round [20]")
    parser.add_argument("--table", action="store_true", help="only write the document again, from the CSV")
    parser.add_argument("--out", type=Path, metavar="DIR", default=FOLDER, help="[docs/reference]")
    return parser


if __name__ == "__main__":
    common.answer(main, build_parser().parse_args())
