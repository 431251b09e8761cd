"""Where does a convolution's time go? Every learned convolution of a recipe by itself, forward and backward pass.

    python analysis/benchmarks/convolutions.py                    the recipe `fast` at its own batch size
    python analysis/benchmarks/convolutions.py --recipe classic --precision float32

Milliseconds of the forward pass, of the gradient for the input, and of that for the kernel: TensorFlow's own, and the
one of core/speed/convolution.py; `<` stands behind what --kernels fast takes. Where a 2x2 pooling drops the last
row and column of the output, also both passes through convolution and pooling, with that edge computed and
skipped. Random images, the whole batch at once on all processors; medians of runs in turn. Leave the machine alone
meanwhile.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from analysis.benchmarks import options
from analysis.support import common
from core import devices
from core.settings import command_line
from core.settings.recipes import RECIPES
from core.settings.settings import PRECISIONS

TIMES = 9  # how often each function runs, in turn with the others
FORWARD, INPUT, TENSORFLOW, FAST, EDGE, NO_EDGE = (
    "forward", "d input", "d kernel, TensorFlow", "d kernel, fast", "all, edge computed", "all, edge skipped",
)  # fmt: skip
COLUMNS = (FORWARD, INPUT, TENSORFLOW, FAST, EDGE, NO_EDGE)


def milliseconds(functions: dict) -> dict[str, float]:
    """{name: median milliseconds of each function of no arguments, compiled}: in turn, the first turn left out."""
    tf = devices.import_tensorflow()
    compiled = {name: tf.function(function, autograph=False) for name, function in functions.items()}
    times = {name: [] for name in functions}
    for _ in range(1 + TIMES):
        for name, function in compiled.items():
            began = time.perf_counter()
            function().numpy()
            times[name].append(1000 * (time.perf_counter() - began))
    return {name: float(np.median(values[1:])) for name, values in times.items()}


def layer_times(layer, input_shape: tuple[int, int, int], batch: int, dtype, drops_edge: bool) -> dict[str, float]:
    """The milliseconds of a convolution of stride 1 on [batch,H,W,Cin]. Each function ends in one number."""
    tf = devices.import_tensorflow()
    from core.speed.convolution import FastConvolution, kernel_gradient
    from core.speed.kernels import converted

    size, padding = layer.kernel_size, layer.padding
    shapes = [batch, *input_shape], layer.kernel.shape
    x, kernel = (tf.cast(tf.random.stateless_normal(shape, [0, i]), dtype) for i, shape in enumerate(shapes))
    y = tf.nn.conv2d(x, kernel, 1, padding)

    def both_passes(skip_edge: bool):
        convolution = converted(layer, FastConvolution)
        convolution.skip_edge, convolution.fast_gradient = skip_edge, getattr(layer, "fast_gradient", False)
        with tf.GradientTape() as tape:
            tape.watch(x)
            pooled = tf.nn.max_pool2d(convolution(x, training=True), 2, 2, "VALID")
        return tf.add_n([
            tf.cast(tf.reduce_max(g), tf.float32) for g in tape.gradient(pooled, [x, layer.kernel])
        ])  # fmt: skip

    given = {"input": x, "filter_sizes": kernel.shape, "out_backprop": y, "strides": [1, 1, 1, 1], "padding": padding}
    functions = {
        FORWARD: lambda: tf.reduce_max(tf.nn.conv2d(x, kernel, 1, padding)),
        INPUT: lambda: tf.reduce_max(tf.nn.conv2d_transpose(y, kernel, x.shape, 1, padding)),
        TENSORFLOW: lambda: tf.reduce_max(tf.raw_ops.Conv2DBackpropFilter(**given)),
        FAST: lambda: tf.reduce_max(kernel_gradient(x, y, size, padding)),
    }
    if drops_edge:
        functions |= {EDGE: lambda: both_passes(False), NO_EDGE: lambda: both_passes(True)}
    return milliseconds(functions)


def learned_convolutions(network):
    """(layer, shape of its input, whether a 2x2 pooling drops the edge of its output), stride 1, in forward order."""
    from core.layers import Convolution, MaxPooling

    for (layer, shape), following in zip(network.shapes(), [*network.layers[1:], None]):
        if isinstance(layer, Convolution) and layer.parameters and layer.stride == 1:
            rows, columns, _ = Convolution.output_shape(layer, shape)  # the textbook's, with the edge
            pooled = isinstance(following, MaxPooling) and following.kernel_size == following.stride == 2
            odd = rows % 2 and columns % 2 and layer.padding == "SAME" and layer.kernel_size > 1
            yield layer, shape, bool(pooled and odd)


def main(args) -> None:
    """Measure layer by layer and print a row of each."""
    named = {"--recipe": args.recipe, "--batch-size": args.batch_size, "--precision": args.precision}
    given = [text for name, value in named.items() if value for text in (name, value)]
    settings = command_line.parse(given).settings
    devices.configure(settings.threads)
    precision, _ = devices.choose_precision(settings.precision, "/CPU:0")
    from core import build

    settings = dataclasses.replace(settings, precision=precision, kernels="fast", micro_batches=1)
    network = build.build_network(settings)
    print(f"{settings.recipe}, batches of {settings.batch_size}, {precision}: milliseconds, medians of {TIMES}")
    print(f"{'layer':8} {'input':>9}" + "".join(f"  {column:>20}" for column in COLUMNS))
    for layer, shape, drops_edge in learned_convolutions(network):
        found = layer_times(layer, shape, settings.batch_size, network.compute_dtype, drops_edge)
        taken = {FAST if getattr(layer, "fast_gradient", False) else TENSORFLOW}
        taken.add(NO_EDGE if getattr(layer, "skip_edge", False) else EDGE)
        cells = [f"{found[c]:.1f}" + (" <" if c in taken else "  ") if c in found else "" for c in COLUMNS]
        row = f"{layer.name:8} {'x'.join(map(str, shape)):>9}" + "".join(f"  {cell:>20}" for cell in cells)
        print(row, flush=True)


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = options.parser("convolutions.py", __doc__.splitlines()[0])
    parser.add_argument("--recipe", choices=list(RECIPES), default="fast", help="[fast]")
    parser.add_argument("--batch-size", metavar="N", help="images a step [the recipe's]")
    parser.add_argument("--precision", choices=PRECISIONS, help="[the recipe's]")
    return parser


if __name__ == "__main__":
    common.answer(main, build_parser().parse_args())
