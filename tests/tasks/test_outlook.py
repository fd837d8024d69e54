"""What `--print-status` and `--print-deps` say of each step, through law itself."""


def test_print_status_tells_what_each_step_would_do(finished):
    """After law's own tree, one line a step: what, and why."""
    (finished.directory / "results/plots/sensitive_volume.h5").unlink()
    shown = finished.law("--print-status", "0").stdout

    assert "\ndone     SandboxPAstro\n" in shown
    assert "\nruns     SandboxSV: lost: sensitive_volume.h5\n" in shown
    assert "\nwaits    SandboxReport: rests on SandboxSV, which is to run first\n" in shown


def test_print_deps_tells_it_too(empty):
    """In a directory where nothing has run."""
    shown = empty.law("--print-deps", "0")

    assert shown.returncode == 0, shown.stderr
    assert "\nruns     Query:data/train: absent\n" in shown.stdout
