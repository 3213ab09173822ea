"""The collection as a checkout and as a tarball: both are found by the same names."""

from __future__ import annotations

import json
import os
import re
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, Run

LINKS = ROOT / "collections/ansible_collections/mlops/lab"
CONTENT = ["galaxy.yml", "meta", "playbooks", "plugins", "roles"]
IN_THE_TARBALL = {"bindep.txt", "CHANGELOG.md", "CONTRIBUTING.md", "COPYING", "FILES.json", "LICENSE", "MANIFEST.json", "README.md"}
IN_THE_TARBALL |= {"changelogs", "dags", "docs", "examples", "experiments", "meta", "playbooks", "plugins", "roles"}


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory, tool: Run) -> Path:
    """The built collection."""
    place = tmp_path_factory.mktemp("tarball")
    done = tool(["ansible-galaxy", "collection", "build", ROOT, "--output-path", place])
    assert done.returncode == 0, done.stdout
    return next(place.glob("mlops-lab-*.tar.gz"))


@pytest.mark.parametrize("name", CONTENT)
def test_links_are_links(name: str) -> None:
    # `ansible-galaxy collection install . --force` replaces them by copies without a word.
    assert (LINKS / name).is_symlink(), f"{name} is no link: git checkout -- collections"
    assert os.readlink(LINKS / name) == f"../../../../{name}"


def test_nothing_else_is_in_the_place_of_the_links() -> None:
    assert sorted(path.name for path in LINKS.iterdir()) == CONTENT


def test_the_tarball_holds_the_collection_alone(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        names = archive.getnames()
    assert {name.partition("/")[0] for name in names} - IN_THE_TARBALL == set()
    assert not [name for name in names if Path(name).name.startswith(("vault.yml", ".vault"))]
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.parametrize("list_of_files", ["ignore-2.19.txt", "ignore-2.20.txt"])
def test_no_file_of_the_tarball_is_let_off_a_check_and_others_with_a_reason(tarball: Path, list_of_files: str) -> None:
    with tarfile.open(tarball) as archive:
        names = set(archive.getnames())
    for line in (ROOT / "tests/sanity" / list_of_files).read_text(encoding="utf-8").splitlines():
        entry, _unused, reason = line.partition(" # ")
        assert entry.split()[0] not in names and len(reason.split()) > 3, line


def test_the_installed_playbook_is_found_by_its_fqcn(tarball: Path, tool: Run, tmp_path: Path) -> None:
    place = {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path), "HOME": str(tmp_path), "ANSIBLE_GALAXY_SERVER_LIST": ""}
    done = tool(["ansible-galaxy", "collection", "install", tarball, "--no-deps", "--offline", "-p", tmp_path], cwd=tmp_path, **place)
    assert done.returncode == 0, done.stdout
    done = tool(["ansible-playbook", "mlops.lab.site", "-i", "localhost,", "--syntax-check"], cwd=tmp_path, **place)
    assert done.returncode == 0, done.stdout
    assert f"playbook: {tmp_path}/ansible_collections/mlops/lab/playbooks/site.yml" in done.stdout
    done = tool(["ansible-doc", "-t", "module", "mlops.lab.watch"], cwd=tmp_path, **place)
    assert done.returncode == 0 and str(tmp_path) in done.stdout, done.stdout


def test_everything_names_the_version_that_is_built(tarball: Path) -> None:
    """The README says which file is installed, and no plugin came with a version that is still to come."""
    assert re.findall(r"mlops-lab-[0-9.]+\.tar\.gz", (ROOT / "README.md").read_text(encoding="utf-8")) == [tarball.name]
    added = {path: re.findall(r"^version_added: (.+)$", path.read_text(encoding="utf-8"), re.M) for path in (ROOT / "plugins").rglob("*.py")}
    built = parts(tarball.name.removeprefix("mlops-lab-").removesuffix(".tar.gz"))
    assert not [path for path, versions in added.items() if any(parts(version) > built for version in versions)]


def parts(version: str) -> list[int]:
    """Return the numbers of a version."""
    return [int(part) for part in version.split(".")]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="What is pinned is what the newest supported Ansible brings, which this Python does not run.")
def test_pinned_collections_are_the_ones_of_the_locked_ansible(tool: Run) -> None:
    pinned = yaml.safe_load((ROOT / "collections/requirements.yml").read_text(encoding="utf-8"))["collections"]
    told = tool(["ansible-galaxy", "collection", "list", "--format", "json"]).stdout.splitlines()
    listed = json.loads(next(line for line in told if line.startswith("{")))  # after a warning about a collection that is Ansible's own
    bundled = next(collections for path, collections in listed.items() if path.endswith("site-packages/ansible_collections"))
    assert {entry["name"]: entry["version"] for entry in pinned} == {entry["name"]: bundled[entry["name"]]["version"] for entry in pinned}
    needed = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["dependencies"]
    assert needed.keys() == {entry["name"] for entry in pinned}
