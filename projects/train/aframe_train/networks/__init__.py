"""Networks that score whitened kernels, a module each."""

from aframe_train.networks.resnet import ResNet, Stem
from aframe_train.networks.transformed import MultiModal, Transformed

__all__ = ["MultiModal", "ResNet", "Stem", "Transformed"]
