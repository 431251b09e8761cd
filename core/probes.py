"""What is measured of every layer inside the compiled step.

To log another quantity of a layer's kernel, add one line to LAYER_QUANTITIES: its name is what
layers.csv will call it. w is the kernel before the step, g its gradient, d the step taken.
"""

import tensorflow as tf

LAYER_QUANTITIES = {
    "gradient_norm": lambda w, g, d: tf.norm(g),  # how hard the data pushes
    "weight_norm": lambda w, g, d: tf.norm(w),
    "update_ratio": lambda w, g, d: tf.norm(d) / tf.norm(w),  # about 1e-3 in a healthy run
}

DENSE_START, EVERY = 100, 10


def due(step: int) -> bool:
    """Whether step's layer quantities are written: all of the first 100, where trouble starts, then every tenth."""
    return step <= DENSE_START or step % EVERY == 0


def layer_quantities(model, gradients: list, updates: list) -> dict[str, tf.Tensor]:
    """Every quantity of every layer that has a kernel: {name: [layers] float32}, in network order."""
    places = {id(variable): i for i, variable in enumerate(model.parameters)}
    rows = [places[id(layer.kernel)] for layer in kernel_layers(model)]
    return {
        name: tf.stack([quantity(model.parameters[i], gradients[i], updates[i]) for i in rows])
        for name, quantity in LAYER_QUANTITIES.items()
    }


def kernel_layers(model) -> list:
    """The layers that have a kernel, in network order."""
    return [layer for layer in model.layers if hasattr(layer, "kernel")]
