"""Networks that score whitened kernels, a module each."""

from aframe_train.networks.resnet import ResNet, Stem

__all__ = ["ResNet", "Stem"]
