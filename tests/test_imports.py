"""Imports point the way that docs/architecture.md draws, also those inside functions."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
STAGES = ("data", "train", "export", "infer", "sv")
LIGHT = ("law", "luigi")
#: Modules that know what a stage is made of, and must not know that tasks exist.
ORCHESTRATION = (
    *("aframe.tasks*", "aframe.pipelines*", "aframe.stages", "aframe.targets"),
    *("aframe.paths", "aframe.parameters", "aframe.cfg", "aframe.cli", "aframe.sites*"),
    "aframe.commands*",
)
SHARED = (
    *("aframe.errors", "aframe.checks", "aframe.program", "aframe.artifacts*"),
    *("aframe.branches", "aframe.draft", "aframe.processes", "aframe.usage"),
)

#: Files on S3, each importing those before it; and what planning sees of them.
ON_S3 = ("store", "remote", "inventory", "cache", "claim", "mirror")
LOOKING = tuple(f"aframe.artifacts.{name}" for name in ("record", "remote", "inventory"))


class Rule(NamedTuple):
    """What the modules of one row may import: patterns of ours, and packages of others.

    ``None`` for *others* allows all that are declared, but for law and luigi.
    """

    modules: tuple[str, ...]
    ours: tuple[str, ...]
    others: tuple[str, ...] | None


#: The first row that fits a module holds for it.
RULES = (
    Rule(("aframe", "aframe.errors", "aframe.usage"), (), ()),
    Rule(("aframe.paths",), ("aframe.errors",), ()),
    Rule(
        ("aframe.draft",),
        ("aframe.usage", "aframe.artifacts.record", "aframe.artifacts.mirror"),
        (),
    ),
    Rule(
        ("aframe.branches",),
        (
            *("aframe.errors", "aframe.draft", "aframe.processes", "aframe.usage"),
            "aframe.artifacts.record",
        ),
        (),
    ),
    Rule(
        (
            *("aframe.checks", "aframe.processes", "aframe.sources", "aframe.streams"),
            "aframe.artifacts.record",
        ),
        ("aframe.errors",),
        (),
    ),
    Rule(
        ("aframe.artifacts.segments", "aframe.artifacts.preprocessing"),
        ("aframe.errors", "aframe.artifacts.record"),
        (),
    ),
    Rule(
        tuple(f"aframe.artifacts.{name}" for name in ON_S3),
        ("aframe.errors", "aframe.artifacts.record", *(f"aframe.artifacts.{e}" for e in ON_S3)),
        ("boto3", "botocore"),
    ),
    Rule(
        ("aframe.artifacts", "aframe.artifacts.*"),
        ("aframe.errors", "aframe.artifacts.*"),
        ("numpy", "h5py", "jaxtyping"),
    ),
    Rule(("aframe.cfg",), ("aframe.errors",), ()),
    Rule(("aframe.site",), ("aframe.errors", "aframe.cfg", "aframe.checkout"), ("luigi",)),
    Rule(
        ("aframe.commands", "aframe.commands.*"),
        (
            *("aframe.errors", "aframe.failures", "aframe.cfg", "aframe.cli", "aframe.report"),
            *("aframe.site", "aframe.images", "aframe.checkout", "aframe.parameters"),
            "aframe.usage",
            *("aframe.tasks*", "aframe.sites*", "aframe.commands*", "aframe.artifacts.segments"),
            *(f"aframe.artifacts.{name}" for name in ("record", "remote", "inventory")),
        ),
        LIGHT,
    ),
    Rule(("aframe.failures",), ("aframe.errors", "aframe.artifacts.record"), ()),
    Rule(("aframe.checkout",), ("aframe.errors",), ()),
    Rule(("aframe.images",), ("aframe.errors", "aframe.checkout"), ()),
    Rule(
        ("aframe.containers",),
        tuple(f"aframe.{name}" for name in ("errors", "failures", "checkout", "images", "cli")),
        (),
    ),
    Rule(
        ("aframe.program",),
        (
            *("aframe.errors", "aframe.branches", "aframe.checkout", "aframe.draft"),
            "aframe.usage",
            *(f"aframe.artifacts.{name}" for name in ("record", "remote", "cache", "mirror")),
        ),
        ("jsonargparse",),
    ),
    Rule(
        ("aframe.priors",),
        ("aframe.errors",),
        ("numpy", "scipy", "bilby", "astropy", "jaxtyping"),
    ),
    Rule(
        ("aframe.transforms", "aframe.transforms.*"),
        ("aframe.errors", "aframe.checks", "aframe.transforms.*"),
        ("torch", "ml4gw", "jaxtyping"),
    ),
    Rule(
        ("aframe.cli",), ("aframe", "aframe.errors", "aframe.paths", "aframe.artifacts.record"), ()
    ),
    Rule(
        ("aframe.report",),
        (
            *("aframe.errors", "aframe.cli", "aframe.stages"),
            *LOOKING,
        ),
        (),
    ),
    Rule(
        ("aframe.stages", "aframe.parameters", "aframe.targets"),
        (
            *("aframe.errors", "aframe.failures", "aframe.paths", "aframe.site", "aframe.sources"),
            *("aframe.checkout", "aframe.images", "aframe.streams"),
            *LOOKING,
        ),
        LIGHT,
    ),
    Rule(
        ("aframe.sites", "aframe.sites.*"),
        (
            *("aframe.errors", "aframe.failures", "aframe.branches", "aframe.usage"),
            *("aframe.checkout", "aframe.images", "aframe.processes", "aframe.stages"),
            "aframe.sites*",
            *LOOKING,
        ),
        ("htcondor2", "classad2"),
    ),
    Rule(
        ("aframe.tasks", "aframe.tasks.*"),
        (
            *("aframe.errors", "aframe.checks", "aframe.paths", "aframe.parameters"),
            *("aframe.failures", "aframe.site", "aframe.sources"),
            *("aframe.tasks*", "aframe.sites.*", "aframe.stages", "aframe.targets"),
            *("aframe.checkout", "aframe.images"),
            *("aframe.artifacts.segments", "aframe.cfg"),
            *LOOKING,
        ),
        LIGHT,
    ),
    Rule(("aframe.pipelines", "aframe.pipelines.*"), ("aframe.tasks", "aframe.pipelines*"), LIGHT),
    Rule(("aframe_data*",), (*SHARED, "aframe.priors", "aframe.sources", "aframe_data*"), None),
    Rule(("aframe_sv*",), (*SHARED, "aframe.priors", "aframe_sv*"), None),
    Rule(
        ("aframe_train*", "train*"),
        (*SHARED, "aframe.priors", "aframe.transforms.*", "aframe_train*"),
        None,
    ),
    Rule(("aframe_export*",), (*SHARED, "aframe.transforms.*", "aframe_export*"), None),
    Rule(("aframe_infer*",), (*SHARED, "aframe.transforms.*", "aframe_infer*"), None),
)


def _sources():
    """Path of each module of ours, by its name."""
    roots = [(ROOT, "aframe")]
    for stage in STAGES:
        packages = (path.parent for path in (ROOT / "projects" / stage).glob("*/__init__.py"))
        roots += [(path.parent, path.name) for path in packages]
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for root, package in roots
        for path in sorted((root / package).rglob("*.py"))
    }


SOURCES = _sources()


def _imports(module, text, known=frozenset(SOURCES)):
    """Modules that *text* imports anywhere; relative ones made absolute."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")[: -node.level] if node.level else []
            source = ".".join([*parts, *filter(None, [node.module])])
            # `from aframe_sv import far` imports a module, `from aframe_sv.far import x` a name.
            names = {f"{source}.{alias.name}" for alias in node.names}
            found |= (names & known) or {source}
    return {name for name in found if name.split(".")[0] not in sys.stdlib_module_names}


