"""Attribution: how much each part of an image matters for one logit. Grad-CAM, occlusion, input gradient.

Each gives maps [N,h,w] for standardized images x [N,32,32,3] and one class an image, `classes` [N]; y is the logit of
that class. How far a map depends on what the network learned is measured by `cascade`: the same map on weights that
are drawn anew from the top layer down (Adebayo et al. 2018), compared by rank correlation.
"""

from core import devices

tf = devices.import_tensorflow()

import numpy as np

from core.model import CNN

SQUARE, STRIDE = 8, 2  # pixels: side of the occluding square, and from one position to the next
AT_ONCE = 512  # images in one forward pass


def logit(logits: tf.Tensor, classes) -> tf.Tensor:
    """The logit of each image's class: [N,K], [N] -> [N]."""
    return tf.gather(logits, tf.constant(classes), batch_dims=1)


def gradients(network: CNN, x: np.ndarray, classes, name: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(A, dy/dA) for the output A of a layer, in evaluation mode; without a name A is the image itself.

    Every image's y depends on its own A alone, so the gradient of the sum is each image's gradient.
    """
    a = x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        for layer, output in network.outputs(x, training=False):
            if layer.name == name:
                a = output
                tape.watch(a)
        y = logit(output, classes)
    # Zeros instead of None: an edited network may go around the layer.
    gradient = tape.gradient(y, a, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return a.numpy(), gradient.numpy()


def input_gradient(network: CNN, x: np.ndarray, classes) -> np.ndarray:
    """max over colours of |dy/dx|: [N,32,32]. Simonyan et al. 2014."""
    return np.abs(gradients(network, x, classes)[1]).max(axis=-1)


def grad_cam(network: CNN, x: np.ndarray, classes, name: str) -> np.ndarray:
    """ReLU(sum over k of a_k A_k), a_k = mean over positions of dy/dA_k: [N,h,w]. Selvaraju et al. 2017.

    A [N,h,w,C] is the output of the layer `name`, k its channels.
    """
    a, gradient = gradients(network, x, classes, name)
    weights = gradient.mean(axis=(1, 2), keepdims=True)  # [N,1,1,C]
    return np.maximum((weights * a).sum(axis=-1), 0)


def grad_cam_layer(network: CNN) -> str | None:
    """The last nonlinearity whose output is a feature map of more than one position; None when there is none."""
    shapes = [(layer, layer.output_shape(shape)) for layer, shape in network.shapes()]
    names = [layer.name for layer, shape in shapes if layer.is_activation and len(shape) == 3 and shape[0] > 1]
    return names[-1] if names else None


def occlusion(network: CNN, x: np.ndarray, classes, square: int = SQUARE, stride: int = STRIDE) -> np.ndarray:
    """How much y falls when a grey square covers a pixel, averaged over all squares that do: [N,32,32].

    Zeiler & Fergus 2014. The square is 0 in a standardized image: the mean colour. It moves by `stride` from outside
    one edge to outside the other, so that every pixel is covered equally often.
    """
    side, offsets = x.shape[1], range(stride - square, x.shape[1], stride)
    masks = np.zeros((len(offsets) ** 2, side, side), bool)  # [P,32,32]
    for p, (top, left) in enumerate((i, j) for i in offsets for j in offsets):
        masks[p, max(top, 0) : top + square, max(left, 0) : left + square] = True
    maps = []
    for image, label in zip(x, classes):
        covered = np.where(masks[..., None], np.float32(0), image)  # [P,32,32,3]
        stack = np.concatenate([image[None], covered])
        parts = [network(tf.constant(stack[i : i + AT_ONCE]), False) for i in range(0, len(stack), AT_ONCE)]
        y = tf.concat(parts, axis=0).numpy()[:, label]
        maps.append(np.tensordot(y[0] - y[1:], masks, 1) / masks.sum(axis=0))
    return np.stack(maps)


def edges(x: np.ndarray) -> np.ndarray:
    """How fast the brightness changes from pixel to pixel: [N,32,32]. An edge detector: it does not use the network."""
    down, right = np.gradient(x.mean(axis=-1), axis=(1, 2))
    return np.hypot(down, right)


def cascade(trained: CNN, fresh: CNN) -> list[tuple[str, CNN]]:
    """[(layer, network)]: the trained network whose layers from this one to the top are those of `fresh`.

    One network for each layer with a kernel that is learned, from the last layer to the first. Layers in which nothing
    is learned, whitening for one, stay.
    """
    networks = []
    for k, layer in reversed(list(enumerate(trained.layers))):
        if layer.parameters and hasattr(layer, "kernel"):
            own, drawn = trained.layers, fresh.layers
            layers = own[:k] + [new if new.parameters else old for old, new in zip(own[k:], drawn[k:])]
            networks.append((layer.name, CNN(f"{trained.name}_from_{layer.name}", layers, trained.compute_dtype)))
    return networks


def ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each number, 1 for the smallest; equal numbers share the mean of their ranks. [n] -> [n]"""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[index]


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation of two maps, -1 to 1; NaN when one of them is constant and has no order."""
    a, b = (ranks(values.ravel()) for values in (one, other))
    a, b = a - a.mean(), b - b.mean()
    lengths = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / lengths) if lengths > 0 else float("nan")
