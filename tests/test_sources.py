"""What a source of strain must name."""

import pytest

from aframe.errors import AframeError
from aframe.sources import refuse_rate, refuse_source, refuse_span

PSDS = {"H1": "aLIGOO3LowT1800545", "L1": "/data/l1.txt"}
FIT = [
    {"kind": "simulated", "psds": PSDS},
    {"kind": "files", "paths": ["/data/*.gwf"], "flags": ["H1:A:1", "L1:B"]},
    {"kind": "gwosc"},
    {"kind": "gwosc", "sample_rate": 16384, "flags": ["CBC_CAT2", "H1:A:1"]},
    {"kind": "datafind", "frametypes": {"H1": "H1_HOFT_C00", "L1": "L1_HOFT_C00"}},
    {"kind": "nds2", "channels": {"H1": "H1:GDS-CALIB_STRAIN", "L1": "L1:GDS-CALIB_STRAIN"}},
]


@pytest.mark.parametrize("source", FIT, ids=lambda source: source["kind"])
def test_sources_that_fit(source):
    """Each kind with what it needs; more than one detector's curve does no harm."""
    refuse_source(source, ("H1", "L1"), wanted_by="a test")
    if not any(flag.startswith("L1") for flag in source.get("flags", ())):
        refuse_source(source, ("H1",), wanted_by="a test")


@pytest.mark.parametrize(
    ("source", "problem", "fix"),
    [
        (
            {"kind": "simulated", "psds": {"H1": "a"}},
            "a detector has no noise curve",
            "add to the source's psds: L1",
        ),
        (
            {"kind": "datafind", "frametypes": {}},
            "a detector has no frame type",
            "add to the source's frametypes: H1, L1",
        ),
        (
            {"kind": "nds2", "channels": {"L1": "L1:X"}},
            "a detector has no channel",
            "add to the source's channels: H1",
        ),
        ({"kind": "files", "paths": []}, "a source of files names none", "give it paths"),
        ({"kind": "gwosc", "sample_rate": 2048}, "GWOSC has no such files", "4096, 16384"),
        (
            {"kind": "gwosc", "flag": "DATA"},
            "a source of kind gwosc does not take flag",
            "did you mean flags? it takes sample_rate, dataset, flags",
        ),
        (
            {"kind": "gwosc", "flags": "DATA"},
            "a source's flags must be a list of texts",
            'write "flags": ["DATA"]',
        ),
        (
            {"kind": "files", "paths": [{"H1": "/data/*.gwf"}]},
            "a source's paths must be a list of texts",
            'write "paths": ["…"]',
        ),
        (
            {"kind": "files", "paths": ["/data/*.gwf", "s3://bucket/*.gwf"]},
            "the files of a source lie on another machine",
            "copy them here",
        ),
        (
            {"kind": "nds2", "channels": ["H1:X", "L1:X"]},
            "a source's channels must be a text for each detector",
            'write "channels": {"H1": "…"}',
        ),
        (
            {"kind": "gwosc", "sample_rate": "16384"},
            "a source's sample_rate must be a number",
            'write "sample_rate": 4096',
        ),
        (
            {"kind": "gwosc", "dataset": 3},
            "a source's dataset must be a text",
            'write "dataset": "…"',
        ),
        (
            {"kind": "datafind", "frametypes": {"H1": "A", "L1": "A"}, "urltype": "gsiftp"},
            "a source's urltype must be one of file, https, http",
            'write "urltype": "file"',
        ),
        (
            {"kind": "Gwosc"},
            "a source of strain has no kind that is known",
            "did you mean gwosc? give it whole",
        ),
        (
            {"flags": ["DATA"]},
            "a source of strain has no kind that is known",
            "the kinds are simulated, files, gwosc",
        ),
        ("gwosc", "a source of strain has no kind that is known", '{"kind": "gwosc"}'),
        (
            {"kind": "gwosc", "flags": ["H1:A:1", "V1:A:1"]},
            "the flags do not fit the detectors",
            "take out V1:A:1",
        ),
        (
            {"kind": "gwosc", "flags": ["H1:A:1", "H1:B:1"]},
            "the flags do not fit the detectors",
            "add a flag of L1, or one of GWOSC's for all",
        ),
    ],
)
def test_sources_that_do_not(source, problem, fix):
    """The message names what is missing, or too much."""
    with pytest.raises(AframeError, match=problem) as caught:
        refuse_source(source, ("H1", "L1"), wanted_by="a test")

    assert fix in caught.value.fix
    assert caught.value.wanted_by == "a test"


@pytest.mark.parametrize(
    "source", [{"kind": "files"}, {"kind": "gwosc", "dataset": "O3a"}], ids=["files", "dataset"]
)
def test_sources_with_a_span_of_their_own(source):
    """All of it, or a part."""
    for start, stop in ((None, None), (5.0, None), (None, 5.0), (5.0, 6.0)):
        refuse_span(source, start, stop, wanted_by="a test")
    with pytest.raises(AframeError, match="the span of strain is empty"):
        refuse_span(source, 5.0, 5.0, wanted_by="a test")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (FIT[0], "simulated strain needs a span"),
        (FIT[1], "flagged strain needs a span"),
        (FIT[2], "gwosc strain needs a span"),
        (FIT[4], "datafind strain needs a span"),
        (FIT[5], "nds2 strain needs a span"),
    ],
    ids=lambda given: given if isinstance(given, str) else given["kind"],
)
def test_sources_without(source, problem):
    """Both ends, finite."""
    refuse_span(source, 5.0, 6.0, wanted_by="a test")
    for start, stop in ((None, None), (5.0, None), (None, 6.0), (5.0, float("inf"))):
        with pytest.raises(AframeError, match=problem):
            refuse_span(source, start, stop, wanted_by="a test")


def test_open_data_sampled_too_low():
    """Of other kinds, only the files tell."""
    for source in (FIT[0], FIT[1], FIT[2], FIT[3]):
        refuse_rate(source, 4096.0, wanted_by="a test")
    refuse_rate(FIT[3], 16384.0, wanted_by="a test")
    with pytest.raises(AframeError, match=r"sampled lower than asked[\s\S]*16384"):
        refuse_rate(FIT[2], 4097.0, wanted_by="a test")
