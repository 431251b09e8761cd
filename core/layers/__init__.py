"""The layers a network is built of.

One file a layer, with the same name in layers_explained/ and tests/layers/. A layer is written as its
formula says; faster ways to compute the same function are in core/speed/.

The legend for all shapes: N images in a batch, H and W rows and columns, Cin and Cout channels in
and out, kh and kw rows and columns of a kernel, s stride, K classes. Images are [N,H,W,C].
"""

from core.layers.activation import GELU, LeakyReLU, ReLU, Sigmoid
from core.layers.convolution import Convolution
from core.layers.dense import Dense
from core.layers.dropout import Dropout
from core.layers.flatten import Flatten
from core.layers.layer import Layer
from core.layers.normalization import BatchNormalization
from core.layers.pooling import AveragePooling, MaxPooling
from core.layers.softmax import Softmax

__all__ = [
    "AveragePooling", "BatchNormalization", "Convolution", "Dense", "Dropout", "Flatten",
    "GELU", "Layer", "LeakyReLU", "MaxPooling", "ReLU", "Sigmoid", "Softmax",
]  # fmt: skip
