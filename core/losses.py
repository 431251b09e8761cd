"""The loss: softmax cross-entropy, minus the log of the probability that the network gives to the true class."""

import tensorflow as tf


def softmax_cross_entropy(logits: tf.Tensor, labels: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """L[n] = -sum over k of q[n,k] log p[n,k],  p = softmax(z),  q = (1-e) onehot(label) + e/K.

    Logits z [N,K] float32 or float64, labels [N] int (0 to K-1), smoothing e in [0, 1) -> L [N].
    In nats: chance level among ten classes is ln 10 = 2.3026. Computed from the logits,
    log p[k] = z[k] - m - log sum exp(z - m), so that no probability ever rounds to 0 inside a log.

    Gradient: dL/dz = p - q.
    """
    classes = logits.shape[-1]
    log_p = tf.nn.log_softmax(logits)  # [N,K]
    q = tf.one_hot(labels, classes, dtype=logits.dtype) * (1 - smoothing) + smoothing / classes  # [N,K]
    return -tf.reduce_sum(q * log_p, axis=-1)


def correct(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """1.0 where the largest logit is the label's, else 0.0.  [N,K], [N] -> [N] float32."""
    return tf.cast(tf.equal(tf.argmax(logits, axis=-1, output_type=labels.dtype), labels), tf.float32)
