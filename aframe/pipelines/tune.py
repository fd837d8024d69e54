"""The search end to end with the best of many trainings: :class:`Tune`."""

from aframe.pipelines.sandbox import Tune

__all__ = ["Tune"]
