"""Ledgers: what is read is what was stored, and parts that differ are not joined."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aframe.artifacts import ledger as ledger_module
from aframe.artifacts.ledger import (
    METADATA,
    Ledger,
    merge_ledgers,
    read_ledger,
    read_metadata,
    write_ledger,
)
from aframe.errors import AframeError

GPS = 1_126_259_462.423456


def _ledger(rows=7, seed=0, **metadata):
    rng = np.random.default_rng(seed)
    return Ledger(
        parameters={
            "mass_1": rng.uniform(5, 100, rows),
            "injection_time": GPS + np.arange(rows) * 24.0,
            "shift": np.tile([0.0, 1.0], (rows, 1)),
            "index": np.arange(rows),
        },
        waveforms={"h1": rng.normal(0, 1e-22, (rows, 16)), "l1": rng.normal(0, 1e-22, (rows, 16))},
        metadata={"sample_rate": 2048.0, "ifos": ["H1", "L1"], "num_injections": 20, **metadata},
    )


@pytest.fixture
def path(tmp_path):
    """Write one ledger of seven rows."""
    write_ledger(tmp_path / "ledger.hdf5", _ledger())
    return tmp_path / "ledger.hdf5"


def _assert_rows(found, wanted):
    for name, table in {**wanted.parameters, **wanted.waveforms}.items():
        got = {**found.parameters, **found.waveforms}[name]
        np.testing.assert_allclose(got, table, rtol=1e-7 if name != "injection_time" else 0)


def test_reading_gives_what_was_written(path):
    """Floats are float32 but for GPS times, which float32 would round to 64 s."""
    found = read_ledger(path)

    assert len(found) == 7
    _assert_rows(found, _ledger())
    assert found.parameters["mass_1"].dtype == np.float32
    assert found.parameters["injection_time"].dtype == np.float64
    assert found.parameters["index"].dtype == np.int64
    assert found.waveforms["h1"].dtype == np.float32


def test_the_layout_is_that_of_the_older_tool(path):
    """Root attributes, and the groups parameters and waveforms."""
    with h5py.File(path) as file:
        assert set(file) == {"parameters", "waveforms"}
        assert set(file["waveforms"]) == {"h1", "l1"}
        assert file.attrs["length"] == 7
        assert file.attrs["schema_version"] == 1
        assert list(file.attrs["ifos"]) == ["H1", "L1"]


def test_reads_the_older_tools_files(tmp_path):
    """Without schema_version, in float64, with chunks and no waveforms group."""
    with h5py.File(tmp_path / "old.hdf5", "w") as file:
        file.attrs.update(length=3, Tb=100.0)
        masses = [30.0, 40.0, 1 / 3]
        file.create_dataset("parameters/mass_1", data=masses, chunks=(1,))

    found = read_ledger(tmp_path / "old.hdf5")

    assert found.parameters["mass_1"].dtype == np.float64
    assert found.parameters["mass_1"].tolist() == masses
    assert found.waveforms == {}
    assert found.metadata["Tb"] == 100.0


def test_metadata_without_rows(path, monkeypatch):
    """Known fields that the file lacks are None, so that asking for one never fails."""
    for way in ("__getitem__", "read_direct", "astype"):
        monkeypatch.setattr(h5py.Dataset, way, None)

    found = read_metadata(path)

    assert found["length"] == 7
    assert found["ifos"] == ["H1", "L1"]
    assert found["right_pad"] is None
    assert set(found) == {*METADATA, "length"}


def test_none_is_kept_by_leaving_it_out(tmp_path):
    """What is None when it is written is None when it is read."""
    write_ledger(tmp_path / "x.hdf5", _ledger(prior=None))

    with h5py.File(tmp_path / "x.hdf5") as file:
        assert "prior" not in file.attrs
    assert read_ledger(tmp_path / "x.hdf5").metadata["prior"] is None


def test_fields_are_read_alone(path):
    """None means all, () none of that kind."""
    found = read_ledger(path, parameters=["mass_1"], waveforms=())

    assert list(found.parameters) == ["mass_1"]
    assert found.waveforms == {}
    assert len(read_ledger(path, parameters=(), waveforms=["l1"])) == 7


ROWS = st.one_of(
    st.slices(7).filter(lambda rows: rows.step is None or rows.step > 0),
    st.lists(st.integers(-7, 6), max_size=12).map(lambda rows: np.array(rows, dtype=int)),
    st.lists(st.booleans(), min_size=7, max_size=7).map(np.array),
)


@given(ROWS)
def test_any_rows_are_those_of_the_whole(tmp_path_factory, rows):
    """Slices, masks and indices in any order, repeated or from the end, are numpy's."""
    path = tmp_path_factory.mktemp("ledger") / "x.hdf5"
    write_ledger(path, _ledger())

    found = read_ledger(path, rows=rows)

    _assert_rows(found, _ledger()[rows])
    assert found.waveforms["h1"].shape == _ledger()[rows].waveforms["h1"].shape


def test_an_empty_ledger_keeps_its_shapes(tmp_path):
    """No event is still a shift for each detector."""
    write_ledger(tmp_path / "none.hdf5", _ledger(rows=0))

    found = read_ledger(tmp_path / "none.hdf5")

    assert len(found) == 0
    assert found.parameters["shift"].shape == (0, 2)
    assert len(Ledger()) == 0


