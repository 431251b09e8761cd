"""Exercise 9: one training step in TensorFlow, by hand.

    forward pass     logits of the network, then the mean of the softmax cross-entropy, recorded by a GradientTape
    backward pass    the gradient of the loss for every parameter
    update           w <- w - learning_rate * gradient, for every parameter

    network            network(images, training=True) -> logits [B,K]; network.parameters: the variables to be learned
    images, labels     [B,H,W,C] float32, [B] int32

(The checker starts TensorFlow, which takes some seconds.)
"""

import tensorflow as tf


def train_step(network, images, labels, learning_rate):
    """One step; the parameters change  -> the loss before the update, [] float32."""
    # gap loss: forward pass under a tape, backward pass, update
    with tf.GradientTape() as tape:
        logits = network(images, training=True)  # [B,K]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)  # [B]
        loss = tf.reduce_mean(losses)  # []
    gradients = tape.gradient(loss, network.parameters)
    for parameter, gradient in zip(network.parameters, gradients):
        parameter.assign_sub(learning_rate * gradient)
    # end of gap
    return loss
