"""The command `aframe-init`: write the directory of a run."""

from __future__ import annotations

import argparse
import difflib
import glob
import json
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from aframe.artifacts.record import write_text
from aframe.errors import USER_ERROR, AframeError
from aframe.paths import OF_THE_MACHINE, RUN_VARIABLES, S3

CONFIGS = Path(__file__).parent / "pipelines" / "configs"
#: How files of strain begin, and how much of them tells where they end.
_HDF5, _FRAME, _HEAD = b"\x89HDF\r\n\x1a\n", b"IGWD", 64
#: What each mode runs, and the training presets it offers.
MODES = {
    "sandbox": "aframe.pipelines.sandbox.Sandbox",
    "tune": "aframe.pipelines.tune.Tune",
}
PRESETS = ("bbh", "bns", "demo")
# How the section of the training becomes that of a search for its settings.
_TRAINING = "[luigi_Train]\nconfig = @directory@/train.yaml\n"
_SEARCH = """[luigi_TuneTask]
config = @directory@/train.yaml
tune_config = @directory@/tune.yaml
# Trials side by side (0: as many as there is room for), and what each of them gets.
num_workers = 0
gpus_per_worker = 1
cpus_per_gpu = 1
# Where the trials are kept, to try more of them later; blank: until the search has ended.
storage_dir =
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `aframe-init`; returns its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser().parse_args(words)
    try:
        written = write_run_directory(
            arguments.directory,
            mode=arguments.mode,
            preset=arguments.preset,
            seed=arguments.seed,
            strain=arguments.strain,
            s3_bucket=arguments.s3_bucket,
            force=arguments.force,
        )
    except AframeError as error:
        print(f"aframe-init: error: {error}", file=sys.stderr)
        return USER_ERROR
    for path in written:
        print(f"wrote {path}")
    print(f"start the run with: bash {shlex.quote(str(arguments.directory / 'run.sh'))}")
    return 0


class Parser(argparse.ArgumentParser):
    """A parser whose errors look like all others."""

    def error(self, message: str) -> NoReturn:
        """Show *message*, and end."""
        words = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        near = words and difflib.get_close_matches(words[1], re.findall(r"[\w-]+", words[2]), n=1)
        error = AframeError(
            "the command line cannot be used",
            found=message,
            wanted_by=self.prog,
            fix=f"{f'did you mean {near[0]}? ' if near else ''}{self.prog} --help shows all",
        )
        print(f"{self.prog.split()[0]}: error: {error}", file=sys.stderr)
        sys.exit(USER_ERROR)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="aframe-init", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", metavar="COMMAND", required=True)
    offline = kinds.add_parser("offline", help="a search of archived or simulated strain")
    offline.add_argument("--mode", choices=sorted(MODES), required=True, help="pipeline to run")
    offline.add_argument("-d", "--directory", type=Path, required=True, help="where the run lives")
    offline.add_argument(
        "--preset",
        choices=PRESETS,
        default="bbh",
        help="bbh: the full search; bns: neutron stars; demo: minutes on two cores; default: bbh",
    )
    offline.add_argument("--seed", type=int, help="seed of all random streams")
    offline.add_argument(
        "--strain",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="strain files (GWOSC HDF5, GWF, background-*.hdf5) to search at zero lag; "
        "default: for demo the shipped 32 s of H1 and L1, else the testing strain",
    )
    offline.add_argument(
        "--s3-bucket",
        metavar="s3://BUCKET/PREFIX",
        help="where data, training and results are kept, at the store that $AWS_ENDPOINT_URL "
        "names; default: in the directory",
    )
    offline.add_argument("--force", action="store_true", help="rewrite files that were edited")
    return parser


def write_run_directory(
    directory: Path,
    *,
    mode: str = "sandbox",
    preset: str = "bbh",
    seed: int | None = None,
    strain: Sequence[Path] | None = None,
    s3_bucket: str | None = None,
    force: bool = False,
) -> list[Path]:
    """Write the configuration and `run.sh` of a run.

    Args:
        directory: Where the run lives; made if it is not there.
        mode: The pipeline, one of :data:`MODES`.
        preset: The configuration to start from, one of :data:`PRESETS`.
        seed: Seed of all random streams; ``None`` keeps the preset's.
        strain: Files to search at zero lag; ``None`` keeps the preset's.
        s3_bucket: Address below which data, training and results are kept; ``None`` keeps them
            in *directory*.
        force: Whether to rewrite files that were edited.

    Returns:
        The files that were written; those already there as they should be are left out.

    Raises:
        AframeError: If a strain file is missing, a file that was edited is in the way, the address
            is none, or the directory cannot be written.
    """
    directory = directory.expanduser().resolve()
    bucket = s3_bucket and _bucket(s3_bucket)
    files = {
        directory / f"{mode}.cfg": _configuration(directory, mode, preset, seed, strain),
        directory / "train.yaml": (CONFIGS / f"{preset}.yaml").read_text(),
        directory / "run.sh": _run_script(directory, mode, bucket),
    }
    if mode == "tune":
        files[directory / "tune.yaml"] = (CONFIGS / "tune" / f"{preset}.yaml").read_text()
    try:
        return _write(directory, files, force=force)
    except OSError as error:
        raise AframeError(
            "the run directory cannot be written",
            found=str(error),
            wanted_by=f"aframe-init for {directory}",
            fix="choose another directory, or correct its permissions",
        ) from error


def _write(directory: Path, files: Mapping[Path, str], *, force: bool) -> list[Path]:
    changed = {path: text for path, text in files.items() if _differs(path, text)}
    if not force:
        _refuse_edited([path for path in changed if path.exists()], directory)
    directory.mkdir(parents=True, exist_ok=True)
    for path, text in changed.items():
        write_text(path, text)
    (directory / "run.sh").chmod(0o755)
    return list(changed)


def _differs(path: Path, text: str) -> bool:
    return not path.exists() or path.read_text() != text


def _refuse_edited(paths: Sequence[Path], directory: Path) -> None:
    if paths:
        raise AframeError(
            "the run directory holds other configuration files",
            found=", ".join(str(path) for path in paths),
            wanted_by=f"aframe-init for {directory}",
            fix="choose a new directory, or add --force to rewrite only these files",
        )


def _configuration(
    directory: Path, mode: str, preset: str, seed: int | None, strain: Sequence[Path] | None
) -> str:
    text = (CONFIGS / f"{preset}.cfg").read_text()
    if mode == "tune":
        text = text.replace(_TRAINING, _SEARCH)
    paths = {
        "@directory@": str(directory),
        "@zero_lag_source@": _zero_lag_source(preset, strain),
    }
    for mark, path in paths.items():
        _refuse_expanded(path)
        text = text.replace(mark, path)
    if seed is not None:
        text = re.sub(r"(?m)^seed = .*$", f"seed = {seed}", text)
    return text


def _refuse_expanded(path: str) -> None:
    expanded = sorted(set(path) & set("$%"))
    if expanded:
        raise AframeError(
            "a path cannot stand in a .cfg",
            found=path,
            wanted_by="--directory and --strain",
            fix=f"choose a path without {' and '.join(expanded)}, which a .cfg expands",
        )


def _zero_lag_source(preset: str, strain: Sequence[Path] | None) -> str:
    if strain is None:
        strain = sorted((CONFIGS / "strain").glob("*.hdf5")) if preset == "demo" else []
    missing = [path for path in strain if not path.expanduser().is_file()]
    if missing:
        raise AframeError(
            "a strain file is missing",
            found=f"{missing[0]} is no file",
            wanted_by="--strain",
            fix="give existing files, each with the strain of one detector or more",
        )
    for path in strain:
        _refuse_foreign(path.expanduser())
    # A source holds patterns; these are files.
    paths = [glob.escape(str(path.expanduser().resolve())) for path in strain]
    return json.dumps({"kind": "files", "paths": paths}) if paths else ""


def _refuse_foreign(path: Path) -> None:
    """Refuse what is no file of strain by its first bytes; the run looks at the strain itself."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(_FRAME):
        return
    found = "neither HDF5 nor a frame file"
    if head.startswith(_HDF5) and len(head) == _HEAD:
        # Where the file ends, https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
        place = {0: 40, 1: 44}.get(head[len(_HDF5)], 28)
        end, size = int.from_bytes(head[place : place + 8], "little"), path.stat().st_size
        found = f"{size} of its {end} bytes" if size < end else ""
    if found:
        raise AframeError(
            "a strain file cannot be used",
            found=f"{path}: {found}",
            wanted_by="--strain",
            fix="give whole files with strain: GWOSC's HDF5, GWF, or background-*.hdf5",
        )


