"""What the parameters alone tell: the edge between what is refused and what is not."""

from types import SimpleNamespace

import pytest

from aframe.errors import AframeError
from aframe.tasks import checks

DAY = SimpleNamespace(start=0.0, stop=86400.0)
SEARCH = {
    "ifos": ("H1", "L1"),
    "sample_rate": 2048.0,
    "kernel_length": 1.5,
    "fduration": 1.0,
    "fftlength": None,
    "highpass": 32.0,
    "lowpass": None,
    "inference_sampling_rate": 4.0,
    "batch_size": 128,
    "psd_length": 64.0,
    "shifts": (0.0, 1.0),
    "integration_window_length": 1.5,
    "cluster_window_length": 8.0,
}
SIMULATED = {"kind": "simulated", "psds": {"H1": "a", "L1": "b"}}


def _task(**parameters):
    return SimpleNamespace(task_family="Infer", **parameters)


def _refused(check, *given, match):
    with pytest.raises(AframeError, match=match) as caught:
        check(*given)
    return caught.value


@pytest.mark.parametrize(
    ("check", "change", "problem"),
    [
        (checks.refuse_band, {"lowpass": 1024.0}, "lowpass is not between zero and the Nyquist"),
        (checks.refuse_stream, {"batch_size": 0}, "no whole number of samples"),
        (checks.refuse_stream, {"psd_length": 2.0}, "shorter than one Welch segment"),
        (checks.refuse_stream, {"fftlength": 65.0}, "shorter than one Welch segment"),
        (checks.refuse_shifts, {"shifts": (0.0,)}, "the shifts do not fit the detectors"),
        (checks.refuse_late_average, {"psd_length": 3.75}, "first average of scores would begin"),
        (checks.refuse_windows, {"cluster_window_length": 0.25}, "windows over scores"),
    ],
)
def test_what_the_stages_refuse_too(check, change, problem):
    """The parameters reach the check, and the error says where the task has them from."""
    check(_task(**SEARCH))
    error = _refused(check, _task(**{**SEARCH, **change}), match=problem)

    assert error.wanted_by == "Infer ([luigi_Infer] or [luigi_base] of the .cfg)"


def test_a_psd_of_one_segment():
    """A segment is as long as a kernel and its filter, unless another length is given."""
    checks.refuse_stream(_task(**{**SEARCH, "psd_length": 2.5}))
    checks.refuse_stream(_task(**{**SEARCH, "psd_length": 2.0, "fftlength": 2.0}))


def _streaming(**changes):
    values = {"inference_sampling_rate": 4.0, "batch_size": 128, "psd_length": 64.0, **changes}
    return SimpleNamespace(task_family="Export", streaming=lambda: values)


def test_one_stream_for_export_and_inference():
    """What inference would refuse once the network is trained and exported."""
    checks.refuse_other_stream(_streaming(), _streaming())
    match = "the network would be exported for another stream"
    changed = _streaming(batch_size=4, psd_length=8.0)
    error = _refused(checks.refuse_other_stream, changed, _streaming(), match=match)

    assert error.found == "batch_size 4 (Export has 128), psd_length 8 (Export has 64)"


def test_a_coalescence_at_the_edge():
    """The coalescence lies in the waveform, not at its start."""
    checks.refuse_window(_task(right_pad=7.9, waveform_duration=8.0))
    task = _task(right_pad=8.0, waveform_duration=8.0)
    _refused(checks.refuse_window, task, match="the coalescence lies outside the waveform")


def test_sources():
    """Each detector needs its noise curve; more curves than detectors do no harm."""
    checks.refuse_source(_task(source=SIMULATED, ifos=("H1",)))
    checks.refuse_source(_task(source={"kind": "files", "paths": ["/data/*"]}, ifos=("V1",)))
    task = _task(source=SIMULATED, ifos=("H1", "V1", "K1"))
    error = _refused(checks.refuse_source, task, match="a detector has no noise curve")

    assert error.fix == "add to the source's psds: V1, K1"


