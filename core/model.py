"""The networks: a CNN is a list of layers in forward order, with the shape on every line.

To change the architecture, change a list. Layers are seeded by their names, so adding one does
not move the starting weights of the others.
"""

import itertools

import tensorflow as tf

from core.batches import standardize
from core.layers import (
    GELU,
    BatchNormalization,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPooling,
    ReLU,
    Scale,
    Softmax,
    Whitening,
)

IMAGE_SHAPE = (32, 32, 3)
CLASSES = 10

# The last layer starts small, so that before learning all ten classes are nearly equally likely
# and the first loss is that of guessing, ln 10.
OUTPUT_GAIN = 0.1
SMALL_GAIN = 3**-0.5  # the deviation of U(-1/sqrt(n), 1/sqrt(n)), the start that the speed records use
WHITENING_IMAGES = 5_000


class CNN(tf.Module):
    """Layers in forward order, ending in logits; a softmax beside them turns logits into probabilities.

    pieces: in how many pieces a batch passes the layers up to Flatten, side by side: two processors that need not
    wait for each other after every layer are faster (docs/speed.md). Only batch norm notices: its statistics
    are those of a piece. If one of those layers cannot (dropout), the batch stays in one.
    """

    def __init__(self, name: str, layers: list[Layer], compute_dtype=tf.float32, pieces: int = 1):
        super().__init__(name)
        names = [layer.name for layer in layers]
        if len(set(names)) < len(names):
            raise ValueError(f"network '{name}': two layers share a name in {names}; seeds and logs need them distinct")
        self.layers = layers
        self.softmax = Softmax("softmax")
        self.compute_dtype = compute_dtype
        self.front = next((i + 1 for i, layer in enumerate(layers) if isinstance(layer, Flatten)), 0)
        self.pieces = pieces if all(layer.in_pieces for layer in layers[: self.front]) else 1

    def logits(self, images: tf.Tensor, training: bool, step: tf.Tensor | None = None) -> tf.Tensor:
        """Standardised images [N,32,32,3] -> scores [N,10], before softmax.

        The layers compute in `compute_dtype`; the scores come back in the dtype of the images
        (float32), because a loss computed in bfloat16 has three digits.
        """
        x = tf.cast(images, self.compute_dtype)
        pieces = [forward(self.layers[: self.front], piece, training, step) for piece in cut(x, self.pieces)]
        x = forward(self.layers[self.front :], tf.concat(pieces, axis=0), training, step)
        return tf.cast(x, images.dtype)

    def outputs(self, images: tf.Tensor, training: bool, step: tf.Tensor | None = None):
        """(layer, its output) one after the other, in forward order, the batch in one piece: to look into."""
        x = tf.cast(images, self.compute_dtype)
        for layer in self.layers:
            x = layer(x, training, step)
            yield layer, x

    def probabilities(self, images: tf.Tensor) -> tf.Tensor:
        """Standardised images [N,32,32,3] -> class probabilities [N,10], in evaluation mode."""
        return self.softmax(self.logits(images, training=False), training=False)

    @property
    def parameters(self) -> list[tf.Variable]:
        """What the optimizer moves, in network order (tf.Module's own list is alphabetical: conv10 before conv2)."""
        return [variable for layer in self.layers for variable in layer.parameters]

    @property
    def statistics(self) -> list[tf.Variable]:
        """What is measured instead of learned, in network order."""
        return [variable for layer in self.layers for variable in layer.statistics]

    @property
    def named_variables(self) -> dict[str, tf.Variable]:
        """Every variable a checkpoint needs, as {"conv1/kernel": variable}, in network order."""
        return {
            f"{layer.name}/{variable.name.split(':')[0].split('/')[-1]}": variable
            for layer in self.layers
            for variable in layer.parameters + layer.statistics
        }

    @property
    def parameter_count(self) -> int:
        """How many numbers are learned."""
        return sum(layer.parameter_count for layer in self.layers)

    def flops(self, image_shape: tuple[int, int, int] = IMAGE_SHAPE) -> int:
        """Floating-point operations of one image's forward pass, logits included, softmax not."""
        return sum(layer.flops(shape) for layer, shape in self.shapes(image_shape))

    def shapes(self, image_shape: tuple[int, int, int] = IMAGE_SHAPE):
        """(layer, shape of one image as it enters that layer), in forward order."""
        shape = image_shape
        for layer in self.layers:
            yield layer, shape
            shape = layer.output_shape(shape)

    def summary(self, image_shape: tuple[int, int, int] = IMAGE_SHAPE) -> str:
        """The table of a textbook: layer, output shape, parameters, MACs an image, receptive field.

        Receptive field: the side of the square of input pixels that one output number depends on.
        r grows by (kernel - 1) * jump, and jump, the distance in pixels between neighbouring
        outputs, is multiplied by the stride.
        """
        rows = [("layer", "output", "parameters", "MACs", "field")]
        rows.append(("image", "x".join(map(str, image_shape)), "", "", "1"))
        field, jump, total_macs = 1, 1, 0
        for layer, shape in self.shapes(image_shape):
            field, jump = field + (layer.kernel_size - 1) * jump, jump * layer.stride
            if len(layer.output_shape(shape)) == 1:
                field = image_shape[0]  # a dense layer sees it all
            total_macs += layer.macs(shape)
            rows.append((
                layer.name, "x".join(map(str, layer.output_shape(shape))), f"{layer.parameter_count:,}",
                f"{layer.macs(shape):,}", str(min(field, image_shape[0])),
            ))  # fmt: skip
        rows.append((self.name, "", f"{self.parameter_count:,}", f"{total_macs:,}", ""))
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = [
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}  {e:>{widths[4]}}".rstrip()
            for a, b, c, d, e in rows
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def forward(layers: list[Layer], x: tf.Tensor, training: bool, step: tf.Tensor | None) -> tf.Tensor:
    """The output of the last of these layers for the input x of the first."""
    for layer in layers:
        x = layer(x, training, step)
    return x


