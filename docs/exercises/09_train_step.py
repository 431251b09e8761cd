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
    loss = ...  # forward pass under a tape, backward pass, update
    return loss