@pytest.mark.parametrize("block", [1, 200, 2**25], ids=["a row", "some rows", "all at once"])
def test_merging_is_joining_the_rows(tmp_path, monkeypatch, block):
    """In the order of the paths, whatever the size of a block; counts add up."""
    monkeypatch.setattr(ledger_module, "_BLOCK_BYTES", block)
    parts = [_ledger(rows, seed=rows, Tb=100.0) for rows in (0, 5, 1, 0, 9)]
    paths = [tmp_path / f"{index}.hdf5" for index in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        write_ledger(path, part)

    merge_ledgers(paths, tmp_path / "all.hdf5")

    found = read_ledger(tmp_path / "all.hdf5")
    for group in ("parameters", "waveforms"):
        for name in getattr(parts[0], group):
            whole = np.concatenate([getattr(read_ledger(path), group)[name] for path in paths])
            np.testing.assert_array_equal(getattr(found, group)[name], whole)
    assert len(found) == 15
    assert found.metadata["num_injections"] == 100
    assert found.metadata["Tb"] == 500.0
    assert found.metadata["ifos"] == ["H1", "L1"]


def test_merging_one_block_never_holds_the_whole(tmp_path, monkeypatch):
    """No read is larger than a block."""
    monkeypatch.setattr(ledger_module, "_BLOCK_BYTES", 16 * 4 * 10)
    write_ledger(tmp_path / "a.hdf5", _ledger(1000))
    sizes = []
    read = h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset,
        "__getitem__",
        lambda self, rows: sizes.append((table := read(self, rows)).nbytes) or table,
    )

    merge_ledgers([tmp_path / "a.hdf5"] * 2, tmp_path / "all.hdf5")

    assert max(sizes) <= 16 * 4 * 10


def test_float64_parts_become_float32(tmp_path):
    """The older tool's ledgers merge into ours, their times unrounded."""
    with h5py.File(tmp_path / "old.hdf5", "w") as file:
        file.attrs["length"] = 2
        file["parameters/mass_1"] = [1.5, 2.5]
        file["parameters/injection_time"] = [GPS, GPS + 1]

    merge_ledgers([tmp_path / "old.hdf5"], tmp_path / "new.hdf5")

    found = read_ledger(tmp_path / "new.hdf5").parameters
    assert found["mass_1"].dtype == np.float32
    assert found["injection_time"].tolist() == [GPS, GPS + 1]


def test_merging_the_same_gives_the_same_bytes(tmp_path, path):
    """A merge holds no time or order of its own."""
    for name in ("a", "b"):
        merge_ledgers([path, path], tmp_path / name)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def _without(group, name):
    ledger = _ledger()
    del getattr(ledger, group)[name]
    return ledger


def _wider():
    ledger = _ledger()
    ledger.waveforms = {name: np.zeros((7, 20)) for name in ledger.waveforms}
    return ledger


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (_ledger(sample_rate=4096.0), r"sample_rate 4096.0 \(against 2048.0\)"),
        (_ledger(ifos=["L1", "H1"]), r"ifos \['L1', 'H1'\] \(against \['H1', 'L1'\]\)"),
        (_ledger(prior="end_o3_ratesandpops"), r"prior end_o3_ratesandpops \(against None\)"),
        (_ledger(num_injections=None), r"num_injections False \(against True\)"),
        (_without("parameters", "mass_1"), r"parameters/mass_1 None \(against \(\)\)"),
        (_wider(), r"waveforms/h1 \(20,\) \(against \(16,\)\)"),
    ],
    ids=["rate", "detectors", "prior", "count", "field", "shape"],
)
def test_refuses_to_merge_what_differs(tmp_path, path, other, message):
    """Parts of other runs are named with what differs, and nothing is written."""
    write_ledger(tmp_path / "other.hdf5", other)

    with pytest.raises(AframeError, match=message):
        merge_ledgers([path, tmp_path / "other.hdf5"], tmp_path / "all.hdf5")

    assert not (tmp_path / "all.hdf5").exists()


def test_refuses_to_merge_nothing(tmp_path):
    """No part is no ledger, rather than an empty one."""
    with pytest.raises(AframeError, match="there is nothing to merge"):
        merge_ledgers([], tmp_path / "all.hdf5")


def test_refuses_lengths_that_differ_in_memory():
    """A row without its waveform would shift all after it."""
    with pytest.raises(AframeError, match=r"in memory: mass_1 3, h1 2"):
        Ledger({"mass_1": np.zeros(3)}, {"h1": np.zeros((2, 4))})


def test_refuses_lengths_that_differ_in_a_file(path):
    """Also the attribute must agree."""
    with h5py.File(path, "a") as file:
        file.attrs["length"] = 8

    for read in (read_ledger, read_metadata):
        with pytest.raises(AframeError, match=r"length 8, index 7"):
            read(path)


@pytest.mark.parametrize("group", ["parameters", "waveforms"])
def test_refuses_a_field_it_lacks(path, group):
    """The fields that are there are named."""
    with pytest.raises(AframeError, match=rf"no v1 among its {group} \(.*\)"):
        read_ledger(path, **{group: ["v1"]})


def test_refuses_a_file_of_another_kind(tmp_path):
    """Strain is no ledger."""
    with h5py.File(tmp_path / "strain.hdf5", "w") as file:
        file["H1"] = np.zeros(3)

    with pytest.raises(AframeError, match="a ledger cannot be read"):
        read_ledger(tmp_path / "strain.hdf5")
