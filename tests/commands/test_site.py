"""Sites: which is chosen, what it says of each step, and what comes before it."""

import pytest

from aframe import site
from aframe.errors import AframeError
from aframe.tasks import Infer, StageTask

NAMES = ("laptop", "gpu", "igwn", "ospool")


def _append(run, text):
    with (run.directory / "sandbox.cfg").open("a") as file:
        file.write(text)


def test_the_sites_that_are_shipped(empty):
    """All that the documentation names, each with its keys."""
    status, out, _ = empty.aframe("site", "list", "--site", "gpu")

    assert status == 0
    assert all(f"\n{name}" in f"\n{out}" for name in NAMES)
    assert "gpu  (chosen)\n  workflow = local\n  gpus = 0\n" in out


def test_a_site_says_only_what_is_a_parameter():
    """Each key is known to some step, so that none is overlooked."""
    known = {name for task in (StageTask, Infer) for name, _ in task.get_params()}

    assert {key.rpartition(".")[2] for keys in site.sites().values() for key in keys} <= known
    assert set(site.KEYS) <= known


def test_a_step_asks_its_site(empty):
    """After its own section and the command line, before [luigi_base]; a stage's key first."""
    empty.set("luigi_base", "request_cpus", "2")
    empty.set("luigi_SandboxSV", "request_cpus", "7")
    lab = "workflow = htcondor\nrequest_cpus = 3\ntrain.request_cpus = 5\nprocesses = 4\n"
    _append(empty, f"\n[site_lab]\n{lab}")
    words = ("site", "show", "--site", "lab")
    _, out, _ = empty.aframe(*words)
    _, typed, _ = empty.aframe(*words, "--SandboxInfer-request-cpus", "9")
    _, none, _ = empty.aframe("site", "show")

    def cores(text, name):
        line = next(line for line in text.splitlines() if line.startswith(f"{name} "))
        return line[line.index("; ") + 2 :].partition(",")[0]

    assert out.startswith("site lab\n")
    assert cores(out, "FetchTest") == "3 cores"
    assert cores(out, "Train") == "5 cores"
    assert cores(out, "SandboxSV") == "7 cores"
    assert (cores(out, "SandboxInfer"), cores(typed, "SandboxInfer")) == ("3 cores", "9 cores")
    assert none.startswith("site (none chosen")
    assert cores(typed, "Query:data/test") == "3 cores"


def test_what_would_be_submitted(empty, monkeypatch):
    """The description that HTCondor gets, of the shipped sites with a pool."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "secret")
    monkeypatch.delenv("LIGO_GROUP", raising=False)
    words = ("site", "show", "Train", "--Train-forward", "AWS_ACCESS_*,NOSUCH")
    _, igwn, _ = empty.aframe(*words, "--site", "igwn")
    _, ospool, _ = empty.aframe(*words, "--site", "ospool")

    assert "# Train: htcondor, shared disk; 4 cores, 1 GPU, 32 GB memory, 4 GB disk a job" in igwn
    assert "; no accounting_group, which some pools want; " in igwn
    _, charged, _ = empty.aframe(*words, "--site", "igwn", "--Train-accounting-group", "ligo.dev")
    assert "; charged to ligo.dev; " in charged
    assert "\nrequest_gpus = 1\n" in igwn
    assert "\nshould_transfer_files = NO\n" in igwn
    assert "\nuse_oauth_services = scitokens\n" in igwn
    forwarded = "# forwarded: AWS_ACCESS_* (AWS_ACCESS_KEY_ID)\n# forwarded: NOSUCH (none is set)\n"
    assert forwarded in igwn
    assert "secret" not in igwn
    assert "\nshould_transfer_files = YES\n" in ospool
    assert "(HAS_SINGULARITY =?= True)" in ospool
    assert not (empty.directory / "condor").exists()


def test_a_section_of_the_run_changes_keys_of_a_shipped_site(empty):
    """The others stay."""
    _append(empty, "\n[site_gpu]\nprocesses = 4\n")
    _, out, _ = empty.aframe("site", "list")

    assert "\ngpu\n  workflow = local\n  gpus = 0\n  processes = 4\n" in out


def test_a_site_of_the_configuration(empty):
    """`site` in [luigi_base] chooses it without a word on the command line."""
    empty.set("luigi_base", "site", "gpu")

    assert empty.aframe("site", "show")[1].startswith("site gpu\n")


def test_a_site_that_is_not_there(empty):
    """The nearest is offered, and how to make one."""
    status, _, err = empty.aframe("plan", "--site", "iwgn")

    assert status == 2
    assert "there is no such site\n  found      iwgn\n  wanted by  --site, or site in" in err
    assert "did you mean igwn?" in err
    assert "[site_iwgn]" in err


@pytest.mark.parametrize("key", ["highpass", "training.request_gpus", "request_mem", "train.gpus"])
def test_a_key_that_is_no_business_of_a_site(empty, key):
    """Physics, a stage that there is not, a name mistyped, what is of all steps alike."""
    _append(empty, f"\n[site_lab]\n{key} = 1\n")
    status, _, err = empty.aframe("plan", "--site", "lab")

    assert status == 2
    assert "a site says what is none of its business" in err
    assert f"found      {key} in [site_lab]\n  wanted by  {empty.directory}/sandbox.cfg\n" in err


def test_a_site_that_is_not_chosen_is_read_too(empty):
    """Who chooses it tomorrow, on the pool, has no use for a slip that is found there."""
    _append(empty, "\n[site_lab]\nrequest_mem = 1\n")
    status, _, err = empty.aframe("plan")

    assert status == 2
    assert "found      request_mem in [site_lab]\n" in err


def test_a_value_that_cannot_be_used(empty):
    """It is told as the site's."""
    _append(empty, "\n[site_lab]\nrequest_cpus = many\n")
    status, _, err = empty.aframe("plan", "--site", "lab")

    assert status == 2
    assert "a parameter cannot be used" in err
    assert "request_cpus = 'many'" in err
    assert "wanted by  request_cpus in [site_lab]\n" in err


def test_what_one_step_would_start(empty):
    """With the folder of its output."""
    _, out, _ = empty.aframe("site", "show", "Train", "--gpus", "1")

    assert out.startswith("# Train: local, ")
    assert "GPU 1; no image\n" in out
    assert f"# output {empty.directory}/training\n" in out


def test_without_a_configuration_there_are_the_shipped_sites(monkeypatch):
    """As for a task that is built in Python."""
    monkeypatch.delenv("LAW_CONFIG_FILE", raising=False)

    assert set(site.sites()) == set(NAMES)
    assert site.chosen() is None
    with pytest.raises(AframeError, match="there is no such site"):
        site.profile("nowhere")