def _is_ours(name):
    return name.split(".")[0] in {source.split(".")[0] for source in SOURCES}


def _rule(module):
    return next(
        (rule for rule in RULES if any(fnmatch(module, each) for each in rule.modules)), None
    )


def _offences(module, text):
    """What *module* imports against its rule."""
    rule = _rule(module)
    for name in sorted(_imports(module, text)):
        top = name.split(".")[0]
        if _is_ours(name):
            allowed = any(fnmatch(name, pattern) for pattern in rule.ours)
        elif rule.others is None:
            allowed = top not in LIGHT
        else:
            allowed = top in rule.others or top == "_typeshed"
        if not allowed:
            yield name


@pytest.mark.parametrize("module", SOURCES)
def test_a_module_imports_what_its_row_allows(module):
    """Every module has a row, and keeps to it."""
    assert _rule(module) is not None
    assert list(_offences(module, SOURCES[module].read_text())) == []


@pytest.mark.parametrize(
    ("module", "line", "offence"),
    [
        ("aframe.errors", "from aframe.artifacts.record import Record", "aframe.artifacts.record"),
        ("aframe.artifacts.record", "import numpy as np", "numpy"),
        ("aframe.artifacts.new", "import torch.nn", "torch.nn"),
        ("aframe.program", "def f():\n    import law", "law"),
        ("aframe.transforms.new", "from aframe.artifacts import strain", "aframe.artifacts.strain"),
        (
            "aframe.tasks.new",
            "from aframe.artifacts.ledger import Ledger",
            "aframe.artifacts.ledger",
        ),
        ("aframe.tasks.new", "from aframe_train.fit import fit", "aframe_train.fit"),
        ("aframe.pipelines.new", "import aframe.stages", "aframe.stages"),
        ("aframe_sv.new", "if 1:\n  import aframe_data.noise", "aframe_data.noise"),
        ("aframe_sv.new", "from aframe.transforms import whitening", "aframe.transforms.whitening"),
        ("aframe_infer.new", "from aframe.priors import x", "aframe.priors"),
        ("aframe_infer.new", "from aframe import tasks", "aframe.tasks"),
        ("aframe_infer.new", "import luigi", "luigi"),
    ],
)
def test_a_wrong_import_is_seen(module, line, offence):
    """At the top, in a function, of a module or of a name in it."""
    assert list(_offences(module, line)) == [offence]


