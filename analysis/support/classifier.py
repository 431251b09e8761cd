"""Images of any size -> class probabilities: the preprocessing of training before a network, softmax behind it."""

import tensorflow as tf

from core.data.batches import standardize
from core.model import CNN, IMAGE_SHAPE

SIDE = IMAGE_SHAPE[0]


def network_input(images: tf.Tensor) -> tf.Tensor:
    """The centre square of each image, resized to the size that the network takes.  uint8 [N,H,W,3] -> [N,32,32,3].

    An output pixel is the mean of the input pixels around it, weighted by a triangle that is as wide as the reduction
    asks for (antialiasing); a smaller image is enlarged by linear interpolation; 32x32 pixels stay as they are. Whole
    numbers again, because training images are.
    """
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    side = tf.minimum(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images[:, top : top + side, left : left + side]
    resized = tf.image.resize(square, [SIDE, SIDE], method="bilinear", antialias=True)
    return tf.saturate_cast(tf.round(resized), tf.uint8)


class Classifier(tf.Module):
    """A network with its preprocessing and class names: tf.saved_model.save writes it as one thing."""

    def __init__(self, network: CNN, class_names: tuple[str, ...]):
        super().__init__("classifier")
        self.network = network
        self.class_names = tuple(class_names)  # [K]

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "images")], autograph=False)
    def __call__(self, images):
        """uint8 [N,H,W,3] -> {"class_name": text [N], the most probable one; "probabilities": float32 [N,K]}."""
        probabilities = self.network.probabilities(standardize(network_input(images)))
        class_name = tf.gather(tf.constant(self.class_names), tf.argmax(probabilities, axis=1))
        return {"class_name": class_name, "probabilities": probabilities}

    @tf.function(input_signature=[], autograph=False)
    def names(self):
        """{"class_names": text [K]}, in the order of the probabilities."""
        return {"class_names": tf.constant(self.class_names)}
