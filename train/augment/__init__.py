"""What a model sees of a picture: random views for training, the plain one for judging; whole batches, on CPU or GPU alike."""

from train.augment.batch import Batch, padded
from train.augment.views import Views

__all__ = ["Batch", "Views", "padded"]
