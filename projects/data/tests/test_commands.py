"""Query and fetch as a user types them, of every kind of source, over the real clients."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from gwpy.timeseries import TimeSeries, TimeSeriesDict
from loopback import OpenData, frame_finder, segment_database
from nds2_client import Client
from scipy.signal import resample_poly

from aframe.artifacts.ledger import read_ledger
from aframe.artifacts.record import read_record
from aframe.artifacts.segments import read_segments
from aframe.artifacts.strain import list_strain, read_strain
from aframe_data import cli

#: Begin of the real strain (GPS s), of 32 s.
G = 1_126_259_446
IFOS = ("H1", "L1")
README = Path(__file__).parents[1] / "README.md"
SECTION = README.read_text().split("## Sources")[1].split("\n## ")[0]
EXAMPLES = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", SECTION, re.DOTALL)]
LINES = re.findall(r"^\$ (aframe-data .*)", SECTION, re.MULTILINE)


@pytest.fixture
def type_in(monkeypatch, tmp_path):
    """Run a line as it stands, in a directory of its own; its exit status."""
    monkeypatch.chdir(tmp_path)

    def run(line):
        monkeypatch.setattr("sys.argv", shlex.split(line))
        return cli.main()

    return run


@pytest.fixture
def gwosc(enter, no_waiting, real_strain):
    """The real strain as of the run O1, all of it good."""
    flags = ("DATA", "CBC_CAT2", "NO_CBC_HW_INJ")
    data = OpenData(
        runs={"O1": (G - 1000, G + 1000)},
        files={"O1": real_strain},
        segments={f"{ifo}_{flag}": [(G, G + 32)] for ifo in IFOS for flag in flags},
    )
    return enter(data.server())


def write_frames(directory, real_strain):
    """The real strain as frames; their paths by frame type."""
    directory.mkdir()
    found = {}
    for path in real_strain:
        series = TimeSeries.read(path, format="hdf5.gwosc")
        ifo = path.name[2:4]
        frame = directory / f"{ifo[0]}-{ifo}_HOFT_C00-{G}-32.gwf"
        series.name = f"{ifo}:GDS-CALIB_STRAIN"
        TimeSeriesDict({series.name: series}).write(frame, format="gwf")
        found[f"{ifo}_HOFT_C00"] = [frame]
    return found


class TestReadme:
    """What it says works as it stands."""

    @pytest.fixture
    def world(self, tmp_path, enter, gwosc, real_strain, monkeypatch):
        """All that the examples speak of: servers in the clients' own variables, and files."""
        frames = write_frames(tmp_path / "frames", real_strain)
        ready = {f"{ifo}:DMT-ANALYSIS_READY": {1: [(G + 2, G + 30)]} for ifo in IFOS}
        monkeypatch.setattr("gwosc.api.DEFAULT_URL", gwosc.url)
        monkeypatch.setenv("GWDATAFIND_SERVER", enter(frame_finder(frames)).url)
        monkeypatch.setenv("DEFAULT_SEGMENT_SERVER", enter(segment_database(ready)).url)
        channels = {f"{ifo}:GDS-CALIB_STRAIN": np.sin(np.arange(32.0 * 2048)) for ifo in IFOS}
        monkeypatch.setitem(sys.modules, "nds2", Client(channels, start=G, sample_rate=2048))
        (tmp_path / "strain").mkdir()
        for path in real_strain:
            (tmp_path / "strain" / path.name).symlink_to(path)

    def test_has_an_example_of_each_kind(self):
        """None is left out."""
        kinds = [example["source"]["kind"] for example in EXAMPLES]

        assert kinds == ["gwosc", "datafind", "nds2", "files", "simulated"]
        assert len(LINES) == 2

    def test_a_population_of_one_s_own_runs(self, type_in, monkeypatch, tmp_path):
        """Waveforms of the masses that the example's module names."""
        code, line = re.search(
            r"^\$ cat mine\.py\n(.*?)^\$ PYTHONPATH=\. (.*?)$",
            README.read_text(),
            re.DOTALL | re.MULTILINE,
        ).groups()
        (tmp_path / "mine.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "mine", raising=False)

        assert type_in(line) == 0

        drawn = read_ledger(tmp_path / "run" / "training_waveforms.hdf5").parameters
        assert drawn["mass_1"].size == 100
        assert (drawn["mass_1"] > 50 * (1 + drawn["redshift"])).all()

    @pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one["source"]["kind"])
    def test_examples_run(self, world, type_in, example):
        """Segments and strain of both detectors."""
        Path("source.json").write_text(json.dumps(example))

        assert [type_in(line) for line in LINES] == [0, 0]

        cut = 2 if example["source"]["kind"] == "datafind" else 0
        assert read_segments(Path("run/segments.txt")) == [(G + cut, G + 32 - cut)]
        (file,) = list_strain(Path("run/background"), IFOS)
        strain = read_strain(file, IFOS)
        assert strain.shape == (2, (32 - 2 * cut) * 1024)
        assert (strain.std(axis=1) > 0).all()


