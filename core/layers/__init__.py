"""The layers a network is built of.

One file a layer; the same name in tests/layers/ and, but for whitening and scale, in layers_explained/. Beside
them kernel_gradient.py, the way back through a convolution.

The legend, here once: N images in a batch, H and W rows and columns, Cin and Cout channels in
and out, kh and kw rows and columns of a kernel, s stride, K classes. Images are [N,H,W,C].
"""

from core.layers.activation import GELU, ReLU
from core.layers.convolution import Convolution
from core.layers.dense import Dense
from core.layers.dropout import Dropout
from core.layers.flatten import Flatten
from core.layers.layer import Layer
from core.layers.normalization import BatchNormalization
from core.layers.pooling import AveragePooling, MaxPooling
from core.layers.scale import Scale
from core.layers.softmax import Softmax
from core.layers.whitening import Whitening

__all__ = [
    "AveragePooling", "BatchNormalization", "Convolution", "Dense", "Dropout", "Flatten",
    "GELU", "Layer", "MaxPooling", "ReLU", "Scale", "Softmax", "Whitening",
]  # fmt: skip
