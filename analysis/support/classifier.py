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
    return resized(images[:, top : top + side, left : left + side])


def resized(images: tf.Tensor) -> tf.Tensor:
    """The whole of each image at the size that the network takes; one that is no square is squeezed into it.

    uint8 [N,H,W,3] -> [N,32,32,3]. The triangle is chosen by photographs: docs/gallery.md has the numbers.
    """
    small = tf.image.resize(images, [SIDE, SIDE], method="bilinear", antialias=True)
    return tf.saturate_cast(tf.round(small), tf.uint8)


def views_of(images: tf.Tensor, views: int) -> tf.Tensor:
    """What the network is given of each image: one view, or four for test-time augmentation.

    uint8 [N,H,W,3] -> [V,N,32,32,3]. One view: the centre square. Four: the whole image too, squeezed into a square,
    and both mirrored; of a square image centre and whole are the same, which leaves two.
    """
    found = [network_input(images)]
    if views > 1:
        found += [resized(images)] if images.shape[1] != images.shape[2] else []
        found += [view[:, :, ::-1] for view in found]
    return tf.stack(found)


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
