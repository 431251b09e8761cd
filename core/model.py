"""The networks: a CNN is a list of layers in forward order, with the shape on every line.

To change the architecture, change a list. Layers are seeded by their names, so adding one does
not change the initial weights of the others.
"""

import tensorflow as tf

from core.layers import BatchNormalization, Convolution, Dense, Dropout, Flatten, Layer, MaxPooling, ReLU, Softmax

IMAGE_SHAPE = (32, 32, 3)
CLASSES = 10
LONGEST_NAME = 48  # letters of a layer's name: the column of layers.csv is as wide

# The last layer starts small, so that before training all ten classes are nearly equally likely
# and the first loss is that of chance level, ln 10.
OUTPUT_GAIN = 0.1


class CNN(tf.Module):
    """Layers in forward order, ending in logits; a softmax beside them turns logits into probabilities."""

    def __init__(self, name: str, layers: list[Layer], compute_dtype=tf.float32):
        super().__init__(name)
        names = [layer.name for layer in layers]
        if len(set(names)) < len(names):
            raise ValueError(f"network '{name}': two layers share a name in {names}; seeds and logs need them distinct")
        if long := [layer for layer in names if len(layer) > LONGEST_NAME]:
            raise ValueError(f"network '{name}': layer '{long[0]}' has a name of over {LONGEST_NAME} letters")
        self.layers = layers
        self.softmax = Softmax("softmax")
        self.compute_dtype = compute_dtype

    def __call__(self, images: tf.Tensor, training: bool, step: tf.Tensor | None = None) -> tf.Tensor:
        """Standardized images [N,32,32,3] -> logits [N,K], the scores before softmax.

        The layers compute in `compute_dtype`; the logits come back in the dtype of the images
        (float32), because a loss computed in bfloat16 has three digits.
        """
        x = tf.cast(images, self.compute_dtype)
        for layer in self.layers:
            x = layer(x, training, step)
        return tf.cast(x, images.dtype)

    def outputs(self, images: tf.Tensor, training: bool, step: tf.Tensor | None = None):
        """(layer, its output) one after the other, in forward order: the same pass, to look inside."""
        x = tf.cast(images, self.compute_dtype)
        for layer in self.layers:
            x = layer(x, training, step)
            yield layer, x

    def probabilities(self, images: tf.Tensor) -> tf.Tensor:
        """Standardized images [N,32,32,3] -> class probabilities [N,K], in evaluation mode."""
        return self.softmax(self(images, training=False), training=False)

    @property
    def parameters(self) -> list[tf.Variable]:
        """The learned variables, in network order (tf.Module's own list is alphabetical: conv10 before conv2)."""
        return [variable for layer in self.layers for variable in layer.parameters]

    @property
    def statistics(self) -> list[tf.Variable]:
        """The non-trainable variables (batch norm's moving averages), in network order."""
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
    """Deeper, batch normalization after every convolution, one dense layer at the end."""

    def block(number: int, in_channels: int, out_channels: int, pool: bool) -> list[Layer]:
        """Convolution, (2x2 max-pooling,) batch norm, ReLU. Pooling first leaves the rest a quarter of the work."""
        return [
            # The beta of the batch norm makes a bias here pointless.
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


# The names that --network accepts; core/speed/networks.py has the networks of the speed records.
NETWORKS = {"classic": classic, "modern": modern, "debug": debug}
