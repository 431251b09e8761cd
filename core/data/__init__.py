"""The data: cifar10 and shapes10, the data set they become, batches of it, and augmentation."""

from core.data.data_set import DataError, DataSet
from core.data.loading import load

__all__ = ["DataError", "DataSet", "load"]