def _moved(directory: Path) -> list[str]:
    """What `run.sh` prints where it is ``$here`` and not in *directory*, as a shell's words."""
    quote = shlex.quote
    change = (quote(f"  fix        move it back, or in it: sed -i 's|{directory}|"), quote("|g' "))
    return [
        quote("run.sh: error: the run directory was moved or copied"),
        '"  found      $here"',
        quote(f"  wanted by  the paths in its files, which were made for {directory}"),
        f'{change[0]}"$here"{change[1]}{quote("run.sh *.cfg")}',
    ]


def _bucket(address: str) -> str:
    """Refuse what is no address of a place on S3; give it without slashes at its end."""
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s/]+)*/*", address):
        raise AframeError(
            "the run cannot be kept there",
            found=address,
            wanted_by="--s3-bucket",
            fix="give s3://BUCKET or s3://BUCKET/PREFIX; a bucket's name is of lower-case letters, "
            "digits, dots and hyphens",
        )
    return address.rstrip("/")


def _exports(directory: Path, bucket: str | None) -> list[str]:
    """Where the pieces of the run lie, and of those on S3 the store and the copies here."""
    homes = {
        name: str(directory) if bucket is None or name in OF_THE_MACHINE else bucket
        for name in RUN_VARIABLES
    }
    named = {name: f"{homes[name]}/{folder}" for name, folder in RUN_VARIABLES.items()}
    exports = [f"export {name}={shlex.quote(place)}" for name, place in named.items()]
    if bucket is None:
        return exports
    kept = {"AFRAME_CACHE_DIR": str(directory / "cache")}
    # The keys themselves stay where they are: in the environment or ~/.aws.
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        if os.environ.get(name):
            kept[name] = os.environ[name]
    return [
        *exports,
        f"# Copies of what lies on {S3} and drafts of what will; may be removed between runs",
        *(f"export {name}=${{{name}:-{shlex.quote(value)}}}" for name, value in kept.items()),
    ]


def _run_script(directory: Path, mode: str, bucket: str | None) -> str:
    here = shlex.quote(str(directory))
    configuration = shlex.quote(str(directory / f"{mode}.cfg"))
    return "\n".join(
        [
            "#!/bin/bash",
            "# Complete steps do not run again; options go to law, such as --print-status 9.",
            "set -euo pipefail",
            f'if [ "$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd -P)" != {here} ]; then',
            '  here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)',
            f"  printf '%s\\n' {' '.join(_moved(directory))} >&2",
            "  exit 2",
            "fi",
            "",
            "# Where the pieces of the run lie",
            *_exports(directory, bucket),
            "",
            "# Modify the workers and gpus to suit your machine; with images, add --dev to run",
            "# the code of your checkout instead of theirs.",
            f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH",
            f"python3 -P -m aframe.cfg {configuration}",
            f'LAW_CONFIG_FILE={configuration} exec law run {MODES[mode]} --workers 5 --gpus 0 "$@"',
            "",
        ]
    )
