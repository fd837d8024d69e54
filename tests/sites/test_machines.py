"""What the machines of a pool offer."""

import sys
from types import SimpleNamespace

import pytest

from aframe.errors import AframeError
from aframe.sites import machines, queue
from aframe.sites.machines import Offer
from aframe.sites.requests import Request

AD = {"TotalSlotMemory": 2048, "TotalSlotDisk": 4194304.0, "TotalSlotCpus": 4}


def test_the_most_of_each():
    """Of several machines, none of which need have all of it."""
    large, gpu = Offer(8192, 1024, 8, 0), Offer(2048, 4096, 1, 1)

    assert str(machines.most([large, gpu])) == "8 GB memory, 4 GB disk, 8 cores, 1 GPU"
    assert not any(each.holds(machines.asked(Request(4096, 1024, 1, 1))) for each in (large, gpu))
    assert gpu.holds(machines.asked(Request(2048, 4096, 1, 1)))


def test_the_bindings_are_asked_where_they_serve(monkeypatch):
    """HTCondor counts disk in KiB; what a slot does not tell of it has none of.

    Names are the same in whatever case.
    """

    class Unreachable(Exception):  # noqa: N818 - stands for one of HTCondor's
        pass

    def query(kind, _constraint, projection):
        assert kind == "startd"
        slot = {name: AD[name] for name in projection if name in AD}
        return [slot, {**slot, "TotalSlotGpus": 2}]

    def refuse(*_, **__):
        raise Unreachable("no\ncollector")

    collector = SimpleNamespace(query=query)
    library = SimpleNamespace(
        Collector=lambda: collector,
        AdType=SimpleNamespace(Startd="startd"),
        HTCondorException=Unreachable,
    )
    monkeypatch.setitem(sys.modules, "htcondor2", library)
    monkeypatch.setattr(queue, "_bindings_serve", lambda: True)

    assert machines.offers(1.0) == [Offer(2048.0, 4096.0, 4.0, gpus) for gpus in (0.0, 2.0)]
    collector.query = refuse
    with pytest.raises(queue.SchedulerUnreachableError, match="no collector"):
        machines.offers(1.0)


@pytest.mark.parametrize(
    ("requirements", "asked"),
    [
        ("TARGET.Memory > 4 && target.X", 'SlotType =!= "Dynamic" && (Memory > 4 && X)'),
        ('TARGET.Site == "x"', 'SlotType =!= "Dynamic" && (Site == "x")'),
        ("Memory > RequestMemory", None),
        ("MY.AframeAttempt > 1", None),
    ],
)
def test_requirements_are_asked_of_machines(monkeypatch, requirements, asked):
    """Where they depend on no job: of a machine alone there is no `TARGET`."""
    seen = []

    def run(*words, patience):
        seen.append((words[2], patience))
        return "[{}, {}]"

    monkeypatch.setattr(queue, "_bindings_serve", lambda: False)
    monkeypatch.setattr(queue, "refuse_missing", lambda: None)
    monkeypatch.setattr(queue, "_run", run)

    assert machines.fitting(requirements, 3.0) == (2 if asked else None)
    assert seen == ([(asked, 3.0)] if asked else [])


@pytest.mark.parametrize(
    ("requirements", "asked"),
    [
        ("", "true"),
        ('TARGET.Site == "x"', 'Site == "x"'),
        ("Memory > RequestMemory", "true"),
        ("TARGET.Memory > 4000", "true"),
        ("TARGET.TotalMemory > 4000", "TotalMemory > 4000"),
        ('TARGET.Activity == "Idle"', "true"),
        ("GLIDEIN_ToDie - time() > 3600", "true"),
    ],
)
def test_machines_that_a_job_may_go_to(requirements, asked):
    """Those that its requirements allow for good: who is busy now may be free later."""
    seen = []

    class Pool:
        """Tells of two machines."""

        def slots(self, requirements, patience=None):
            """Two, the one larger."""
            seen.append(requirements)
            return [{"Machine": "a", "TotalSlotMemory": 5}, {"Machine": "b", "TotalSlotMemory": 7}]

    assert machines.names(Pool(), requirements) == {"a", "b"}
    assert machines.largest(Pool(), requirements).memory == 7
    assert seen == [asked, asked]


def test_of_requirements_that_no_machine_meets_all_count():
    """They may name what the job has, in a way that does not show."""

    class Pool:
        """Knows no owner of a machine."""

        def slots(self, requirements="true", patience=None):
            """One, whose owner nobody is."""
            return [] if "Owner" in requirements else [{"Machine": "a", "TotalSlotMemory": 5}]

    assert machines.names(Pool(), 'Owner == "me"') == {"a"}
    assert machines.largest(Pool(), 'Owner == "me"').memory == 5


@pytest.mark.parametrize(
    "error",
    [
        queue.SchedulerUnreachableError("no collector"),
        AframeError("no condor_status", found="nothing", wanted_by="x", fix="y"),
    ],
)
def test_a_pool_that_does_not_tell_is_not_known(error):
    """A run goes on without: nobody there, or no program to ask with."""

    class Pool:
        """Refuses."""

        def slots(self, *_, **__):
            """Whatever is asked."""
            raise error

    assert machines.names(Pool(), "") == set()
    assert machines.largest(Pool(), "") is None
