"""What law would trip over or overlook in a `.cfg` is refused in our words."""

import os
import subprocess
import sys

import pytest

from aframe import cfg
from aframe.errors import AframeError

#: A broken file; problem, found, where, fix.
BROKEN = {
    "key twice": (
        "[luigi_base]\nhighpass = 32\nhighpass = 30\n",
        "a key stands twice in its section",
        "highpass again in line 3",
        "[luigi_base] of {file}",
        "leave one of the two",
    ),
    "section twice": (
        "[luigi_base]\na = 1\n[luigi_base]\nb = 1\n",
        "a section stands twice in a configuration file",
        "[luigi_base] again in line 3",
        "{file}",
        "move its keys to where it stands first",
    ),
    "no section": (
        "highpass = 32\n",
        "a configuration file cannot be read",
        "File contains no section headers. file: '{file}', line: 1 'highpass = 32\\n'",
        "{file}",
        "write [section] lines, and key = value below them",
    ),
    "no value": (
        "[luigi_base]\nhighpass 32\n",
        "a line is no key = value",
        "'highpass 32'",
        "[luigi_base] of {file}",
        "write key = value, or begin the line with # to make it a comment",
    ),
    "percent": (
        "[luigi_SandboxReport]\ntitle = 100 %\n",
        "a value holds a percent sign that begins no name",
        "title = 100 %",
        "[luigi_SandboxReport] of {file}",
        "write the value without %",
    ),
    "two percent": (
        "[luigi_SandboxReport]\ntitle = 100 %%\n",
        "a value holds a percent sign that begins no name",
        "title = 100 %%",
        "[luigi_SandboxReport] of {file}",
        "write the value without %",
    ),
    "percent outside of luigi": (
        "[logging]\nlevel = %d\n",
        "a value holds a percent sign that begins no name",
        "level = %d",
        "[logging] of {file}",
        "write the value without %",
    ),
    "indented key": (
        "[luigi_A]\na = H1,L1\n\tb = 2\n",
        "a line that begins with a space or tab goes on with the value above it",
        "b = … below a",
        "[luigi_A] of {file}",
        "begin the line of b without a space",
    ),
    "byte order mark": (
        "\ufeff[luigi_A]\na = 1\n",
        "a configuration file begins with a byte order mark",
        "the bytes EF BB BF, which some editors of Windows write",
        "{file}",
        "save it as UTF-8 without BOM",
    ),
    "reference to no section": (
        "[luigi_base]\nhighpass = 32\n[luigi_Train]\nhighpass = &::luigi_bse::highpass\n",
        "a reference leads to nothing",
        "&::luigi_bse::highpass, but there is no highpass in [luigi_bse]",
        "highpass in [luigi_Train] of {file}",
        "refer to a key of this file or of those it names; did you mean &::luigi_base::highpass?",
    ),
    "reference to no key": (
        "[luigi_base]\nhighpass = &::x\n",
        "a reference leads to nothing",
        "&::x, but there is no x in [luigi_base]",
        "highpass in [luigi_base] of {file}",
        "refer to a key of this file or of those it names",
    ),
    "reference by way of another": (
        "[luigi_A]\na = &::b\nb = &::c\n",
        "a reference leads to nothing",
        "&::c, but there is no c in [luigi_A]",
        "b in [luigi_A] of {file}",
        "refer to a key of this file or of those it names; did you mean",
    ),
    "references in a circle": (
        "[luigi_A]\na = &::b\nb = &::luigi_A::a\n",
        "references run in a circle",
        "a in [luigi_A] -> b in [luigi_A] -> a in [luigi_A]",
        "b in [luigi_A] of {file}",
        "give one a value",
    ),
    "inherits from nothing": (
        "[core]\ninherit = nowhere.cfg\n",
        "a configuration cannot be taken from another file",
        "{folder}/nowhere.cfg is no file",
        "inherit in [core] of {file}",
        "correct the path, which is relative to this file",
    ),
    "inherits from itself": (
        "[core]\nextend = some.cfg\n",
        "a configuration cannot be taken from another file",
        "{file} is this file or above it",
        "extend in [core] of {file}",
        "correct the path, which is relative to this file",
    ),
}  # fmt: skip