def test_stages_know_nothing_of_tasks():
    """No row of a stage, nor of what stages share, lets a part of the orchestration in."""
    for rule in RULES:
        part = any(fnmatch(module, p) for module in rule.modules for p in ORCHESTRATION)
        if rule.others is None or (not part and any(name in rule.ours for name in SHARED[2:])):
            assert not any(fnmatch(name, p) for name in ORCHESTRATION for p in rule.ours)


def test_no_circles():
    """Modules can be read in one order."""
    graph = {
        module: {name for name in _imports(module, path.read_text()) if name in SOURCES}
        for module, path in SOURCES.items()
    }

    # Where there is a circle this raises, and names it.
    assert {*TopologicalSorter(graph).static_order()} == {*SOURCES}


def _declared(pyproject, extras):
    """Names of the packages that a project asks for, with *extras* of aframe's among them."""
    project = tomllib.loads(pyproject.read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project.get("optional-dependencies", {})[extra]
    for requirement in list(wanted):
        if own := re.match(r"aframe\[(.*)\]", requirement):
            wanted += _declared(ROOT / "pyproject.toml", own[1].split(","))
    return {re.split(r"[^\w.-]", name)[0].lower().replace("_", "-") for name in wanted}


@pytest.mark.parametrize("project", ["aframe", *STAGES])
def test_every_import_is_declared(project):
    """What a project imports, it asks for: no package comes along by luck."""
    if project == "aframe":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        declared = _declared(ROOT / "pyproject.toml", extras["optional-dependencies"])
        sources = [path for name, path in SOURCES.items() if name.split(".")[0] == "aframe"]
    else:
        pyproject = ROOT / "projects" / project / "pyproject.toml"
        extras = tomllib.loads(pyproject.read_text())["project"].get("optional-dependencies", {})
        declared = _declared(pyproject, extras)
        sources = list((ROOT / "projects" / project).glob(f"aframe_{project}/**/*.py"))
    distributions = importlib.metadata.packages_distributions()

    missing = {
        name
        for path in sources
        for name in _imports("", path.read_text())
        if not _is_ours(name) and name != "_typeshed"
        if not {d.lower() for d in distributions[name.split(".")[0]]} & declared
    }

    assert sources
    assert missing == set()


@pytest.mark.parametrize("module", ["aframe.pipelines.sandbox", "aframe.cli"])
def test_planning_needs_nothing_heavy(module):
    """`law run … --help` imports no array library, and plans on any machine."""
    heavy = {"numpy", "scipy", "torch", "h5py", "boto3", "astropy", "bilby", "gwpy", "lal"}
    code = f"import {module}, sys; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert module in done.stdout.split()
    assert heavy & set(done.stdout.split()) == set()


@pytest.mark.parametrize("stage", ["train", "export", "infer"])
def test_what_a_stage_checks_beforehand_waits_for_no_torch(stage):
    """Nor does its help: it takes seconds to load."""
    code = f"import aframe_{stage}.cli, sys; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert {"torch", "lightning", "scipy"} & set(done.stdout.split()) == set()
