"""Settings that cannot be meant are refused as soon as they are read."""

import pytest

from aframe.errors import AframeError
from aframe_infer.settings import InferResources


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shifts": (0, 0.3)}, r"shifts \[0, 0.3\] s at 4 kernels(.|\n)*whole multiples"),
        ({"shifts": (0, -1)}, "not negative"),
        ({"shifts": (0, 1, 2)}, "3 shifts for 2 detectors"),
        ({"shifts": (1, 1)}, "the shifts make no time slides"),
        ({"integration_window_length": 0}, "integration_window_length 0 s"),
        ({"cluster_window_length": 0.25}, "cluster_window_length 0.25 s"),
        ({"Tb": 0}, "Tb 0 s"),
        ({"known_events": ("GW190521",)}, "an event cannot be placed in time(.|\n)*'GW190521'"),
        ({"known_events_half_width": 0}, "known_events_half_width 0 s"),
        ({"resources": InferResources(server_timeout=0)}, "server_timeout 0 s"),
    ],
)
def test_refuses_settings_that_contradict_themselves(changed, change, message):
    """As soon as they are read."""
    with pytest.raises(AframeError, match=message):
        changed(**change)
