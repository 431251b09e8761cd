"""airbench94, the speed record on CIFAR-10, in PyTorch on the processor: what the recipe `fast` is compared with.

    python analysis/benchmarks/baselines/airbench94.py                             the version of the paper: SGD
    python analysis/benchmarks/baselines/airbench94.py --version airbench94_muon   its successor: Muon, as `fast`
    python analysis/benchmarks/baselines/airbench94.py --steps 20                  a first try: the loss should fall
    python analysis/benchmarks/baselines/airbench94.py --holdout                   evaluated on held-out training images

Both versions have the numbers of the published programs (published.py, airbench_versions.py). PyTorch is an optional
extra: pip install ".[torch]".

The last line is `accuracy=A accuracy_tta=A seconds=S images_per_second=R`: test accuracy without and with
test-time augmentation, and the seconds of training, whitening included, evaluation and reading the files excluded.
"""

import argparse
import importlib.util
import math
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from analysis.benchmarks import options
from analysis.benchmarks.baselines.published import AIRBENCH


def command_line() -> argparse.ArgumentParser:
    """The options."""
    parser = options.parser("airbench94.py", __doc__.splitlines()[0])
    add = parser.add_argument
    add("--version", choices=list(AIRBENCH), default="airbench94", help="SGD or Muon [airbench94]")
    add("--epochs", type=options.epochs, metavar="X", help="passes over the training images [9.9; airbench94_muon: 8]")
    add("--steps", type=options.count, metavar="N", help="stop after N steps of that schedule [all]")
    add("--batch-size", type=options.count, metavar="N", help="images a step [1024; airbench94_muon: 2000]")
    add("--seed", type=options.seed, default=0, metavar="N", help="of every random number [0]")
    add("--precision", choices=("float32", "bfloat16"), default="bfloat16", help="[bfloat16]")
    add("--threads", type=options.count, metavar="N", help="processor threads [all]")
    options.add_data(add)
    add("--holdout", action="store_true", help="train on 9/10 of the training images, evaluate on the other tenth")
    return parser


if __name__ == "__main__":
    ARGS = command_line().parse_args()  # before PyTorch: --help does not need it
    if not importlib.util.find_spec("torch"):
        sys.exit('airbench94.py: PyTorch is not installed; to have it: python -m pip install --editable ".[torch]"')

import numpy as np
import torch
from torch.nn import functional

from analysis.benchmarks.baselines.airbench_parts import (
    WHITENING_IMAGES,
    Airbench,
    accuracies,
    batches,
    standardized,
    whitening_kernel,
)
from analysis.benchmarks.baselines.airbench_versions import LABEL_SMOOTHING, VERSIONS
from analysis.support import common
from core.data import load
from core.run.errors import RunError


def train(images, labels, args, say=print) -> tuple[Airbench, float, int]:
    """(trained network, seconds, steps taken). images uint8 [M,32,32,3], labels int64 [M]."""
    began = time.perf_counter()
    torch.manual_seed(args.seed)
    version = VERSIONS[args.version]
    network = version.build().to(memory_format=torch.channels_last).train()
    steps_per_epoch = len(images) // args.batch_size
    total = math.ceil(args.epochs * steps_per_epoch)
    last = min(args.steps or total, total)
    # Before the whitening, as published: lookahead's slow copy starts with the random kernel.
    optimization = version(network, args.batch_size, total, steps_per_epoch)
    network.whitening.weight.copy_(whitening_kernel(standardized(images[:WHITENING_IMAGES])))

    for done, (x, y) in enumerate(batches(images, labels, args.batch_size, last)):
        optimization.set_rates(done)
        network.zero_grad()  # to None: a weight that has no gradient is left alone
        with torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bfloat16"):
            logits = network(x)  # [B,10]
        loss = functional.cross_entropy(logits.float(), y, label_smoothing=LABEL_SMOOTHING, reduction="sum")
        loss.backward()
        optimization.update(done + 1)
        if (done + 1) % 10 == 0 or done + 1 == last:
            speed = (done + 1) * len(y) / (time.perf_counter() - began)
            say(f"step {done + 1}/{total}  loss {loss.item() / len(y):.4f}  {speed:,.0f} images/s")
    return network, time.perf_counter() - began, last


def main(args) -> None:
    """Train, evaluate, print the line that others read."""
    torch.set_num_threads(args.threads or os.cpu_count())
    version = VERSIONS[args.version]
    args.epochs = args.epochs or version.EPOCHS
    args.batch_size = args.batch_size or version.BATCH_SIZE
    data = load(args.data, args.data_dir, args.holdout)
    if args.batch_size > len(data.train_images):
        raise RunError(
            f"--batch-size {args.batch_size}: larger than the {len(data.train_images):,} training images there are"
        )
    print(f"{args.version}: {AIRBENCH[args.version]}; {data.title}, {args.precision}", flush=True)
    tensors = [torch.from_numpy(x) for x in (data.train_images, data.train_labels.astype(np.int64))]
    network, seconds, steps = train(*tensors, args, say=lambda text: print(text, flush=True))
    tensors = [torch.from_numpy(x) for x in (data.test_images, data.test_labels.astype(np.int64))]
    accuracy, accuracy_tta = accuracies(network, *tensors, args.precision)
    print(
        f"accuracy={accuracy:.4f} accuracy_tta={accuracy_tta:.4f} seconds={seconds:.1f} "
        f"images_per_second={steps * args.batch_size / seconds:.0f}"
    )


if __name__ == "__main__":
    common.answer(main, ARGS)