@pytest.fixture
def file(tmp_path):
    """Where the configuration stands."""
    return tmp_path / "some.cfg"


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused(file, case):
    """With the section and file that are wrong, and what would be right."""
    text, problem, found, where, fix = BROKEN[case]
    file.write_text(text)
    with pytest.raises(AframeError) as caught:
        cfg.refuse_broken(str(file))

    assert caught.value.problem == problem
    assert caught.value.found == found.format(file=file, folder=file.parent)
    assert caught.value.wanted_by == where.format(file=file)
    assert caught.value.fix.startswith(fix)


def test_what_is_no_text_is_refused(file):
    """Somebody's HDF5 file is no configuration."""
    file.write_bytes(b"\x89HDF\xff")

    with pytest.raises(AframeError, match="a configuration file cannot be read"):
        cfg.refuse_broken(str(file))


def test_what_law_understands_is_let_through(file, monkeypatch):
    """References, names in %()s, keys without value where law takes them, files of others."""
    (file.parent / "base.cfg").write_text("[luigi_base]\nmine = 5\nother = &::mine\n")
    (file.parent / "more.cfg").write_text("[luigi_more]\nkey = &::own\nown = 3\n")
    monkeypatch.setenv("HERE", str(file.parent))
    file.write_text(
        "[core]\ninherit = $HERE/base.cfg, base.cfg\nextend = more.cfg\n[modules]\naframe.tasks\n"
        "[logging]\nformat = %%d\n[luigi_A]\na = &::b\nb = &::luigi_base::other\nc = %(a)s\nd =\n"
        "e = A == 1\n  B =?= 2\n"
        "[luigi_base]\nmine = 4\n"
    )
    cfg.refuse_broken("$HERE/some.cfg")

    keys = [("luigi_A", "a"), ("luigi_A", "c"), ("luigi_base", "other"), ("luigi_more", "key")]
    read = f"import law; print([law.config.get_expanded(*key) for key in {keys}])"
    done = subprocess.run(
        [sys.executable, "-c", read],
        env={**os.environ, "LAW_CONFIG_FILE": str(file)},
        cwd=file.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "['4', '4', '4', '3']\n", done.stderr


OF_SEVERAL_FILES = {
    "inherited alone": (
        "[luigi_more]\nkey = &::luigi_base::mine\n",
        "[luigi_base]\nmine = 3\n",
        "a reference leads to nothing",
    ),
    "both together": (
        "[luigi_base]\nmine = &::other\nother = 4\n",
        "[luigi_base]\nother = &::mine\n",
        "references run in a circle",
    ),
}


@pytest.mark.parametrize("case", OF_SEVERAL_FILES)
def test_references_hold_in_each_file_and_in_the_whole(file, case):
    """Law, which follows them in both, has a traceback for either."""
    inherited, own, problem = OF_SEVERAL_FILES[case]
    (file.parent / "base.cfg").write_text(inherited)
    file.write_text(f"[core]\ninherit = base.cfg\n{own}")

    with pytest.raises(AframeError, match=problem):
        cfg.refuse_broken(str(file))


def test_a_fault_of_an_inherited_file_is_that_files(file):
    """The file to mend is named, not the one that inherits."""
    base = file.parent / "base.cfg"
    base.write_text("[luigi_base]\na = &::b\n")
    file.write_text("[core]\ninherit = base.cfg\n")

    with pytest.raises(AframeError, match="a reference leads to nothing") as caught:
        cfg.refuse_broken(str(file))
    assert caught.value.wanted_by == f"a in [luigi_base] of {base}"


def test_a_file_that_is_missing(file):
    """Law would take nothing for it."""
    with pytest.raises(AframeError, match="the configuration file is missing") as caught:
        cfg.refuse_broken(str(file))
    assert caught.value.found == f"{file} is no file"


def test_the_program(file):
    """Status 2 and our form of an error for a broken file, nothing for one that is whole."""

    def check():
        return subprocess.run(
            [sys.executable, "-P", "-m", "aframe.cfg", file],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    file.write_text("[luigi_base]\na = 1\n")
    whole = check()
    file.write_text("[luigi_base]\na\n")
    broken = check()

    assert (whole.returncode, whole.stdout, whole.stderr) == (0, "", "")
    assert broken.returncode == 2
    assert broken.stderr.splitlines() == [
        "ERROR: a line is no key = value",
        "  found      'a'",
        f"  wanted by  [luigi_base] of {file}",
        "  fix        write key = value, or begin the line with # to make it a comment",
    ]
