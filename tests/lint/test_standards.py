"""What the ecosystem's own checks say: `ansible-test sanity` of both Ansible releases, and a Galaxy server's importer."""

from __future__ import annotations

import ast
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.conftest import BIN, ROOT, Run, locked, run_tool
from tests.unit.conftest import make_environment, uv
from tests.unit.plays import play

pytestmark = pytest.mark.lint

HERE = "{}.{}".format(*sys.version_info)
#: the oldest Python that each supported ansible-core runs on, and one that runs the newest; the tests' own takes the place of either
PYTHONS = sorted({"3.11", "3.13" if HERE == "3.11" else HERE}, key=Version)
#: what ansible-test runs in a new environment to get a pip of its own into it
GET_PIP = """\
import subprocess
import sys

packages = [argument for argument in sys.argv[1:] if "==" in argument]
subprocess.run([{python!r}, "-m", "pip", "--python", sys.executable, "install", *packages], check=True)
"""


def find_python(version: str) -> str:
    """Return a Python of this version; skips the test where there is none."""
    if version == HERE:
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    for candidate in filter(None, [shutil.which(f"python{version}"), *map(str, pyenv.glob(f"versions/{version}.*/bin/python"))]):
        done = subprocess.run([candidate, "-c", "import sys; print(sys.executable)"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
    pytest.skip(f"There is no Python {version} here, which runs the other supported ansible-core.")


@pytest.fixture(scope="session", params=PYTHONS)
def release(request: pytest.FixtureRequest) -> Path:
    """The directory of Ansible's commands, from the lock that users get, on the oldest and on a newer Python in turn."""
    if request.param == HERE:
        return BIN
    python, lock = find_python(request.param), ROOT / "requirements.txt"
    folder = ROOT / ".cache/ansible" / f"{request.param}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # another test run may be making it
        if not (folder / "complete").is_file():
            for former in folder.parent.glob(f"{request.param}-*"):
                if time.time() - former.stat().st_mtime > 86400:  # no test that is running uses it
                    shutil.rmtree(former)
            uv("venv", "--quiet", "--clear", "--no-python-downloads", "--python", python, folder)
            uv("pip", "install", "--quiet", "--python", folder / "bin/python", "--require-hashes", "-r", lock)
            (folder / "complete").touch()
    return folder / "bin"


@pytest.fixture(scope="session")
def copy(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy of the checkout where Ansible expects a collection."""
    place = tmp_path_factory.mktemp("copy") / "ansible_collections/mlops/lab"
    for path in files:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, place / path, follow_symlinks=False)
    return place


@pytest.fixture
def home(release: Path) -> Iterator[Path]:
    """A home for ansible-test, which keeps the environments of its checks there; the tests' own pip makes them, not one that it fetches itself."""
    place = ROOT / ".cache/ansible-test" / release.parent.name
    caches = place / ".ansible/test/cache"
    caches.mkdir(parents=True, exist_ok=True)
    (internals,) = release.parent.glob("lib/python*/site-packages/ansible_test/_internal/python_requirements.py")
    (version,) = re.findall(r"\bpip='([\d.]+)'", internals.read_text(encoding="utf-8"))
    # ansible-test lets no variable through: what pip is told about its index has to stand in a file. It may hold the index's password.
    told = subprocess.run([BIN / "python", "-m", "pip", "config", "list"], capture_output=True, text=True, check=True).stdout
    found = [match for line in told.splitlines() if (match := re.fullmatch(r"(:env:|[^.]+)\.([\w-]+)=(.*)", line))]
    options = {match[2]: ast.literal_eval(match[3]) for match in sorted(found, key=lambda match: match[1] == ":env:")}
    pip_conf = place / ".config/pip/pip.conf"
    pip_conf.parent.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test run may be making the environments
        (caches / f"get_pip_{version.replace('.', '_')}.py").write_text(GET_PIP.format(python=str(BIN / "python")), encoding="utf-8")
        pip_conf.touch(mode=0o600)
        pip_conf.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in options.items()), encoding="utf-8")
        try:
            yield place
        finally:
            pip_conf.unlink()


def sanity(release: Path, home: Path, copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `ansible-test sanity` of a release over the copy."""
    path = f"{release}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    command: list[str | Path] = [release / "ansible-test", "sanity", "--local", "--python", version_of(release), "--requirements", "--color", "no", *arguments]
    return run_tool(command, copy, HOME=str(home), PATH=path)


def version_of(release: Path) -> str:
    """Return the version of a release's Python, as ``3.13``."""
    return run_tool([release / "python", "-c", "import sys; print('{}.{}'.format(*sys.version_info))"]).stdout.strip()


@pytest.mark.deep
def test_sanity(release: Path, home: Path, copy: Path) -> None:
    done = sanity(release, home, copy, "--skip-test", "pylint")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_pylint_of_what_runs_inside_of_ansible(release: Path, home: Path, copy: Path) -> None:
    # The other Python is the project's own, which ruff and mypy check: pylint's list of names that one must not use is Ansible's.
    done = sanity(release, home, copy, "--test", "pylint", "plugins/")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("lint", ["false", pytest.param("true", marks=pytest.mark.slow)])
def test_a_galaxy_server_takes_the_tarball(lint: str, tool: Run, tmp_path: Path) -> None:
    done = tool(["ansible-galaxy", "collection", "build", ROOT, "--output-path", tmp_path])
    assert done.returncode == 0, done.stdout
    importer = make_environment("galaxy-importer")
    path = f"{importer.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    command = [importer, "-m", "galaxy_importer.main", *tmp_path.glob("*.tar.gz")]
    done = tool(command, cwd=tmp_path, PATH=path, HOME=str(tmp_path), GALAXY_IMPORTER_RUN_ANSIBLE_LINT=lint)
    assert done.returncode == 0 and "Importer processing completed successfully" in done.stdout, done.stdout
    assert not re.findall(r"^(?:ERROR|WARNING).*", done.stdout, re.M), done.stdout


def test_the_collection_runs_on(release: Path, tmp_path: Path) -> None:
    """Every playbook can be read, and what runs on the control node and on a host works."""
    path = f"{release}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    read = run_tool(["ansible-playbook", *(ROOT / "playbooks").glob("*.yml"), "-i", "inventories/lab", "--syntax-check"], PATH=path)
    assert read.returncode == 0, read.stdout
    tasks: list[dict[str, Any]] = [
        {"mlops.lab.place_files": {"files": {"a": "x"}, "dest": str(tmp_path / "placed")}},
        {"mlops.lab.watch": {"module": "ansible.builtin.command", "args": {"argv": ["true"]}, "status": "true"}},
        {"mlops.lab.lab_preflight": {"disk_paths": [str(tmp_path)], "ports": []}, "register": "result"},
    ]
    done = play(tmp_path, tasks, PATH=path)
    assert done.returncode == 0, done.output
    assert (tmp_path / "placed/a").read_text() == "x" and done.result["found"]["cores"] >= 1


def test_the_collection_says_on_which_ansible_it_runs() -> None:
    requires = SpecifierSet(yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))["requires_ansible"])
    oldest, newest = (Version(locked("requirements.txt", python)["ansible-core"]) for python in PYTHONS)
    assert requires == SpecifierSet(f">={oldest.major}.{oldest.minor}.0,<{newest.major}.{newest.minor + 1}.0")
