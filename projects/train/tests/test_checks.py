"""What is refused before any work."""

import pytest

from aframe.errors import AframeError
from aframe_train.checks import refuse_impossible

GOOD = {
    "ifos": ["H1", "L1"],
    "sample_rate": 1024.0,
    "kernel_length": 1.5,
    "fduration": 1.0,
    "fftlength": None,
    "highpass": 32.0,
    "lowpass": None,
}


@pytest.mark.parametrize("change", [{}, {"lowpass": 511.0}, {"highpass": None}, {"ifos": ["V1"]}])
def test_takes_what_is_possible(change):
    """A band almost up to Nyquist, none at all, and a single detector."""
    refuse_impossible(**{**GOOD, **change})


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"kernel_length": 0.0}, "kernel_length 0"),
        ({"fftlength": -1.0}, "fftlength -1"),
        ({"ifos": ["H1", "H1"]}, "['H1', 'H1']"),
        ({"ifos": []}, "ifos []"),
    ],
)
def test_refuses_the_impossible(change, found):
    """Each with the value that is wrong."""
    with pytest.raises(AframeError, match="preprocessing is impossible") as error:
        refuse_impossible(**{**GOOD, **change})

    assert found in error.value.found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"highpass": 0.0}, "highpass is not between zero and the Nyquist"),
        ({"lowpass": 512.0}, r"lowpass 512 Hz with sample_rate 1024 Hz\n +wanted by +whitening"),
        ({"highpass": 100.0, "lowpass": 90.0}, "the band is empty"),
    ],
)
def test_refuses_a_band_that_is_none(change, message):
    """As planning and the other stages do."""
    with pytest.raises(AframeError, match=message):
        refuse_impossible(**{**GOOD, **change})
