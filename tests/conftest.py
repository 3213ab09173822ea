"""Shared parts of all tests: where things are, how to run a tool of this environment, and the closing line."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import ansible.release
import pytest
import yaml
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
# The lab's verbs in their order
VERBS = [Path(play["ansible.builtin.import_playbook"]).stem for play in yaml.safe_load((ROOT / "playbooks/site.yml").read_text(encoding="utf-8"))]
# The versions of Airflow that there are locks of, each with the Python under it, the newest first
_LOCKS = [path.stem.removeprefix("airflow-").split("-python") for path in (ROOT / "roles/base_images/files").glob("airflow-*-python*.txt")]
AIRFLOWS = dict(sorted(_LOCKS, key=lambda lock: Version(lock[0]), reverse=True))
NEWEST = next(iter(AIRFLOWS))
BIN = Path(sys.executable).parent
USERS = ("inventories", "experiments", "environments", "data")
"""What of a checkout belongs to whoever has a lab in it: tests look at the sample that a new lab is made from."""
SHIPPED = [ROOT / "experiments" / f"{name}.yml" for name in ("diabetes", "wine", "wine_search")]
"""The experiments that come with the collection."""

Run = Callable[..., subprocess.CompletedProcess[str]]

# Tests and what they start find this environment's programs (uv, go, Ansible's) first, whether it was activated or not.
os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
os.environ.setdefault("LANG", "C.UTF-8")  # what an empty environment lacks and every login has

# `import ansible_collections.mlops.lab...` finds the checkout, as it does in Ansible itself.
_AnsibleCollectionFinder(paths=[str(ROOT / "collections")])._install()


def environment(**more: str) -> dict[str, str]:
    """Return the environment for a tool: this checkout's collection before any installed copy, and nothing of the `make` that runs the tests."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name not in ("MFLAGS", "LAB")},
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_FORCE_COLOR": "0",  # which Molecule sets
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_STDOUT_CALLBACK": "default",  # which shows every task
        "NO_COLOR": "1",
        **more,
    }


def run_tool(command: Sequence[str | Path], cwd: Path = ROOT, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a tool in `cwd` with `more` environment variables; its output and errors come together in ``stdout``."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment(**more),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def processes(words: str, program: str = "") -> list[int]:
    """Return the processes, of `program` alone when given, whose command line has `words`, the oldest first. Not every machine has procps."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            command, name = (place / "cmdline").read_bytes().replace(b"\0", b" "), (place / "comm").read_text(encoding="utf-8")
            if words in command.decode(errors="replace") and name.startswith(program):
                started = (place / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
                found.append((int(started), int(place.name)))
    return [process for _, process in sorted(found)]


def forms(secret: str) -> set[str]:
    """Return what a secret looks like after what programs do to text: quoted for JSON (twice), a URL or YAML, and base64 wherever in it the secret begins."""
    quoted, data = json.dumps(secret)[1:-1], secret.encode()
    encoded = {base64.b64encode(bytes(shift) + data)[-(-shift * 8 // 6) : (shift + len(data)) * 8 // 6].decode() for shift in range(3)}
    return {secret, quoted, json.dumps(quoted)[1:-1], quote(secret, safe=""), secret.replace("'", "''")} | encoded


def locked(lock: str, python: str) -> dict[str, str]:
    """Return the versions, by name, that a lock of the checkout gives on a version of Python; every entry of it must have hashes."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    entries = re.findall(r"^([\w.-]+==[^\\\n]*?) \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", text, re.M)
    assert len(entries) == len(re.findall(r"^[\w.-]+==", text, re.M)), f"{lock} has an entry without hashes"
    wanted = [entry for entry in map(Requirement, entries) if entry.marker is None or entry.marker.evaluate({"python_full_version": f"{python}.0"})]
    return {entry.name: str(entry.specifier).removeprefix("==") for entry in wanted}


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def tool() -> Run:
    """A function that runs a tool: ``tool(["ansible-doc", "-l"], cwd=path, NAME="value").stdout``."""
    return run_tool


@pytest.fixture(scope="session")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as it is now, built."""
    folder = tmp_path_factory.mktemp("tarball")
    built = run_tool(["ansible-galaxy", "collection", "build", ROOT, "--output-path", folder])
    assert built.returncode == 0, built.stdout
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="session")
def files() -> list[Path]:
    """The files of the checkout: those that git tracks or would track, as paths inside it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := Path(name)) and os.path.lexists(ROOT / path)]


@pytest.fixture(scope="session")
def own_files(files: list[Path]) -> list[Path]:
    """Those of the project itself, without those of whoever has a lab in this checkout."""
    return [path for path in files if path.parts[0] not in USERS]


def has_compose() -> bool:
    """Say whether Docker's client has the compose plugin."""
    return shutil.which("docker") is not None and run_tool(["docker", "compose", "version"]).returncode == 0


@pytest.fixture(scope="session")
def compose_plugin(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compose's plugin, which needs no daemon; where it is missing the project's own role installs it, for one of the test processes at a time."""
    from tests.unit.plays import play  # which imports this module

    (ROOT / ".cache").mkdir(exist_ok=True)
    with (ROOT / ".cache/docker_engine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if has_compose():
            return
        role = {"ansible.builtin.import_role": {"name": "mlops.lab.docker_engine"}, "become": True}
        done = play(tmp_path_factory.mktemp("engine"), [{"ansible.builtin.setup": None}, role])
    if done.returncode or not has_compose():
        pytest.fail(f"The compose plugin is not installed, and role docker_engine could not install it here (is this root?):\n{done.output}", pytrace=False)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long or needs the machine for itself, unless it is asked for: ``-m deep``, ``-m molecule``, ``-m slow``, ``-m three``."""
    asked = [name for name in ("deep", "molecule", "slow", "three") if name not in config.option.markexpr]
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in asked)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def pytest_report_header() -> str:
    """What the suite runs on; the supported Pythons are those of the distributions."""
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    return f"on {system}: Python {platform.python_version()} ({sys.executable}), ansible-core {ansible.release.__version__}"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close with one plain line that counts everything; an error while preparing a test counts as a failure."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or config.option.collectonly or hasattr(config, "workerinput"):
        return
    count = {name: len(reporter.stats.get(name, [])) for name in ("passed", "failed", "error")}
    print(f"{count['passed']} passed, {count['failed'] + count['error']} failed")