def cut(x: tf.Tensor, pieces: int) -> list[tf.Tensor]:
    """x [N,...] in `pieces` pieces, first to last, of N / pieces pictures or one more."""
    count = x.shape[0] or tf.shape(x)[0]
    ends = [count * i // pieces for i in range(pieces + 1)]
    return [x[begin:end] for begin, end in itertools.pairwise(ends)]


def classic(seed: int = 0, dtype=tf.float32) -> list[Layer]:
    """The textbook: (convolution, ReLU, max-pooling) three times, flatten, two dense layers."""
    return [
        Convolution("conv1", 3, 32, seed=seed, dtype=dtype),  # [N,32,32,3] -> [N,32,32,32]
        ReLU("relu1"),
        MaxPooling("pool1"),  # -> [N,16,16,32]
        Convolution("conv2", 32, 64, seed=seed, dtype=dtype),  # -> [N,16,16,64]
        ReLU("relu2"),
        MaxPooling("pool2"),  # -> [N,8,8,64]
        Convolution("conv3", 64, 128, seed=seed, dtype=dtype),  # -> [N,8,8,128]
        ReLU("relu3"),
        MaxPooling("pool3"),  # -> [N,4,4,128]
        Flatten("flatten"),  # -> [N,2048]
        Dense("dense1", 2048, 128, seed=seed, dtype=dtype),  # -> [N,128]
        ReLU("relu4"),
        Dropout("dropout", 0.4, seed=seed),
        Dense("dense2", 128, CLASSES, gain=OUTPUT_GAIN, seed=seed, dtype=dtype),  # -> [N,10]
    ]


def modern(seed: int = 0, dtype=tf.float32) -> list[Layer]:
    """Deeper, batch normalisation after every convolution, one dense layer at the end."""

    def block(number: int, in_channels: int, out_channels: int, pool: bool) -> list[Layer]:
        """Convolution, (2x2 max-pooling,) batch norm, ReLU. Pooling first leaves the rest a quarter of the work."""
        return [
            # The shift of the batch norm makes a bias here pointless.
            Convolution(f"conv{number}", in_channels, out_channels, use_bias=False, seed=seed, dtype=dtype),
            *([MaxPooling(f"pool{number}")] if pool else []),
            BatchNormalization(f"norm{number}", out_channels, dtype=dtype),
            ReLU(f"relu{number}"),
        ]

    return [
        *block(1, 3, 32, pool=True),  # [N,32,32,3] -> [N,16,16,32]
        *block(2, 32, 64, pool=True),  # -> [N,8,8,64]
        *block(3, 64, 128, pool=False),  # -> [N,8,8,128]
        *block(4, 128, 128, pool=True),  # -> [N,4,4,128]
        *block(5, 128, 256, pool=False),  # -> [N,4,4,256]
        *block(6, 256, 256, pool=False),  # -> [N,4,4,256]
        MaxPooling("pool6", 4),  # -> [N,1,1,256]
        Flatten("flatten"),  # -> [N,256]
        Dense("dense", 256, CLASSES, gain=OUTPUT_GAIN, seed=seed, dtype=dtype),  # -> [N,10]
    ]


def speed(widths: tuple[int, int, int], activation, parts, seed: int, dtype) -> list[Layer]:
    """The network of the speed records (Jordan 2024): whitening, then three blocks of two convolutions each.

    parts: the settings `whitening_init`, `identity_init` and `overlapping_pools`. What replaces the whitening layer is
    a convolution of the same shape that is learned. Poolings of 3x3, two apart, fit into 31, 15 and 7 rows, where those
    of 2x2 leave the last one out (Krizhevsky et al. 2012, section 3.4).
    """
    first = Whitening("whitening", 3, dtype=dtype)
    if not parts.whitening_init:
        first = Convolution("conv0", 3, first.out_channels, kernel_size=2, padding="VALID", seed=seed, dtype=dtype)
    layers = [first, activation("bend0")]  # [N,32,32,3] -> [N,31,31,24]
    window = 3 if parts.overlapping_pools else 2

    def convolve(name: str, in_channels: int, out_channels: int, pool: bool) -> list[Layer]:
        return [
            Convolution(
                f"conv{name}", in_channels, out_channels, use_bias=False, gain=SMALL_GAIN,
                identity=parts.identity_init, skip_edge=pool and not parts.overlapping_pools, seed=seed, dtype=dtype,
            ),
            *([MaxPooling(f"pool{name}", window, stride=2)] if pool else []),
            BatchNormalization(f"norm{name}", out_channels, momentum=0.6, use_scale=False, dtype=dtype),
            activation(f"bend{name}"),
        ]  # fmt: skip

    channels = first.out_channels
    for block, width in enumerate(widths, start=1):  # -> 15x15, 7x7, 3x3
        layers += convolve(f"{block}a", channels, width, pool=True) + convolve(f"{block}b", width, width, pool=False)
        channels = width
    return [
        *layers,
        MaxPooling("pool", 3),  # -> [N,1,1,C]
        Flatten("flatten"),
        Dense("dense", channels, CLASSES, use_bias=False, gain=SMALL_GAIN, seed=seed, dtype=dtype),
        Scale("scale", 1 / 9),  # -> [N,10]
    ]


def debug(seed: int = 0, dtype=tf.float32) -> list[Layer]:
    """One of everything, small enough to read its tensors on a screen."""
    return [
        Convolution("conv1", 3, 8, seed=seed, dtype=dtype),  # [N,32,32,3] -> [N,32,32,8]
        BatchNormalization("norm1", 8, dtype=dtype),
        ReLU("relu1"),
        MaxPooling("pool1", 4),  # -> [N,8,8,8]
        Flatten("flatten"),  # -> [N,512]
        Dropout("dropout", 0.1, seed=seed),
        Dense("dense1", 512, CLASSES, gain=OUTPUT_GAIN, seed=seed, dtype=dtype),  # -> [N,10]
    ]


NETWORKS = {"classic": classic, "modern": modern, "debug": debug}
WIDTHS = {  # channels of the three blocks of `speed`; half of them in the first block cost little loss (docs/speed.md)
    "speed64": (32, 64, 64), "speed128": (64, 128, 128), "speed192": (32, 192, 192), "speed256": (32, 256, 256),
    "airbench94": (64, 256, 256),
}  # fmt: skip
ACTIVATIONS = {"relu": ReLU, "gelu": GELU}


def build(settings, dtype=tf.float32, images=None) -> CNN:
    """The network that the settings name, its weights drawn from their seed.

    images: training pictures uint8 [N,32,32,3] on which a whitening layer takes its measure; without them
    it keeps a random start (enough to count parameters, or before a checkpoint is restored).
    """
    compute_dtype = tf.bfloat16 if settings.precision == "bfloat16" else dtype
    if settings.network in NETWORKS:
        layers = NETWORKS[settings.network](settings.seed, dtype)
    else:
        layers = speed(WIDTHS[settings.network], ACTIVATIONS[settings.activation], settings, settings.seed, dtype)
    if images is not None and isinstance(layers[0], Whitening):
        layers[0].measure(standardize(images))
    return CNN(settings.network, layers, compute_dtype, settings.pieces or 1)
