"""Role package_index: what its templates say, the wheels it builds, and its sentences about an index that does not work."""

from __future__ import annotations

import base64
import contextlib
import email.parser
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.mlops.lab.plugins.action import lab_preflight
from ansible_collections.mlops.lab.plugins.filter.other_versions import other_versions
from ansible_collections.mlops.lab.plugins.filter.wheel_on_page import wheel_on_page
from ansible_collections.mlops.lab.plugins.module_utils import package_index
from passlib.hash import sha512_crypt

from tests.conftest import ROOT
from tests.unit.plays import play

ROLE = ROOT / "roles/package_index"
PASSWORD = 'it\'s a "password" with $6$ {% and : in it'


def load(name: str) -> ModuleType:
    """Import a Python file of the role."""
    spec = importlib.util.spec_from_file_location(name, ROLE / f"files/{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


serve_index, _git_version, build_wheel = load("serve_index"), load("git_version"), load("build_wheel")


def templar(**values: Any) -> Templar:
    """Return Ansible's own templating with the role's defaults and variables, and `values` over them."""
    loader = DataLoader()
    variables: dict[str, Any] = {}
    for name in ("defaults", "vars"):
        variables.update(loader.load_from_file(str(ROLE / name / "main.yml"), trusted_as_template=True))
    variables.update(
        ansible_managed="Ansible managed",
        ansible_check_mode=False,
        inventory_hostname="lab1",
        package_index_user="reader",
        package_index_password=PASSWORD,
        package_index_publisher_user="publisher",
        package_index_publisher_password="other",
    )
    return Templar(loader=loader, variables={**variables, **values})


def render(template: str, **values: Any) -> str:
    """Return a template of the role as Ansible writes it."""
    text = (ROLE / "templates" / template).read_text(encoding="utf-8")
    return str(templar(**values).template(trust_as_template(text)))


def compose(**values: Any) -> dict[str, Any]:
    text = render("compose.yml.j2", __package_index_image={"image": "mlops-lab/index:1-abc"}, **values)
    return dict(yaml.safe_load(text))


# -------------------------------------------------------------------- the index of the lab's own


def test_only_nginx_has_a_port_and_only_where_it_should() -> None:
    services = compose(package_index_bind_address="192.0.2.7", package_index_port=9000)["services"]
    assert {name: service.get("ports") for name, service in services.items()} == {"devpi": None, "nginx": ["192.0.2.7:9000:8080"]}


def test_no_password_is_in_the_compose_file_or_the_configuration() -> None:
    text = yaml.safe_dump(compose()) + render("nginx.conf.j2") + render("Dockerfile.j2")
    assert PASSWORD not in text and "other" not in text.split()
    assert "$6$" not in text


def test_every_service_comes_back_by_itself_and_has_few_rights() -> None:
    for service in compose()["services"].values():
        assert service["restart"] == "unless-stopped"
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        assert service["healthcheck"]["start_interval"] == "1s"


def test_only_hashes_are_written_and_they_stay_the_same() -> None:
    accounts = [{"user": "reader", "password": trust_as_template("{{ package_index_password }}")}]
    first, second = (render("htpasswd.j2", item={"accounts": accounts}) for _ in range(2))
    assert first == second
    user, hashed = first.strip().split(":")
    assert user == "reader" and hashed.startswith("$6$")
    assert sha512_crypt.verify(PASSWORD, hashed)


def test_two_labs_and_two_users_have_different_salts() -> None:
    def salt(user: str, host: str) -> str:
        return render("htpasswd.j2", item={"accounts": [{"user": user, "password": "x"}]}, inventory_hostname=host).split("$")[2]

    assert len({salt("a", "lab1"), salt("b", "lab1"), salt("a", "lab2")}) == 3


@pytest.mark.parametrize("index", ["pypi-all", "pypi-internal"])
def test_the_list_of_all_projects_is_never_passed_on(index: str) -> None:
    locations = re.findall(r"location (~|=)? ?(\S+) \{\n(.*?)\n        \}", render("nginx.conf.j2"), re.DOTALL)
    assert len(locations) >= 7
    for path in (f"/repository/{index}/simple/", f"/repository/{index}/simple"):
        # nginx takes the first regular expression that matches.
        body = next(body for kind, pattern, body in locations if kind == "~" and re.search(pattern.replace("(?<", "(?P<"), path))
        assert "return 404" in body and "proxy_pass" not in body


def test_devpi_never_sees_credentials() -> None:
    passed_on = re.findall(r"proxy_set_header Authorization (\S+);\n(?:.*\n)*?.*proxy_pass (\S+);", render("nginx.conf.j2").split("server {", 1)[1])
    assert passed_on == [("$http_authorization", "http://127.0.0.1:8083")]


def test_the_mirror_has_no_project_list_and_a_hosted_name_is_never_looked_up_in_it() -> None:
    indexes = serve_index.wanted_indexes("", "https://default.example/simple/")
    mirror = indexes["pypi-public"]
    assert mirror["mirror_no_project_list"] is True
    assert mirror["mirror_url"] == "https://default.example/simple/"
    assert serve_index.wanted_indexes("https://own.example/", "x")["pypi-public"]["mirror_url"] == "https://own.example/"
    group = indexes["pypi-all"]
    assert group["bases"] == ("repository/pypi-internal", "repository/pypi-public")
    assert group["mirror_whitelist"] == indexes["pypi-internal"]["mirror_whitelist"] == []
    assert group["acl_upload"] == []
    assert not indexes["pypi-internal"]["volatile"]


def test_the_requirements_are_locked_with_hashes() -> None:
    locked = (ROLE / "files/requirements.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^[a-z0-9-]+==\S+ \\$(?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?$)+", locked, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^[a-z]", locked, re.MULTILINE)) > 20
    for line in (ROLE / "files/requirements.in").read_text(encoding="utf-8").split():
        assert f"{line} \\" in locked


# -------------------------------------------------------------------- wheels


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    (folder / "src/tiny").mkdir(parents=True)
    (folder / "pyproject.toml").write_text("[project]\nname = 'tiny'\n", encoding="utf-8")
    (folder / "src/tiny/__init__.py").write_text("ANSWER = 42\n", encoding="utf-8")
    return folder


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    from zipfile import ZipFile

    path = tmp_path / "tiny_lab-1.0-py3-none-any.whl"
    lines = ["Metadata-Version: 2.4", "Name: Tiny.Lab", "Version: 1.0", "Requires-Python: >=3.9", "Requires-Dist: six", "Requires-Dist: attrs>1"]
    with ZipFile(path, "w") as archive:
        archive.writestr("tiny/_vendor/other-2.0.dist-info/METADATA", "Name: other\nVersion: 2.0\n")
        archive.writestr("tiny_lab-1.0.dist-info/METADATA", "\n".join(lines) + "\n\nA text.\n")
        archive.writestr("tiny/data.bin", bytes(range(256)) * 3)
    return path


def test_what_a_build_or_a_checkout_leaves_does_not_change_the_project(project: Path, tmp_path: Path) -> None:
    first = build_wheel.copy_project(project, tmp_path / "1")
    for name in ("build/lib/tiny", "src/tiny.egg-info", ".git", "src/tiny/__pycache__"):
        (project / name).mkdir(parents=True)
        (project / name / "old.py").write_text("x", encoding="utf-8")
    (project / "src/tiny/__init__.py").chmod(0o600)
    assert build_wheel.copy_project(project, tmp_path / "2") == first
    (project / "src/tiny/__init__.py").write_text("ANSWER = 43\n", encoding="utf-8")
    assert build_wheel.copy_project(project, tmp_path / "3") != first


def test_a_package_may_be_called_as_what_builds_leave(project: Path, tmp_path: Path) -> None:
    wanted = ["src/tiny/reports/__init__.py", "src/tiny/build/deep.py", "src/tiny/dist.py", "reports/__init__.py"]
    for name in (*wanted, "build/lib/old.py", "dist/tiny.whl", "venv/bin/python"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("x", encoding="utf-8")
    build_wheel.copy_project(project, tmp_path / "copy")
    copied = sorted(str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*") if path.is_file())
    assert copied == sorted([*wanted, "pyproject.toml", "src/tiny/__init__.py"])


def copied_of(project: Path, copy: Path) -> list[str]:
    """What of a project is copied beside what it has from the beginning."""
    build_wheel.copy_project(project, copy)
    return sorted({str(path.relative_to(copy)) for path in copy.rglob("*")} - {"pyproject.toml", "src", "src/tiny", "src/tiny/__init__.py"})


def test_links_of_a_project_are_followed_and_those_to_nothing_are_left_out(project: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/more.py").write_text("x", encoding="utf-8")
    for name, to in {"gone": "nowhere", "self": "self", "shared": "../../../shared", "more.py": "../../../shared/more.py"}.items():
        (project / "src/tiny" / name).symlink_to(to)
    assert copied_of(project, tmp_path / "copy") == ["src/tiny/more.py", "src/tiny/shared", "src/tiny/shared/more.py"]


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.com", *words], check=True, capture_output=True)


@pytest.mark.parametrize("below", [False, True])
def test_what_git_ignores_is_in_no_wheel(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: bool) -> None:
    (tmp_path / "shared").mkdir()
    for name in ("src/tiny/credentials.json", "src/tiny/new.csv", "src/tiny/kept.log", "src/tiny/gone.py", "data/all.parquet", "../shared/x.log", "sub/a.py"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("x", encoding="utf-8")
    (project / "src/tiny/shared").symlink_to("../../../shared")
    (project / ".gitignore").write_text("credentials.json\n/data/\n*.log\n", encoding="utf-8")
    (project / ".env").write_text("x", encoding="utf-8")
    top = tmp_path if below else project
    git(top, "init", "-q")
    git(project / "sub", "init", "-q")
    git(project, "add", "-f", "src/tiny/kept.log", "src/tiny/gone.py", "pyproject.toml")
    (project / "src/tiny/gone.py").unlink()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))  # as a hook sets it
    (top / ".git/config").write_text("[core]\nfsmonitor = false\nhooksPath = /nowhere\n", encoding="utf-8")
    wanted = [".gitignore", "src/tiny/kept.log", "src/tiny/new.csv", "src/tiny/shared", "src/tiny/shared/x.log", "sub", "sub/a.py"]
    assert copied_of(project, tmp_path / "copy") == wanted


NAMED = [
    "[tool.hatch.build.targets.wheel]\nartifacts = ['*.csv']\n",
    "[tool.hatch.build.targets.wheel.force-include]\n'src/tiny/x/wanted.csv' = 'tiny/a.csv'\n",
    "[tool.poetry]\ninclude = [{path = 'src/tiny/**/*.csv', format = 'wheel'}]\n",
    "[tool.setuptools.package-data]\ntiny = ['x/*.csv', '*']\n",
    "[tool.setuptools.package-data]\n'*' = ['*.csv', '**/*']\n",
]


@pytest.mark.parametrize("settings", NAMED)
def test_what_the_settings_of_a_project_name_is_in_its_wheel_though_git_ignores_it(project: Path, tmp_path: Path, settings: str) -> None:
    for name in ("src/tiny/x/wanted.csv", "src/tiny/x/credentials.json"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("x", encoding="utf-8")
    (project / "pyproject.toml").write_text(f"[project]\nname = 'tiny'\n{settings}", encoding="utf-8")
    (project / ".gitignore").write_text("*.csv\n*.json\n", encoding="utf-8")
    git(project, "init", "-q")
    assert copied_of(project, tmp_path / "copy") == [".gitignore", "src/tiny/x", "src/tiny/x/wanted.csv"]


def test_what_git_ignores_in_a_package_is_named_unless_the_wheel_has_it(project: Path, tmp_path: Path, wheel: Path) -> None:
    names = ("secret.json", "kept.csv", "data/x.csv", "__pycache__/a.pyc", "fast.so", "tracked.log")
    for name in (*(f"src/tiny/{name}" for name in names), "data/all.csv"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("x", encoding="utf-8")
    (project / ".gitignore").write_text("*.json\n*.csv\ndata/\n__pycache__\n*.so\n*.log\n", encoding="utf-8")
    assert build_wheel.left_behind(project, wheel) == []
    git(project, "init", "-q")
    git(project, "add", "-f", "src/tiny/tracked.log")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("tiny/kept.csv", "x")
    assert build_wheel.left_behind(project, wheel) == ["src/tiny/data", "src/tiny/secret.json"]
    assert build_wheel.left_behind(wheel, wheel) == []


def test_a_project_in_a_folder_that_git_ignores_is_copied_as_one_without_git(project: Path, tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*\n", encoding="utf-8")
    git(tmp_path, "init", "-q")
    assert copied_of(project, tmp_path / "copy") == []
    assert (tmp_path / "copy/src/tiny/__init__.py").is_file()


@pytest.mark.parametrize(("to", "copied"), [(".", []), ("../..", []), ("../../../one", ["src/tiny/link", "src/tiny/link/link"])])
def test_a_circle_of_links_ends(project: Path, tmp_path: Path, to: str, copied: list[str]) -> None:
    for one, other in (("one", "other"), ("other", "one")):
        (tmp_path / one).mkdir()
        (tmp_path / one / "link").symlink_to(f"../{other}")
    (project / "src/tiny/link").symlink_to(to)
    assert copied_of(project, tmp_path / "copy") == copied


def test_what_cannot_be_copied_is_one_sentence(project: Path, tmp_path: Path) -> None:
    os.mkfifo(project / "src/pipe")
    with pytest.raises(SystemExit, match=f"^package_index_publish names {project}, but {project}/src/pipe in it cannot be copied: .*is a named pipe.*[.]$"):
        build_wheel.main([str(tmp_path / "cache"), str(project)])


def test_a_project_that_did_not_change_is_not_built_again(project: Path, tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = []

    def build(copy: Path, folder: Path, variables: dict[str, str], _kept: Path) -> None:
        assert not variables
        builds.append(copy)
        folder.mkdir()
        (folder / wheel.name).write_bytes(wheel.read_bytes())

    monkeypatch.setattr(build_wheel, "build", build)
    first, second = (build_wheel.wheel_of(project, tmp_path / "cache") for _ in range(2))
    assert first == second and len(builds) == 1
    assert (first["name"], first["version"], first["filename"]) == ("Tiny.Lab", "1.0", wheel.name)
    assert Path(first["form"]).read_bytes() == build_wheel.form(wheel)


def test_what_builds_a_project_is_installed_once_a_day(project: Path, tmp_path: Path) -> None:
    """And what `build` says of a project that it cannot build is said as before."""
    system = "[build-system]\nrequires = ['flit_core==3.12.0']\nbuild-backend = 'flit_core.buildapi'\n"
    (project / "pyproject.toml").write_text(f"{system}[project]\nname = 'tiny'\nversion = '1.0'\ndescription = 'x'\n", encoding="utf-8")
    cache, one = tmp_path / "cache", project / "src/tiny/__init__.py"
    first = build_wheel.wheel_of(project, cache)
    (made,) = (cache / "tools").glob("*/complete")
    (made.parent / "mark").touch()
    one.write_text("ANSWER = 43\n", encoding="utf-8")
    second = build_wheel.wheel_of(project, cache)
    assert first["filename"] == second["filename"] and first["hashes"] != second["hashes"]
    assert [path.name for path in (cache / "tools").glob("*/mark")] == ["mark"], "it was made once"
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path / "by_build", project],
        env={**os.environ, "SOURCE_DATE_EPOCH": build_wheel.EPOCH},
        check=True,
    )
    by_build = hashlib.sha256((tmp_path / "by_build" / second["filename"]).read_bytes()).hexdigest()
    assert by_build == second["hashes"]["sha256"], "the wheel is the same"

    one.write_text("this is no Python\n", encoding="utf-8")
    (project / "pyproject.toml").write_text(f"{system}[project]\nname = 'tiny'\ndynamic = ['version', 'description']\n", encoding="utf-8")
    with pytest.raises(build_wheel.NoWheelError, match="its wheel could not be built:\n"):
        build_wheel.wheel_of(project, cache)


SCM = "[build-system]\nrequires = ['setuptools', 'setuptools_scm>=8; python_version > \"3\"']\n"
DYNAMIC = "[project]\nname = 'tiny.lab'\ndynamic = ['version']\n"
BY_GIT = {
    "SETUPTOOLS_SCM_PRETEND_VERSION": f"{SCM}{DYNAMIC}",
    "PDM_BUILD_SCM_VERSION": f"{DYNAMIC}[tool.pdm.version]\nsource = 'scm'\n",
    "POETRY_DYNAMIC_VERSIONING_BYPASS": "[tool.poetry]\nname = 'tiny.lab'\nversion = '0'\n[tool.poetry-dynamic-versioning]\nenable = true\n",
    "PBR_VERSION": f"[build-system]\nrequires = ['pbr']\n{DYNAMIC}",
    "UV_DYNAMIC_VERSIONING_BYPASS": f"{DYNAMIC}[tool.hatch.version]\nsource = 'uv-dynamic-versioning'\n",
}
BY_TAG: dict[str, tuple[dict[str, str], list[str]]] = {
    "versioneer": (
        {"setup.py": "import versioneer\nsetup(name='tiny.lab', version=versioneer.get_version())", "setup.cfg": "[versioneer]\ntag_prefix = 'rel-'\n"},
        ["rel-1.4.2"],
    ),
    "versioneer of today": (
        {"setup.py": "setup(version=versioneer.get_version())", "pyproject.toml": f"{DYNAMIC}[tool.versioneer]\ntag_prefix = ''\n"},
        ["1.4.2"],
    ),
    "versioningit": (
        {"pyproject.toml": f"[build-system]\nrequires = ['hatchling', 'versioningit']\n{DYNAMIC}[tool.hatch.version.tag2version]\nrmprefix = 'rel-'\n"},
        ["1.4.2", "rel-1.4.2", "v1.4.2"],
    ),
    "setuptools-git-versioning": (
        {"pyproject.toml": f"[build-system]\nrequires = ['setuptools', 'setuptools-git-versioning<3']\n{DYNAMIC}"},
        ["1.4.2", "v1.4.2"],
    ),
    "setuptools-git-versioning in setup.py": ({"setup.py": "setup(name='tiny.lab', setuptools_git_versioning={'enabled': True})"}, ["1.4.2", "v1.4.2"]),
}
WRITTEN = [  # which need no git
    f"{SCM}{DYNAMIC}[tool.setuptools.dynamic]\nversion = {{attr = 'tiny.VERSION'}}\n",
    f"{SCM}[project]\nname = 'tiny.lab'\nversion = '1.0'\n",
    f"{DYNAMIC}[tool.pdm.version]\nsource = 'file'\n",
    f"{DYNAMIC}[tool.hatch.version]\npath = 'src/tiny/__init__.py'\n",
    f"[build-system]\nrequires = ['setuptools-git-versioning']\n{DYNAMIC}[tool.setuptools.dynamic]\nversion = {{attr = 'tiny.VERSION'}}\n",
]


def test_a_version_that_comes_from_git_is_given_to_the_build(project: Path, tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds: list[dict[str, str]] = []

    def build(_copy: Path, folder: Path, variables: dict[str, str], _kept: Path) -> None:
        builds.append(variables)
        folder.mkdir()
        (folder / wheel.name).write_bytes(wheel.read_bytes())

    def built(*, again: bool = True) -> dict[str, str]:
        before = len(builds)
        build_wheel.wheel_of(project, tmp_path / "cache")
        assert (len(builds) > before) == again
        return builds[-1]

    monkeypatch.setattr(build_wheel, "build", build)
    declared = project / "pyproject.toml"
    declared.write_text(BY_GIT["SETUPTOOLS_SCM_PRETEND_VERSION"], encoding="utf-8")
    git(project, "init", "-q")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "All")
    git(project, "tag", "tiny-lab-1.4.2")
    assert built() == {"SETUPTOOLS_SCM_PRETEND_VERSION": "1.4.2"}
    assert built(again=False)
    git(project, "tag", "v1.5")
    assert built() == {"SETUPTOOLS_SCM_PRETEND_VERSION": "1.5"}
    for variable, text in BY_GIT.items():
        declared.write_text(text, encoding="utf-8")
        git(project, "commit", "--allow-empty", "-qam", variable)
        git(project, "tag", "-f", "v1.6")
        assert built() == {variable: "1.6"}
    gone = project / "src/tiny/gone.py"
    gone.touch()
    for place in (declared, gone, *project.rglob("src/**/*"), project / "src", project):
        os.utime(place, (978307200, 978307200))
    assert built() == {"UV_DYNAMIC_VERSIONING_BYPASS": "1.6.1.dev20010101000000"}
    gone.unlink()
    os.utime(gone.parent, (1009843200, 1009843200))
    (project / "src/tiny/__init__.py").unlink()
    os.utime(gone.parent, (1009843200, 1009843200))
    assert built() == {"UV_DYNAMIC_VERSIONING_BYPASS": "1.6.1.dev20020101000000"}, "a file that is gone is a change, too"


def test_a_tool_that_asks_git_for_the_files_of_a_package_finds_those_of_the_project(
    project: Path, tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []

    def build(copy: Path, folder: Path, _variables: dict[str, str], _kept: Path) -> None:
        for words in (["rev-parse", "HEAD"], ["ls-files"], ["status", "--porcelain"]):
            found.append(subprocess.run(["git", "-C", str(copy), *words], capture_output=True, text=True, check=True).stdout)
        folder.mkdir()
        (folder / wheel.name).write_bytes(wheel.read_bytes())

    monkeypatch.setattr(build_wheel, "build", build)
    (tmp_path / "home").mkdir()
    (tmp_path / "hooks").mkdir()
    hook = tmp_path / "hooks/pre-commit"
    hook.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    odd = f"[core]\nhooksPath = {tmp_path}/hooks\n[commit]\ngpgSign = true\n[init]\ntemplateDir = {tmp_path}/hooks\n[user]\nuseConfigOnly = true\n"
    (tmp_path / "home/.gitconfig").write_text(odd, encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_AUTHOR_DATE", "2001-01-01T00:00:00Z")
    (project / "pyproject.toml").write_text(f"{SCM}[project]\nname = 'tiny'\nversion = '1.0'\n", encoding="utf-8")
    (project / "src/tiny/rates.csv").write_text("x", encoding="utf-8")
    (project / ".gitignore").write_text("*.csv\n", encoding="utf-8")
    git(project, "init", "-q")
    git(project, "add", "-f", "src/tiny/rates.csv")
    for cache in ("one", "other"):
        build_wheel.wheel_of(project, tmp_path / cache)
    assert found[:3] == found[3:] and found[1:3] == [".gitignore\npyproject.toml\nsrc/tiny/__init__.py\nsrc/tiny/rates.csv\n", ""]
    assert [path.name for path in (tmp_path / "one").iterdir()] == [path.name for path in (tmp_path / "other").iterdir()]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build_wheel.NoWheelError, match=r"asks git for the project's files, and git init fails in a copy of it; is git there[?]$"):
        build_wheel.wheel_of(project, tmp_path / "one")


@pytest.mark.parametrize("tool", [*BY_TAG])
def test_a_tool_that_knows_no_variable_finds_the_version_as_a_tag(
    project: Path, tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    files, tags = BY_TAG[tool]
    found: list[list[str]] = []

    def build(copy: Path, folder: Path, variables: dict[str, str], _kept: Path) -> None:
        assert not variables
        (copy / "left.egg-info").touch()
        for words in (["tag", "--points-at", "HEAD"], ["status", "--porcelain"]):
            found.append(subprocess.run(["git", "-C", str(copy), *words], capture_output=True, text=True, check=True).stdout.split())
        folder.mkdir()
        (folder / wheel.name).write_bytes(wheel.read_bytes())

    monkeypatch.setattr(build_wheel, "build", build)
    (project / "pyproject.toml").unlink()
    for name, text in files.items():
        (project / name).write_text(text, encoding="utf-8")
    git(project, "init", "-q")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "All")
    git(project, "tag", "v1.4.2")
    build_wheel.wheel_of(project, tmp_path / "cache")
    assert found == [tags, []], "what the build leaves is no edit"
    git(project, "commit", "--allow-empty", "-qm", "More")
    build_wheel.wheel_of(project, tmp_path / "cache")
    assert len(found) == 4 and found[2][0].startswith(f"{tags[0].removesuffix('1.4.2')}1.4.3.dev20"), "the next version is another one"


@pytest.mark.parametrize("text", WRITTEN)
def test_a_version_that_is_written_needs_no_git(project: Path, tmp_path: Path, text: str) -> None:
    (project / "pyproject.toml").write_text(text, encoding="utf-8")
    assert build_wheel.by_git(project, project) == {}


def test_a_version_that_git_cannot_give_is_one_sentence(project: Path, tmp_path: Path) -> None:
    (project / "pyproject.toml").write_text(f"{DYNAMIC}[tool.hatch.version]\nsource = 'vcs'\n", encoding="utf-8")
    for content, words in ((None, "its version is to come from git: git status fails in "), ("[project", "its pyproject.toml cannot be read: ")):
        if content:
            (project / "pyproject.toml").write_text(content, encoding="utf-8")
        with pytest.raises(SystemExit) as stopped:
            build_wheel.main([str(tmp_path / "cache"), str(project)])
        assert str(stopped.value).startswith(f"package_index_publish names {project}, but {words}") and "\n" not in str(stopped.value)


def test_a_wheel_is_taken_as_it_is(tmp_path: Path, wheel: Path) -> None:
    found = build_wheel.wheel_of(wheel, tmp_path / "cache")
    assert (found["name"], found["version"], found["filename"]) == ("Tiny.Lab", "1.0", wheel.name)
    assert found["hashes"]["sha256"] == hashlib.sha256(wheel.read_bytes()).hexdigest() and Path(found["form"]).read_bytes() == build_wheel.form(wheel)
    assert build_wheel.wheel_of(wheel, tmp_path / "cache") == found


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("tiny_lab-1.0-py3-none-any.whl", b"text", "it is no wheel (File is not a zip file)."),
        ("tiny_lab.whl", None, "it is no wheel (Invalid wheel filename"),
        ("tiny_lab-2.0-py3-none-any.whl", None, "it is a wheel of tiny-lab 1.0 by what is in it, but its file name says tiny-lab 2.0."),
        ("gone-1.0-py3-none-any.whl", b"", "there is no such file."),
    ],
)
def test_a_file_that_is_no_wheel_is_named_in_one_sentence(tmp_path: Path, wheel: Path, name: str, content: bytes | None, words: str) -> None:
    given = tmp_path / "given" / name
    given.parent.mkdir()
    if content != b"":
        given.write_bytes(wheel.read_bytes() if content is None else content)
    with pytest.raises(SystemExit) as stopped:
        build_wheel.main([str(tmp_path / "cache"), str(given)])
    assert str(stopped.value).startswith(f"package_index_publish names {given}, but {words}") and "\n" not in str(stopped.value)
    assert not list((tmp_path / "cache").glob("*"))


def test_a_directory_that_is_no_project_is_named_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        build_wheel.main([str(tmp_path / "cache"), str(tmp_path)])
    assert str(stopped.value).startswith(f"package_index_publish names {tmp_path}, but ")
    assert str(stopped.value).count("\n") == 0


@pytest.mark.parametrize("files", [{"setup.py": "setup()"}, {"setup.cfg": "[metadata]\nname = tiny\n"}])
def test_a_project_of_before_pyproject_is_built(tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    seen: list[str] = []

    def build(copy: Path, folder: Path, _variables: dict[str, str], _kept: Path) -> None:
        seen.extend(sorted(path.name for path in copy.iterdir()))
        folder.mkdir()
        (folder / wheel.name).write_bytes(wheel.read_bytes())

    monkeypatch.setattr(build_wheel, "build", build)
    (tmp_path / "old").mkdir()
    for name, text in files.items():
        (tmp_path / "old" / name).write_text(text, encoding="utf-8")
    assert build_wheel.wheel_of(tmp_path / "old", tmp_path / "cache")["filename"] == wheel.name
    assert seen == (["setup.py"] if "setup.py" in files else ["pyproject.toml", "setup.cfg"]), "`build` takes no setup.cfg alone"


@pytest.mark.parametrize(
    ("old", "variables"),
    [
        ({"setup.py": "setup(use_scm_version=True)", "setup.cfg": "[metadata]\nname = tiny-old\n"}, {"SETUPTOOLS_SCM_PRETEND_VERSION": "1.5"}),
        ({"setup.py": "setup(use_scm_version=False)", "setup.cfg": "[metadata]\nversion = 1.0\n"}, {}),
        ({"setup.py": "setup(version='1')", "setup.cfg": "no section"}, {}),
        ({"setup.py": "setup(setup_requires=['pbr'], pbr=True)", "setup.cfg": "[metadata]\nname = tiny-old\nversion = 1.4\n"}, {"PBR_VERSION": "1.5"}),
    ],
)
def test_a_project_of_before_pyproject_may_take_its_version_from_git(tmp_path: Path, old: dict[str, str], variables: dict[str, str]) -> None:
    for name, text in old.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "All")
    git(tmp_path, "tag", "tiny-old-1.5")
    assert build_wheel.by_git(tmp_path, tmp_path) == variables


def test_a_workspace_is_no_package(tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("packages/one", "packages/two", "packages/three", "packages/empty"):
        (tmp_path / name).mkdir(parents=True)
        if name != "packages/empty":
            (tmp_path / name / "pyproject.toml").touch()
    declared = tmp_path / "pyproject.toml"
    declared.write_text("[tool.uv.workspace]\nmembers = ['packages/*', 'nowhere', '.', '', '/x']\nexclude = ['packages/three']\n", encoding="utf-8")
    with pytest.raises(build_wheel.NoWheelError, match=r"^it is a workspace, and no package itself: name one of its members, packages/one, packages/two[.]$"):
        build_wheel.wheel_of(tmp_path, tmp_path / "cache")

    def build(_copy: Path, folder: Path, _variables: dict[str, str], _kept: Path) -> None:
        folder.mkdir()
        with zipfile.ZipFile(folder / "unknown-0.0.0-py3-none-any.whl", "w") as archive:
            archive.writestr("unknown-0.0.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: UNKNOWN\nVersion: 0.0.0\n")

    monkeypatch.setattr(build_wheel, "build", build)
    declared.write_text("[tool.ruff]\n", encoding="utf-8")
    with pytest.raises(build_wheel.NoWheelError, match=r"^its settings say no name: write a section \[project\]"):
        build_wheel.wheel_of(tmp_path, tmp_path / "cache")
    assert not (tmp_path / "cache").exists(), "nothing that a second run would take"


def test_the_form_says_what_twine_would_say(wheel: Path) -> None:
    head = f"Content-Type: multipart/form-data; boundary={build_wheel.describe(wheel)['boundary']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=HTTP).parsebytes(head + build_wheel.form(wheel))
    fields: dict[str, list[Any]] = {}
    for part in message.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        fields.setdefault(name, []).append(part.get_payload(decode=True))
    assert fields[":action"] == [b"file_upload"] and fields["protocol_version"] == [b"1"]
    assert fields["name"] == [b"Tiny.Lab"] and fields["version"] == [b"1.0"] and fields["metadata_version"] == [b"2.4"]
    assert fields["filetype"] == [b"bdist_wheel"] and fields["pyversion"] == [b"py3"]
    assert fields["requires_dist"] == [b"six", b"attrs>1"] and fields["requires_python"] == [b">=3.9"]
    assert fields["sha256_digest"] == [build_wheel.describe(wheel)["hashes"]["sha256"].encode()]
    assert wheel.read_bytes() in build_wheel.form(wheel)


# -------------------------------------------------------------------- environments that ask for another version


def test_environments_that_ask_for_another_version_are_named_with_what_to_write(tmp_path: Path) -> None:
    folder = tmp_path / "environments"
    (folder / "project-churn").mkdir(parents=True)
    (folder / "same-project").mkdir()
    files = {
        "old.in": "# Ours\nchurn==0.1.0\n",
        "parts.txt": "Churn[fast]>=0.3 ; python_version > '3'\nchurn-more==0.1.0\n",
        "bare.in": "churn\npandas\n",
        "bare.lock": "churn-more==0.2.0\nchurn==0.1.0 \\\n    --hash=sha256:12\n",
        "unlocked.in": "churn\n",
        "range.toml": "[project]\ndependencies = ['churn>=0.1']\n",
        "range.lock": "churn==0.2.1\n",
        "itself.toml": "[build-system]\n[project]\nname = 'Churn'\nversion = '0.1.0'\n",
        "same.in": "churn==0.2\n",
        "same.lock": "churn==0.2.0\n",
        "other.in": "pandas==3.0\n",
        "wrong.in": "churn==\n",
        "twice.in": "churn==0.1.0\n",
        "twice.txt": "churn==0.1.0\n",
        "project-churn/pyproject.toml": "[project]\nname = 'churn'\nversion = '0.1.0'\n",
        "project-churn/uv.lock": "",
        "same-project/pyproject.toml": "[project]\nname = 'churn'\ndynamic = ['version']\n",
        "same-project/uv.lock": "",
        "same-project.lock": "churn==0.2.0\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    wheels = [{"name": "churn", "version": "0.2.0"}, {"name": "nothing", "version": "1"}]
    task = {"debug": {"msg": "{{ wheels | mlops.lab.other_versions(folder=folder) | join('\n') }}"}, "register": "result"}
    done = play(tmp_path, [{**task, "vars": {"wheels": wheels, "folder": str(folder)}}])
    assert done.result["msg"].splitlines() == [
        "churn 0.2.0 is in the index; environments/bare.in asks for churn without a version, and its lock has 0.1.0: write churn==0.2.0 there to use it.",
        "Churn 0.2.0 is in the index; environments/itself.toml asks for Churn==0.1.0: copy the project's pyproject.toml there to use it.",
        "churn 0.2.0 is in the index; environments/old.in asks for churn==0.1.0: write churn==0.2.0 there to use it.",
        'Churn 0.2.0 is in the index; environments/parts.txt asks for Churn[fast]>=0.3; python_version > "3": '
        'write Churn[fast]==0.2.0; python_version > "3" there to use it.',
        "churn 0.2.0 is in the index; environments/project-churn is of churn 0.1.0: copy the project's pyproject.toml and uv.lock there to use it.",
        "churn 0.2.0 is in the index; environments/range.toml asks for churn>=0.1, and its lock has 0.2.1: write churn==0.2.0 there to use it.",
    ]
    assert other_versions(wheels, str(tmp_path / "nowhere")) == []


# -------------------------------------------------------------------- sentences


def problem(reader: dict[str, Any], publisher: int = 404, **values: Any) -> str:
    """Return what the role says in a lab about an index that answers so."""
    answers = [{"reason": "", "content": "", **reader}, {"status": 401}, {"status": publisher}]
    if not values.get("package_index_url", "given"):
        del answers[1:]
    wiring = yaml.safe_load((ROOT / "playbooks/group_vars/all/package_index.yml").read_text(encoding="utf-8"))
    words = {name: wiring[name] for name in ("package_index_names", "package_index_trust_hint")}
    given = {"package_index_url": "https://nexus.example/repository/pypi-all/simple", **words, **values}
    variables = {"__package_index_answers": {"pages": answers}, **given}
    return str(templar(**variables).template(trust_as_template("{{ __package_index_problem }}"))).strip()


@pytest.mark.parametrize(
    ("reader", "publisher", "words"),
    [
        ({"status": 401}, 404, ["vault_nexus_user", "'reader'", "(401)", "ansible-vault edit"]),
        ({"status": 403}, 404, ["vault_nexus_user", "'reader'", "(403)"]),
        ({"status": 404}, 404, ["lab_index_url", "https://nexus.example/repository/pypi-all/simple/", "package_index_probe"]),
        ({"status": 503}, 404, ["lab_index_url", "503"]),
        ({"status": -1, "reason": "[Errno 111] Connection refused"}, 404, ["lab_index_url", "Connection refused."]),
        ({"status": -1, "reason": "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"}, 404, ["lab_ca_bundle", "lab_index_url"]),
        ({"status": 200, "content": "<html></html>"}, 404, ["no file of 'pip'", "lab_index_url"]),
        ({"status": 200, "content": "<a href="}, 401, ["vault_nexus_publisher_user", "'publisher'"]),
    ],
)
def test_one_sentence_says_what_is_wrong_where_it_was_set_and_what_to_write(reader: dict[str, Any], publisher: int, words: list[str]) -> None:
    sentence = problem(reader, publisher)
    assert [word for word in words if word not in sentence] == []
    assert sentence.endswith(".") and "\n" not in sentence
    assert PASSWORD not in sentence


@pytest.mark.parametrize("publisher", [200, 404])
def test_an_index_that_works_is_not_complained_about(publisher: int) -> None:
    assert problem({"status": 200, "content": '<a href="x">'}, publisher) == ""


def test_a_role_without_the_lab_s_wiring_names_its_own_variables() -> None:
    own = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))["package_index_names"]
    assert "package_index_user and package_index_password into" in problem({"status": 401}, package_index_names=own)


def test_publishing_without_an_address_for_uploads_is_said_before_anything_is_built() -> None:
    sentence = problem({"status": 200, "content": '<a href="x">'}, package_index_publish=["/x"])
    assert "lab_index_upload_url" in sentence and "package_index_publish" in sentence


def test_the_lab_s_own_index_without_the_public_one_is_explained() -> None:
    assert "package_index_upstream_url" in problem({"status": 404}, package_index_url="")
    assert problem({"status": 200}, package_index_url="") == ""


@pytest.mark.parametrize(("answer", "word"), [({"status": 500}, "500"), ({"status": -1, "reason": "timed out"}, "timed out")])
@pytest.mark.parametrize("index", ["", "https://nexus.example/repository/pypi-all/simple"])
def test_an_index_that_cannot_say_which_wheels_it_has_is_explained(answer: dict[str, Any], word: str, index: str) -> None:
    fine = [{"status": 200, "content": '<a href="x">', "reason": ""}, {"status": 401}, {"status": 404}]
    pages = [*fine[: 3 if index else 1], {"status": 404}, answer]
    variables = {"package_index_url": index, "package_index_upload_url": "https://nexus.example/up/", "__package_index_answers": {"pages": pages}}
    sentence = str(templar(**variables).template(trust_as_template("{{ __package_index_problem }}")))
    assert f"answers {word} to " in sentence and "publisher" in sentence


@pytest.mark.parametrize(("status", "reason"), [(401, ""), (403, ""), (404, ""), (500, ""), (-1, "refused"), (-1, "CERTIFICATE_VERIFY_FAILED")])
def test_preflight_and_the_role_have_the_same_words(status: int, reason: str) -> None:
    """But for the user, whom preflight does not show, the variable with the project, and where something is written."""
    about = {"variable": "lab_index_url", "url": "https://nexus.example/repository/pypi-all/simple/", "ca_variable": "lab_ca_bundle", "package": "pip"}
    about |= {"user_variable": "vault_nexus_user", "password_variable": "vault_nexus_pass"}
    (early,) = lab_preflight.index_problem({"status": status, "reason": reason}, about, lab_preflight.Inventory([]), "lab1")
    early = early.replace("in vault_nexus_user", "'reader'", 1).replace("preflight_index_package", "package_index_probe")
    early = early.replace(", set by a plugin of the inventory", "").replace(" in the inventory's vault", " into the vault (ansible-vault edit)")
    assert early == problem({"status": status, "reason": reason})


class Index(BaseHTTPRequestHandler):
    """An index of one page, for one user."""

    def do_GET(self) -> None:
        """Answer with one page to one user."""
        login = base64.b64encode(b"reader:reader-word").decode()
        status = 401 if self.headers["Authorization"] != f"Basic {login}" else 200 if self.path == "/simple/pip/" else 404
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"a page")

    def log_message(self, *_words: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Serve on a free port of the loopback, which is given."""
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def test_a_login_follows_a_redirect_to_the_same_place_alone() -> None:
    logins: list[tuple[str, str | None]] = []

    class Moved(Index):
        """Sends everybody to the address in the path."""

        def do_GET(self) -> None:
            """Note the login."""
            logins.append((self.path, self.headers["Authorization"]))
            if "?to=" not in self.path:
                return super().do_GET()
            self.send_response(302)
            self.send_header("Location", self.path.partition("?to=")[2])
            return self.end_headers()

    with serving(Moved) as one, serving(Moved) as other:
        page = f"http://127.0.0.1:{one}/simple/pip/"
        (stays,) = package_index.ask([f"{page}?to=/simple/pip/"], "reader", "reader-word")
        (goes,) = package_index.ask([f"{page}?to=http://127.0.0.1:{other}/simple/pip/"], "reader", "reader-word")
    assert (stays.status, stays.text, goes.status) == (200, "a page", 401)
    assert [bool(login) for _path, login in logins] == [True, True, True, False]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://a/x", "https://a/y", True),
        ("http://a:80/x", "https://a:443/y", True),
        ("https://a/x", "http://a/x", False),
        ("http://a:8081/x", "https://a/x", False),
        ("https://a/x", "https://b/x", False),
    ],
)
def test_which_addresses_are_of_one_place(one: str, other: str, same: bool) -> None:
    assert package_index.same_place(one, other) is same


def test_answers_keep_the_order_of_the_questions_and_none_is_an_error() -> None:
    with serving(Index) as port:
        simple = f"http://127.0.0.1:{port}/simple"
        pages = [f"{simple}/churn/", f"{simple}/pip/", "no address", "http://[::1/", "http://127.0.0.1:9/"] * 3
        answers = package_index.ask(pages, "reader", "reader-word")
        (unread,) = package_index.ask([pages[1]], "reader", "reader-word", read=False)
    assert [answer.status for answer in answers] == [404, 200, -1, -1, -1] * 3
    assert all(bool(answer.reason) == (answer.status == -1) for answer in answers)
    assert unread == package_index.Answer(200)


def test_pages_are_asked_for_as_each_user_and_no_password_is_shown(tmp_path: Path) -> None:
    with serving(Index) as port:
        simple = f"http://127.0.0.1:{port}/simple"
        logins = [
            {"user": "reader", "password": "reader-word", "pages": [f"{simple}/pip/", f"{simple}/churn/"]},
            {"pages": [f"{simple}/pip/"]},
            {"user": "publisher", "password": "planted-word", "pages": [f"{simple}/pip/", "http://127.0.0.1:9/simple/pip/"]},
        ]
        task = {"mlops.lab.index_pages": {"logins": "{{ logins }}"}, "vars": {"logins": logins}, "register": "result"}
        done = play(tmp_path, [task], "-vvvv", "--diff", ANSIBLE_DISPLAY_ARGS_TO_STDOUT="true")
    assert [(page["status"], page["content"]) for page in done.result["pages"]] == [(200, "a page"), (404, ""), (401, ""), (401, ""), (-1, "")]
    assert "Connection refused" in done.result["pages"][-1]["reason"]
    shown = done.output.split("TASK [copy]")[0]
    assert "index_pages" in shown and "reader-word" not in shown and "planted-word" not in shown


@pytest.mark.parametrize(
    ("page", "state"),
    [
        ("", "missing"),
        (None, "missing"),
        ('<a href="../../files/churn-0.1.0-py3-none-any.whl#sha256=ab12">churn-0.1.0-py3-none-any.whl</a>', "same"),
        ("<a href='/x/churn-0.1.0-py3-none-any.whl#md5=cd34'>churn</a>", "same"),
        ('<a href="/x/churn-0.1.0-py3-none-any.whl#sha256=ab13">churn</a>', "other"),
        ('<a href="/x/churn-0.1.0-py3-none-any.whl">churn</a>', "other"),
        ('<a href="/x/churn-0.1.0-py3-none-any.whl#blake2b=ab12">churn</a>', "other"),
        ('<a href="/x/churn-0.1.0-py3-none-any.whl.metadata#sha256=ab12">churn</a>', "missing"),
        ('<a href="/x/my_churn-0.1.0-py3-none-any.whl#sha256=ab12">churn</a>', "missing"),
        ('<a href="/x/churn-0x1.0-py3-none-any.whl#sha256=ab12">churn</a>', "missing"),
    ],
)
def test_a_wheel_is_found_on_a_page_by_name_and_digest(page: str | None, state: str) -> None:
    assert wheel_on_page([page, {"filename": "churn-0.1.0-py3-none-any.whl", "hashes": {"sha256": "ab12", "md5": "cd34"}}]) == state


class Refusing(Index):
    """An index that takes nothing."""

    def do_POST(self) -> None:
        """Answer to an upload with the status that is its path."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(int(self.path.strip("/")))
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_a_refused_upload_is_one_sentence(tmp_path: Path, wheel: Path) -> None:
    (tmp_path / "a.form").write_bytes(b"x")
    names = yaml.safe_load((ROOT / "playbooks/group_vars/all/package_index.yml").read_text(encoding="utf-8"))["package_index_names"]
    given = {"package_index_publisher_user": "publisher", "package_index_publisher_password": "planted-word", "package_index_names": names}
    given["__package_index_wheel"] = {"filename": wheel.name, "form": str(tmp_path / "a.form"), "boundary": "x"}
    role = {"name": "mlops.lab.package_index", "tasks_from": "upload"}
    sentences = []
    with serving(Refusing) as port:
        for address in (f"http://127.0.0.1:{port}/401", f"http://127.0.0.1:{port}/503", "http://127.0.0.1:9/"):
            done = play(tmp_path, [{"include_role": role}], "-e", json.dumps({**given, "__package_index_upload": address}))
            assert done.returncode and "planted-word" not in done.output
            sentences.append(re.findall(r"http://\S+ (?:answered|gave)[^\"]*", done.output)[-1])
    by = f"to the upload of {wheel.name} by 'publisher': "
    assert f" answered 401 {by}the password is not right, write the right {names['publisher_user']} and" in sentences[0]
    assert sentences[1].endswith(f" answered 503 {by}this is no answer to an upload, read why in the index's own log.")
    assert f" gave no answer {by}" in sentences[2] and "Connection refused" in sentences[2]
    assert (
        sentences[2].endswith(f"; start the index, or write the address that takes uploads into {names['upload_url']}.") and "Status code" not in sentences[2]
    )