def write_source(server, **more):
    """A file of settings for H1 and L1 of open data."""
    source = {"kind": "gwosc", "gwosc_server": server.url, **more}
    Path("source.json").write_text(json.dumps({"source": source, "ifos": ["H1", "L1"]}))


QUERY = f"aframe-data query --config source.json --start {G} --stop {G + 32} --output run"
FETCH = (
    "aframe-data fetch --config source.json --sample_rate 4096 "
    "--inputs.segments run/segments.txt --output run"
)


def fetched(ifo):
    """All strain of a detector that was fetched."""
    files = list_strain(Path("run/background"), [ifo])
    return np.concatenate([read_strain(file, [ifo])[0] for file in files])


class TestOpenData:
    """GWOSC's protocol, in good days and bad."""

    def test_is_what_gwpy_fetches(self, type_in, gwosc):
        """To the bit, where nothing is resampled."""
        write_source(gwosc)

        assert [type_in(QUERY), type_in(FETCH)] == [0, 0]

        for ifo in IFOS:
            theirs = TimeSeries.fetch_open_data(ifo, G, G + 32, host=gwosc.url)
            assert (fetched(ifo) == theirs.value.astype("f4")).all()

    def test_files_of_16_kilohertz(self, type_in, enter, no_waiting, real_strain, write_gwosc):
        """Give the strain of 4 kHz back that they were made of."""
        files = []
        for path in real_strain:
            with h5py.File(path) as file:
                strain = file["strain/Strain"][()]
            finer = resample_poly(strain, 4, 1)
            files.append(
                write_gwosc(finer, ifo=path.name[2:4], start=G, rate=16384, tag="LOSC_16_V2")
            )
        data = {f"{ifo}_DATA": [(G, G + 32)] for ifo in IFOS}
        both = OpenData({"O1": (G, G + 32)}, files={"O1": [*real_strain, *files]}, segments=data)
        server = enter(both.server())
        write_source(server, sample_rate=16384)

        assert [type_in(QUERY), type_in(FETCH)] == [0, 0]

        assert server.times("/files/.*_16_") == 2
        assert server.times("/files/.*_4_") == 0
        with h5py.File(real_strain[0]) as file:
            wanted = file["strain/Strain"][()]
        # Seismic noise would hide all else: compare differences, in the passband of both filters.
        theirs, ours = (np.diff(one)[4096:-4096] for one in (wanted, fetched("H1")))
        spectra = [np.fft.rfft(one * np.hanning(one.size)) for one in (theirs, ours)]
        passed = int(0.8 * len(spectra[0]))
        error = np.linalg.norm((spectra[0] - spectra[1])[:passed])
        assert error < 5e-3 * np.linalg.norm(spectra[0][:passed])

    @pytest.mark.parametrize("trouble", [503, "slow", "cut", "spoiled", "dropped"])
    def test_troubles_that_pass(self, type_in, gwosc, monkeypatch, trouble):
        """In every kind of answer, they are survived."""
        monkeypatch.setattr("aframe_data.downloads.TIMEOUT", 2.0 if trouble == "slow" else 60.0)
        write_source(gwosc)
        pages = ["timelines", "runs$", "strain-files"] if trouble != "spoiled" else []
        gwosc.troubles = [(page, trouble) for page in pages]
        # A slow page is waited for, a file that does not come asked for again.
        gwosc.troubles += [("/files/.*H1", "stalled" if trouble == "slow" else trouble)]

        assert [type_in(QUERY), type_in(FETCH)] == [0, 0]

        assert gwosc.troubles == []
        assert gwosc.times("/files/.*H1") == 2
        assert fetched("H1").size == 32 * 4096

    def test_a_trouble_for_ever(self, type_in, gwosc, capsys):
        """Ends with what to do; the same command goes on with what is there whole."""
        write_source(gwosc)
        gwosc.troubles = [("/files/.*L1", 503)] * 12
        downloads = Path("run/.draft-fetch/.work/downloads")
        assert type_in(QUERY) == 0

        assert type_in(FETCH) == 2
        assert "a server does not answer as it should" in capsys.readouterr().err
        (downloads / ".H-H1_TEST.hdf5.1").write_text("what a killed download leaves")
        assert type_in(FETCH) == 2
        assert [path.name for path in downloads.iterdir()] == [f"H-H1_LOSC_4_V2-{G}-32.hdf5"]
        assert not Path("run/background").exists()
        assert type_in(FETCH) == 0
        assert gwosc.times("/files/.*H1") == 1

    def test_killed_in_a_download(self, type_in, gwosc):
        """The next run takes what came whole, and asks for the rest."""
        write_source(gwosc)
        assert type_in(QUERY) == 0
        gwosc.troubles = [("/files/.*L1", "stalled")]
        command = [sys.executable, "-c", "from aframe_data import cli; cli.main()"]
        with subprocess.Popen(command + shlex.split(FETCH)[1:], stderr=subprocess.PIPE) as killed:
            # However long that takes on a busy machine.
            end = time.monotonic() + 600
            while not (came := gwosc.times("/files/.*L1")) and killed.poll() is None:
                if time.monotonic() > end:
                    break
                time.sleep(0.01)
            killed.send_signal(signal.SIGKILL)
        assert came, "the second file was not asked for"
        assert killed.returncode == -signal.SIGKILL
        work = Path("run/.draft-fetch/.work/downloads")
        assert [path.name for path in work.glob("[!.]*")] == [f"H-H1_LOSC_4_V2-{G}-32.hdf5"]

        assert type_in(FETCH) == 0

        assert gwosc.times("/files/.*H1") == 1
        assert gwosc.times("/files/.*L1") == 2

    def test_gaps(self, type_in, enter, no_waiting, write_gwosc, capsys):
        """Of a flag, of the files, and of the strain where nothing says so."""
        strain = np.random.default_rng(0).normal(size=(2, 8 * 4096))
        strain[1, 5 * 4096] = np.nan
        files = [
            write_gwosc(one, ifo=ifo, start=start, tag="LOSC_4_V1")
            for start, one in ((G, strain[0]), (G + 16, strain[0]), (G + 24, strain[1]))
            for ifo in IFOS
        ]
        segments = {"H1_DATA": [(G, G + 19), (G + 20, G + 32)], "L1_DATA": [(G + 3, G + 32)]}
        data = OpenData({"O1": (G, G + 32)}, files={"O1": files}, segments=segments)
        write_source(enter(data.server()))

        assert type_in(QUERY) == 0
        found = read_segments(Path("run/segments.txt"))
        assert found == [(G + 3, G + 8), (G + 16, G + 19), (G + 20, G + 32)]
        assert read_record(Path("run/query.record.json")).notes["livetime"] == 20
        assert type_in(FETCH) == 2
        said = capsys.readouterr().err
        assert "strain is missing" in said
        assert f"1 of 49152 samples of H1 from {G + 20} to {G + 32}" in said
        # What it says helps: a file's own samples tell what its flags do not.
        assert "aframe-data query --remake" in said
        source = {"kind": "files", "paths": [str(file) for file in files]}
        Path("source.json").write_text(json.dumps({"source": source, "ifos": ["H1", "L1"]}))
        Path("run/segments.txt").unlink()
        assert [type_in(f"{QUERY} --remake"), type_in(FETCH)] == [0, 0]
        found = read_segments(Path("run/segments.txt"))
        assert found == [(G, G + 8), (G + 16, G + 29), (G + 30, G + 32)]

    def test_downloads_are_dropped_as_pieces_are_done(
        self, type_in, enter, no_waiting, write_gwosc
    ):
        """Two pieces that share a file download it once."""
        files = [
            write_gwosc(np.ones(8 * 4096), ifo=ifo, start=start, tag="LOSC_4_V1")
            for start in (G, G + 8, G + 16)
            for ifo in IFOS
        ]
        data = {f"{ifo}_DATA": [(G, G + 24)] for ifo in IFOS}
        server = enter(OpenData({"O1": (G, G + 32)}, files={"O1": files}, segments=data).server())
        write_source(server)
        left = []
        server.routes = {
            "(/files/.*)": lambda path: left.append(sorted(_downloads())) or _file(files, path),
            **server.routes,
        }

        assert [type_in(QUERY), type_in(FETCH + " --max_duration 12")] == [0, 0]

        assert server.times("/files") == 6
        # When the second piece begins, only the files in the middle are kept.
        assert left[4] == [f"H-H1_LOSC_4_V1-{G + 8}-8.hdf5", f"L-L1_LOSC_4_V1-{G + 8}-8.hdf5"]
        assert not Path("run/.draft-fetch").exists()

    def test_a_dataset_needs_no_span(self, type_in, enter, no_waiting, real_strain, capsys):
        """That of an event, from the catalogue."""
        data = OpenData(
            events={"GW150914-v3": G + 16.4},
            files={"GW150914-v3": real_strain},
            segments={f"{ifo}_DATA": [(G - 5000, G + 5000)] for ifo in IFOS},
        )
        write_source(enter(data.server()), dataset="GW150914-v3")

        assert type_in("aframe-data query --config source.json --output run") == 0
        assert type_in(FETCH) == 0

        assert read_segments(Path("run/segments.txt")) == [(G, G + 32)]
        assert fetched("L1").size == 32 * 4096
        late = f"aframe-data query --config source.json --start {G + 32} --output late"
        assert type_in(late) == 2
        assert "the dataset has nothing of the span" in capsys.readouterr().err

    def test_what_is_wrong_is_said_before_any_request(self, type_in, gwosc, capsys):
        """A flag of another detector, and a rate that no file has."""
        write_source(gwosc, flags=["V1:A:1"])
        assert type_in(QUERY) == 2
        write_source(gwosc, sample_rate=8192)
        assert type_in(QUERY) == 2

        said = capsys.readouterr().err
        assert "the flags do not fit the detectors" in said
        assert "GWOSC has no such files" in said
        assert gwosc.asked == []


def _downloads():
    return [path.name for path in Path("run/.draft-fetch/.work/downloads").glob("[!.]*")]


def _file(files, path):
    return next(one for one in files if one.name == Path(path).name)


def test_local_files_where_a_flag_is_active(type_in, gwosc, real_strain):
    """What the files hold, and what the servers say."""
    Path("strain").mkdir()
    for path in real_strain:
        (Path("strain") / path.name).symlink_to(path)
    source = {"kind": "files", "paths": ["strain/*"], "flags": ["DATA"], "gwosc_server": gwosc.url}
    Path("source.json").write_text(json.dumps({"source": source, "ifos": ["H1", "L1"]}))

    assert type_in(QUERY.replace(f"--stop {G + 32}", f"--stop {G + 20}")) == 0

    assert read_segments(Path("run/segments.txt")) == [(G, G + 20)]