@pytest.mark.parametrize("source", [{"kind": "files"}, {"kind": "files", "paths": []}])
def test_a_source_of_no_files(source):
    """Paths are what such a source is made of."""
    task = _task(source=source, ifos=("H1",))
    _refused(checks.refuse_source, task, match="a source of files names none")


def test_open_data_sampled_too_low():
    """The files of 16 kHz would do."""
    checks.refuse_low_rate(_task(source={"kind": "gwosc"}, sample_rate=4096.0))
    task = _task(source={"kind": "gwosc"}, sample_rate=8192.0)
    error = _refused(checks.refuse_low_rate, task, match="strain is sampled lower than asked")

    assert '"sample_rate": 16384' in error.fix


def test_spans():
    """Files may be taken whole; simulated strain needs both ends."""
    checks.refuse_span(_task(source={"kind": "files"}, start=None, stop=None))
    checks.refuse_span(_task(source=SIMULATED, start=0.0, stop=1.0, min_duration=1.0))
    short = _task(source=SIMULATED, start=0.0, stop=17.0, min_duration=128.0)
    error = _refused(checks.refuse_span, short, match="shorter than the shortest segment to keep")
    assert error.found == "start 0, stop 17: 17 s; min_duration 128 s"
    half = _task(source=SIMULATED, start=0.0, stop=None)
    _refused(checks.refuse_span, half, match="simulated strain needs a span")
    empty = _task(source={"kind": "files"}, start=1.0, stop=1.0)
    _refused(checks.refuse_span, empty, match="the span of strain is empty")


def test_livetime_of_a_span():
    """A day slides to 86336 * 86335 / 2 s with steps of a second and 64 s for the PSD."""
    most = 86336 * 86335 / 2
    checks.refuse_livetime(_task(shifts=(0.0, 1.0), psd_length=64.0, Tb=most), DAY)
    task = _task(shifts=(0.0, 1.0), psd_length=64.0, Tb=most + 1)
    _refused(checks.refuse_livetime, task, DAY, match="too short for the livetime asked for")


def test_injections_of_a_span():
    """Slots of 10 s in 100 s, of which each further slide has a second less."""
    strain = SimpleNamespace(start=0.0, stop=100.0)
    layout = {"spacing": 2.0, "waveform_duration": 8.0, "buffer": 5.0, "psd_length": 10.0}
    fits = sum(max(0, -((19 - (100 - k - 9)) // 10)) for k in range(1, 100))
    checks.refuse_few_slots(_task(shifts=(0.0, 1.0), num_signals=fits, **layout), strain)
    task = _task(shifts=(0.0, 1.0), num_signals=fits + 1, **layout)
    _refused(checks.refuse_few_slots, task, strain, match="too short for the injections asked for")


def test_what_files_hold_is_not_known_before():
    """Without a span, nothing is refused that the files might have room for."""
    unknown = SimpleNamespace(start=None, stop=None)

    checks.refuse_livetime(_task(shifts=(0.0, 1.0), psd_length=64.0, Tb=1e12), unknown)


INJECTIONS = {"psd_length": 64.0, "buffer": 16.0, "waveform_duration": 8.0, "jitter": 0.1}


@pytest.mark.parametrize(
    ("change", "psd_length"), [({}, 83.9), ({"jitter": 20.0}, 64.0), ({"jitter": 20.0}, 8.0)]
)
def test_injections_where_something_is_searched(change, psd_length):
    """A shorter PSD of the search never hurts, a longer one takes from the buffer."""
    injections = SimpleNamespace(task_family="TestingWaveforms", **{**INJECTIONS, **change})
    checks.refuse_stray_injections(_task(psd_length=psd_length), injections)


@pytest.mark.parametrize(("change", "psd_length"), [({}, 84.0), ({"jitter": 20.1}, 8.0)])
def test_injections_where_nothing_is_searched(change, psd_length):
    """They would count as missed though nobody looked."""
    injections = SimpleNamespace(task_family="TestingWaveforms", **{**INJECTIONS, **change})
    match = "injections would lie where nothing is searched"
    error = _refused(
        checks.refuse_stray_injections, _task(psd_length=psd_length), injections, match=match
    )

    assert error.fix.startswith(f"set psd_length = {psd_length:g} in [luigi_TestingWaveforms]")
