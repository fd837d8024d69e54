"""Networks that score whitened kernels, a module each."""

from aframe_train.networks.autoencoder import CoherentAutoencoder
from aframe_train.networks.resnet import ResNet, Stem
from aframe_train.networks.s4 import S4
from aframe_train.networks.sweep import Sweep
from aframe_train.networks.transformed import MultiModal, Transformed
from aframe_train.networks.wavenet import WaveNet
from aframe_train.networks.xylophone import Xylophone

__all__ = [
    "S4",
    "CoherentAutoencoder",
    "MultiModal",
    "ResNet",
    "Stem",
    "Sweep",
    "Transformed",
    "WaveNet",
    "Xylophone",
]
