"""What no file of the project may hold, and what git must not see."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, locked

# Written apart, so that this file does not find itself
HOSTS = ["docker" + r"\.io(?=/)", "docker" + r"\.com", "ghcr" + r"\.io", "quay" + r"\.io", "pypi" + r"\.org", "python" + r"hosted\.org"]
HOSTS += ["debian" + r"\.org", "ubuntu" + r"\.com", "galaxy" + r"\.ansible\.com", "npm" + r"js\.(?:org|com)", "gcr" + r"\.io"]
FORBIDDEN = {
    "a public host": re.compile(rf"(?<![\w-])(?:[\w-]+\.)*(?:{'|'.join(HOSTS)})(?![\w-])"),  # the package of that name has no slash
    "a path of one machine": re.compile(r"(?<![\w.}/])/(?:work/|root/|home/(?!airflow\b))"),
    "a private key": re.compile("-----BEGIN [A-Z ]*PRIVATE" + " KEY-----"),
    "an encrypted vault": re.compile(r"^\$ANSIBLE_VAULT;1\.\d;AES256$", re.M),
    "a password in an URL": re.compile(r"https?://[^\s/:@{}<>'\"$%\[\]]+:[^\s/:@{}<>'\"$%\[\]]+@"),
}
# Not the project's words
EXEMPT = {"LICENSE"}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str, own_files: list[Path]) -> None:
    found = []
    for path in own_files:
        if what == "a password in an URL" and path.parts[0] == "tests":
            continue  # made up, to see what becomes of it
        if str(path) in EXEMPT or (ROOT / path).is_symlink() or not (ROOT / path).is_file():
            continue
        text = (ROOT / path).read_bytes().decode(errors="replace")
        found += [f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}" for match in FORBIDDEN[what].finditer(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "name", [".vault_password", "inventories/lab/.vault_password", ".venv/bin/python", "inventories/lab/reports/lab.json", "mlops-lab-0.2.0.tar.gz"]
)
def test_git_ignores(name: str) -> None:
    assert subprocess.run(["git", "check-ignore", "--quiet", name], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_tests_run_on_the_versions_that_users_get(python: str) -> None:
    users, tests = locked("requirements.txt", python), locked("requirements-test.txt", python)
    assert {name: tests.get(name) for name in users} == users


@pytest.mark.parametrize("licence", ["GPL-3.0-or-later", "Apache-2.0"])
def test_what_imports_ansible_is_under_its_licence_and_nothing_else(licence: str, files: list[Path]) -> None:
    python = [path for path in files if path.suffix == ".py" and (ROOT / path).is_file() and path.parts[0] not in ("collections", "tests")]
    said = {path: re.findall(r"SPDX-License-Identifier: (\S+)", (ROOT / path).read_text(encoding="utf-8")) for path in python}
    imports = {path for path in python if re.search(r"^(?:from|import) ansible\b", (ROOT / path).read_text(encoding="utf-8"), re.M)}
    plugins = {path for path in python if path.parts[0] == "plugins"}
    assert imports <= plugins, "this file imports Ansible's code, and is not where the files under its licence are"
    if licence == "Apache-2.0":
        assert {path: names for path, names in said.items() if path not in plugins and names not in ([], [licence])} == {}
    else:
        assert {path: names for path, names in said.items() if path in plugins and names != [licence]} == {}
        header = "# GNU General Public License v3.0+ (see COPYING)"
        assert [path for path in plugins if header not in (ROOT / path).read_text(encoding="utf-8").splitlines()[:4]] == []


def test_the_texts_of_both_licences_are_there() -> None:
    named = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["license"]
    assert named == ["Apache-2.0", "GPL-3.0-or-later"]
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")[:200]
    assert "GNU GENERAL PUBLIC LICENSE" in (ROOT / "COPYING").read_text(encoding="utf-8")[:200]
