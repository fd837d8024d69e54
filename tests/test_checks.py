"""What planning and the stages refuse alike: the edge between what is refused and what is not."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aframe import checks
from aframe.errors import AframeError
from aframe.transforms.whitening import Whitener

STREAM = {
    "sample_rate": 2048.0,
    "kernel_length": 1.5,
    "fduration": 1.0,
    "psd_length": 64.0,
    "inference_sampling_rate": 4.0,
    "batch_size": 128,
}
WINDOWS = {
    "inference_sampling_rate": 4.0,
    "integration_window_length": 1.5,
    "cluster_window_length": 8.0,
}


def _refused(check, *given, match, **named):
    with pytest.raises(AframeError, match=match) as caught:
        check(*given, **named, wanted_by="the test")
    assert caught.value.wanted_by == "the test"
    return caught.value


@given(st.floats(1, 1e4), st.floats(0.01, 2), st.floats(0.01, 2))
def test_a_band_lies_below_nyquist_and_ascends(rate, low, high):
    """It is refused exactly when it does not."""
    highpass, lowpass = low * rate / 2, high * rate / 2

    if highpass < lowpass < rate / 2:
        checks.refuse_band(rate, highpass=highpass, lowpass=lowpass, wanted_by="the test")
    else:
        match = r"Nyquist|the band is empty"
        _refused(checks.refuse_band, rate, highpass=highpass, lowpass=lowpass, match=match)


@pytest.mark.parametrize(("highpass", "lowpass"), [(None, None), (1023.9, None), (None, 1023.9)])
def test_an_open_edge_is_no_fault(highpass, lowpass):
    """Either may be, or both."""
    checks.refuse_band(2048.0, highpass=highpass, lowpass=lowpass, wanted_by="the test")


@pytest.mark.parametrize(
    ("highpass", "lowpass", "problem"),
    [
        (1024.0, None, "highpass is not between zero and the Nyquist frequency"),
        (None, 1024.0, "lowpass is not between zero and the Nyquist frequency"),
        (0.0, None, "highpass is not between zero and the Nyquist frequency"),
        (float("nan"), None, "highpass nan Hz with sample_rate 2048 Hz"),
        (100.0, 100.0, "the band is empty"),
    ],
)
def test_no_band(highpass, lowpass, problem):
    """Zero and the Nyquist frequency are no edges."""
    _refused(checks.refuse_band, 2048.0, highpass=highpass, lowpass=lowpass, match=problem)


def test_a_lowpass_at_nyquist_cuts_nothing():
    """What ``None`` says already, so that one meaning has one spelling."""
    torch.manual_seed(0)
    strain = torch.randn(1, 1, 1024)
    open_, cut = Whitener(256.0, 1.0, 1.0, 20.0), Whitener(256.0, 1.0, 1.0, 20.0, 128.0)
    psd = open_.psd(strain)

    torch.testing.assert_close(cut(strain, psd), open_(strain, psd), rtol=0, atol=0)


def test_the_published_stream():
    """Kernels of 1.5 s at 4 Hz, 128 in a block."""
    checks.refuse_fractions(**STREAM, wanted_by="the test")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"inference_sampling_rate": 3}, "sample_rate / inference_sampling_rate is 682.66666"),
        ({"inference_sampling_rate": 0}, "sample_rate / inference_sampling_rate is inf"),
        ({"kernel_length": 1.3333}, "kernel_length * sample_rate is 2730.598"),
        ({"fduration": 0.0004}, "fduration / 2 * sample_rate is 0.4096"),
        ({"psd_length": 0}, "psd_length * sample_rate is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        # One sample less in the whitening, which truncates.
        ({"sample_rate": 100.0, "fduration": 0.58}, "fduration / 2 * sample_rate is 28.9999999"),
    ],
)
def test_no_stream(change, found):
    """Each length that does not come out whole is named."""
    match = "a length is no whole number of samples"
    error = _refused(checks.refuse_fractions, **{**STREAM, **change}, match=match)

    assert error.found.startswith(found)


def test_a_psd_of_one_segment():
    """Just enough, and a little less."""
    checks.refuse_short_psd(2.5, 2.5, wanted_by="the test")
    match = "shorter than one Welch segment"
    error = _refused(checks.refuse_short_psd, 2.0, 2.5, match=match)

    assert error.found == "psd_length 2 s, fftlength 2.5 s"


@pytest.mark.parametrize(
    ("shifts", "rate"), [((0.0, 1.0), 4.0), ((0.25, 0.0), 4.0), ((0.0, 0.7), 10.0)]
)
def test_shifts_of_whole_strides(shifts, rate):
    """Rounding in the product is no fraction of a stride."""
    checks.refuse_shifts(shifts, ("H1", "L1"), rate, wanted_by="the test")


@pytest.mark.parametrize("shifts", [(0.0, 0.3), (0.0, -1.0)])
def test_shifts_between_strides(shifts):
    """A slide pairs kernels by their index."""
    match = "a shift is no whole number of strides"
    _refused(checks.refuse_shifts, shifts, ("H1", "L1"), 4.0, match=match)


def test_a_shift_for_each_detector():
    """Three detectors need three shifts."""
    match = r"the shifts do not fit the detectors\n +found +2 shifts for 3 detectors"
    _refused(checks.refuse_shifts, (0.0, 1.0), ("H1", "L1", "V1"), 4.0, match=match)


@pytest.mark.parametrize("change", [{}, {"cluster_window_length": 0.5}])
def test_windows_over_scores(change):
    """Two scores can be clustered."""
    checks.refuse_windows(**{**WINDOWS, **change}, wanted_by="the test")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"integration_window_length": 0.0}, "integration_window_length 0 s"),
        ({"cluster_window_length": 0.49}, "cluster_window_length 0.49 s"),
        ({"inference_sampling_rate": 0.0}, "cluster_window_length 8 s"),
    ],
)
def test_no_windows(change, found):
    """One score is no cluster."""
    match = "the windows over scores are too short"
    error = _refused(checks.refuse_windows, **{**WINDOWS, **change}, match=match)

    assert found in error.found


LEAD = {
    "kernel_length": 1.5,
    "fduration": 1.0,
    "psd_length": 4.0,
    "inference_sampling_rate": 4.0,
    "integration_window_length": 1.5,
}


@pytest.mark.parametrize(
    "change", [{}, {"psd_length": 2.5, "integration_window_length": 0.2}, {"psd_length": 64.0}]
)
def test_averages_within_the_strain(change):
    """Kernel, filter and the strides of the average just fit."""
    checks.refuse_late_average(**{**LEAD, **change}, wanted_by="the test")


@pytest.mark.parametrize(
    "change",
    [{"psd_length": 3.75}, {"psd_length": 3.9}, {"kernel_length": 1.75, "fduration": 0.875}],
)
def test_averages_beyond_the_strain(change):
    """What lacks is named, in whole strides."""
    match = "the first average of scores would begin before the strain"
    error = _refused(checks.refuse_late_average, **{**LEAD, **change}, match=match)

    needed = 4 if "psd_length" in change else 4.25
    assert error.fix.startswith(f"choose a psd_length of {needed:g} s or more")
