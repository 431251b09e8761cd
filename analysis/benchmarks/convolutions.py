"""Where does a convolution's time go? Every learned convolution of a recipe by itself, forward and back.

    python analysis/convolutions.py                    the recipe `fast` at its own batch size
    python analysis/convolutions.py --recipe classic --precision float32

Milliseconds of the forward pass, of the gradient for the input, and of that for the kernel: TensorFlow's own, and ours
(core/layers/kernel_gradient.py); `<` stands behind the one that the loop takes. For a layer with skip_edge also
the whole way there and back through its pooling, with the last row and column computed and without. Random
pictures; medians of runs in turn. Leave the machine alone meanwhile.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from analysis.support import common
from core.settings import recipes

TIMES = 9  # how often each function runs, in turn with the others
FORWARD, INPUT, THEIRS, OURS, WHOLE, SKIPPED = (
    "forward", "d input", "d kernel, TensorFlow", "d kernel, ours", "all, edge computed", "all, edge skipped",
)  # fmt: skip


def milliseconds(functions: dict) -> dict[str, float]:
    """{name: median milliseconds of each function of nothing, compiled}: in turn, the first turn left out."""
    from core.devices import import_tensorflow

    tf = import_tensorflow()
    compiled = {name: tf.function(function, autograph=False) for name, function in functions.items()}
    times = {name: [] for name in functions}
    for _ in range(1 + TIMES):
        for name, function in compiled.items():
            began = time.perf_counter()
            function().numpy()
            times[name].append(1000 * (time.perf_counter() - began))
    return {name: float(np.median(values[1:])) for name, values in times.items()}


def layer_times(layer, input_shape: tuple[int, int, int], batch: int, dtype) -> dict[str, float]:
    """The milliseconds of a convolution of stride 1 on [batch,H,W,Cin]. Each function ends in one number."""
    from core.devices import import_tensorflow
    from core.speed.kernel_gradient import convolve, kernel_gradient

    tf = import_tensorflow()
    size, padding = layer.kernel_size, layer.padding
    shapes = [batch, *input_shape], layer.kernel.shape
    x, kernel = (tf.cast(tf.random.stateless_normal(shape, [0, i]), dtype) for i, shape in enumerate(shapes))
    y = tf.nn.conv2d(x, kernel, 1, padding)
    zeros = [size // 2, size // 2 - 1]

    def pooled(x, skip_edge):
        if skip_edge:
            return tf.nn.max_pool2d(
                convolve(tf.pad(x, [[0, 0], zeros, zeros, [0, 0]]), kernel, 1, "VALID"), 2, 2, "VALID"
            )
        return tf.nn.max_pool2d(convolve(x, kernel, 1, padding), 2, 2, "VALID")

    def there_and_back(skip_edge):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            answer = pooled(x, skip_edge)
        return tf.add_n([tf.reduce_max(gradient) for gradient in tape.gradient(answer, [x, kernel])])

    own = {"input": x, "filter_sizes": kernel.shape, "out_backprop": y, "strides": [1, 1, 1, 1], "padding": padding}
    functions = {
        FORWARD: lambda: tf.reduce_max(tf.nn.conv2d(x, kernel, 1, padding)),
        INPUT: lambda: tf.reduce_max(tf.nn.conv2d_transpose(y, kernel, x.shape, 1, padding)),
        THEIRS: lambda: tf.reduce_max(tf.raw_ops.Conv2DBackpropFilter(**own)),
        OURS: lambda: tf.reduce_max(kernel_gradient(x, y, size, padding)),
    }
    if layer.skip_edge:
        functions |= {WHOLE: lambda: there_and_back(False), SKIPPED: lambda: there_and_back(True)}
    return milliseconds(functions)


def main(args) -> None:
    """Measure layer by layer and print a row of each."""
    named = {"--recipe": args.recipe, "--batch-size": args.batch_size, "--precision": args.precision}
    settings = command_line.parse([word for name, value in named.items() if value for word in (name, value)]).settings
    from core import devices

    devices.configure(settings.threads)
    precision, _ = devices.choose_precision(settings.precision, "/CPU:0")
    from core import layers, model
    from core.speed.kernel_gradient import is_faster

    network = model.build(dataclasses.replace(settings, precision=precision))
    print(f"{settings.recipe}, batches of {settings.batch_size}, {precision}: milliseconds, medians of {TIMES}")
    columns = (FORWARD, INPUT, THEIRS, OURS, WHOLE, SKIPPED)
    print(f"{'layer':8} {'input':>9}" + "".join(f"  {column:>20}" for column in columns))
    for layer, shape in network.shapes():
        if isinstance(layer, layers.Convolution) and layer.parameters and layer.stride == 1:
            found = layer_times(layer, shape, settings.batch_size, network.compute_dtype)
            side = max(layer.output_shape(shape)[:2])
            taken = {OURS if is_faster(side, network.compute_dtype, layer.stride) else THEIRS, SKIPPED}
            cells = [f"{found[c]:.1f}" + (" <" if c in taken else "  ") if c in found else "" for c in columns]
            print(
                f"{layer.name:8} {'x'.join(map(str, shape)):>9}" + "".join(f"  {cell:>20}" for cell in cells),
                flush=True,
            )


if __name__ == "__main__":
    line = argparse.ArgumentParser(prog="analysis/convolutions.py", description=__doc__.splitlines()[0])
    line.add_argument("--recipe", choices=list(recipes.RECIPES), default="fast", help="[fast]")
    line.add_argument("--batch-size", metavar="N", help="images a step [the recipe's]")
    line.add_argument("--precision", choices=SETTINGS_MODULE.PRECISIONS, help="[the recipe's]")
    common.answer(main, line.parse_args())
