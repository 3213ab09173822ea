#!/usr/bin/env python3
"""Version, build, test and publish the wheel of any project, from the commit that is checked out.

Usage: ``publish_wheel.py check|build|test|upload PROJECT FOLDER``; PROJECT is a directory with a ``pyproject.toml`` in a git repository, FOLDER
takes what is made: the wheel, ``project.txt`` (``name==version``) and ``junit.xml``. The index is NEXUS_URL, its account NEXUS_USER and
NEXUS_PASS, from the environment; without NEXUS_URL packages come from where pip is set up to take them from.

- The version is that of the git tag on the commit, or a development version (`git_version.py` of role `package_index`).
- The wheel is made of the commit alone, and its bytes depend on nothing else: the same commit gives the same file, here and in the lab.
- What the index has already is never replaced: the same content is no error, another one is.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import tomlkit
from packaging.utils import canonicalize_name
from packaging.version import Version

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "roles/package_index/files"))
sys.path.append(str(Path(__file__).resolve().parent.parent / "plugins/module_utils"))
import build_wheel  # the lab builds its own projects with it: the same files give the same bytes
import git_version
import package_index  # the lab asks its index with it, and has the same words for what that answers

from jenkins_index import GROUP, HOSTED, Wrong, wrong_url

# Extras and dependency groups that name what tests need, the first that is there
TESTS = ("test", "tests", "testing", "dev")
# Seconds that an index may take until it shows what it was given
PATIENCE = 60


def settings(project: Path) -> dict[str, Any]:
    """Return the pyproject.toml of a project that can be published."""
    path = project / "pyproject.toml"
    if not path.is_file():
        raise Wrong(f"There is no {path}: write the directory of the project into PROJECT_DIR.")
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise Wrong(f"{path} cannot be read: {error}") from None
    if not found.get("project", {}).get("name"):
        raise Wrong(f"{path} has no [project] with a name: describe the project there (PEP 621), so that it can be versioned.")
    return found


def version_of(project: Path, declared: dict[str, Any]) -> Version:
    """Return the version of the commit that is checked out."""
    fields = declared["project"]
    try:  # Jenkins says which tag it builds
        return git_version.version_of(project, str(fields["name"]), str(fields.get("version") or ""), os.environ.get("TAG_NAME", ""))
    except git_version.NoVersionError as error:
        raise Wrong(str(error)) from None


def export(project: Path, to: Path) -> Path:
    """Write the files of the commit, and no others, to a directory of the project's name in `to`; return it."""
    copy = to / project.resolve().name
    archive = subprocess.run(["git", "-C", str(project), "archive", "--format=tar", "HEAD", "."], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        # Python 3.11.2, which is Debian 12's, knows no filter and looks at no such attribute; the archive is git's own, of a commit whose code runs anyway
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(copy)
    return copy


def set_version(pyproject: Path, version: Version) -> None:
    """Write a version into a pyproject.toml, whatever its build backend would have taken it from."""
    document: Any = tomlkit.parse(pyproject.read_text(encoding="utf-8"))
    project = document["project"]
    if "version" in project and Version(str(project["version"])) == version:
        return
    project["version"] = str(version)
    if "dynamic" in project:
        project["dynamic"] = [field for field in project["dynamic"] if field != "version"]
    pyproject.write_text(tomlkit.dumps(document), encoding="utf-8")


@contextlib.contextmanager
def index_settings() -> Iterator[None]:
    """Let pip take everything from the one index: its account lies in a netrc file that only its owner can read, and that is gone afterwards."""
    url = os.environ.get("NEXUS_URL", "")
    if not url:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="mlops-lab-") as folder:
        netrc = Path(folder, "netrc")
        netrc.touch(mode=0o600)
        user, password = (re.sub(r'(["\\])', r"\\\1", os.environ[name]) for name in ("NEXUS_USER", "NEXUS_PASS"))
        netrc.write_text(f'machine {urlsplit(url).hostname} login "{user}" password "{password}"\n', encoding="utf-8")
        os.environ |= {"NETRC": str(netrc), "PIP_INDEX_URL": base() + GROUP, "PIP_TRUSTED_HOST": str(urlsplit(url).hostname) if url.startswith("http:") else ""}
        yield


def base() -> str:
    """Return the address of the Nexus without its repositories."""
    return os.environ["NEXUS_URL"].partition("/repository/")[0].rstrip("/")


def check(project: Path, folder: Path) -> None:
    """Judge the parameters and the project; say what would be published."""
    url = os.environ.get("NEXUS_URL", "")
    if not url:
        raise Wrong("NEXUS_URL is empty: write the address of the index that takes the wheel, as in https://nexus.example.org.")
    if problem := wrong_url("NEXUS_URL", url):
        raise Wrong(problem)
    if not os.environ.get("NEXUS_USER"):
        raise Wrong("NEXUS_CREDS_ID is empty: write the id of the credential (user name and password) that uploads.")
    declared = settings(project)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{canonicalize_name(declared['project']['name'])}=={version_of(project, declared)}"
    (folder / "project.txt").write_text(name + "\n", encoding="utf-8")
    print(name)


def build(project: Path, folder: Path) -> None:
    """Build the wheel of the commit into `folder`."""
    declared = settings(project)
    for old in folder.glob("*.whl"):
        old.unlink()
    with tempfile.TemporaryDirectory(prefix="mlops-lab-") as name, index_settings():
        copy = export(project, Path(name))
        set_version(copy / "pyproject.toml", version_of(project, declared))
        cache = Path(name, "cache")
        try:
            made = build_wheel.wheel_of(copy, cache)
        except build_wheel.NoWheelError as error:
            raise Wrong(f"{project}: {error}") from None
        wheel = next(cache.rglob("*.whl"))
        (folder / wheel.name).write_bytes(wheel.read_bytes())
    expected = (folder / "project.txt").read_text(encoding="utf-8").strip()
    if f"{canonicalize_name(made['name'])}=={Version(made['version'])}" != expected:
        raise Wrong(f"The build backend of {project} made {made['name']} {made['version']}, not {expected}: let it take the version from [project].")
    print(json.dumps({"wheel": made["filename"], "sha256": made["hashes"]["sha256"]}))


def what_tests_need(declared: dict[str, Any], wheel: Path) -> list[str]:
    """Return pip's arguments: the wheel with its extra for tests, or a dependency group."""
    extras = declared["project"].get("optional-dependencies", {})
    for name in TESTS:
        if name in extras:
            return [f"{wheel}[{name}]"]
        if name in declared.get("dependency-groups", {}):
            return [str(wheel), "--group", name]
    return [str(wheel)]


def test(project: Path, folder: Path) -> None:
    """Run the project's own tests against the wheel, in an environment that holds nothing else."""
    declared, wheel = settings(project), next(folder.glob("*.whl"))
    with tempfile.TemporaryDirectory(prefix="mlops-lab-") as name, index_settings():
        copy, environment = export(project, Path(name)), Path(name, "environment")
        python = environment / "bin/python"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
        installed = subprocess.run([*pip, *what_tests_need(declared, wheel.resolve()), "pytest"], cwd=copy, check=False)
        if installed.returncode:
            raise Wrong(f"{wheel.name} cannot be installed with what its tests need; pip says above why.")
        command = [str(environment / "bin/pytest"), "-q", "-p", "no:cacheprovider", f"--junitxml={(folder / 'junit.xml').resolve()}"]
        code = subprocess.run(command, cwd=copy, check=False).returncode
    if code == 5:  # pytest's own
        print(f"{declared['project']['name']} has no tests: nothing was tested.")
    elif code:
        raise Wrong(f"The tests of {declared['project']['name']} fail on {wheel.name}.")


class Links(HTMLParser):
    """The links of a page of a simple index (PEP 503)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Take the target of a link."""
        self.found += [value for name, value in attributes if tag == "a" and name == "href" and value]


def ask(url: str) -> bytes:
    """Return what the index answers to its publisher; nothing when there is no such page."""
    (answer,) = package_index.ask([url], os.environ["NEXUS_USER"], os.environ["NEXUS_PASS"])
    if answer.status in (200, 404):
        return answer.body or b""
    account = package_index.Account(f"'{os.environ['NEXUS_USER']}'", "choose the right credential in NEXUS_CREDS_ID", "choose another credential there")
    trust = "add the authority that signed it to this machine's trust store"
    raise Wrong(package_index.index_problem(answer, package_index.Index(url, "NEXUS_URL", "This agent", account, "", "", trust, empty="")))


def is_there(wheel: Path, repository: str) -> bool:
    """Tell whether a repository has the wheel.

    Raises:
        Wrong: it has another file of this name.
    """
    page = f"{base()}{repository}{canonicalize_name(wheel.name.split('-')[0])}/"
    links = Links()
    links.feed(ask(page).decode())
    for link in links.found:
        if urlsplit(link).path.rpartition("/")[2] == wheel.name:
            kind, _, told = urlsplit(link).fragment.partition("=")
            if kind not in ("sha256", "md5", "sha1"):  # no hash on the page: the file itself
                kind, told = "sha256", hashlib.sha256(ask(urljoin(page, link))).hexdigest()
            if hashlib.new(kind, wheel.read_bytes()).hexdigest() != told:
                raise Wrong(
                    f"The index has {wheel.name} already, with another content than this commit gives: tag another version (or, if the files did not "
                    "change, pin the build backend in pyproject.toml: another release of it gives another wheel)."
                )
            return True
    return False


def upload(project: Path, folder: Path) -> None:
    """Upload the wheel unless the index has it, and wait until it can be installed."""
    wheel = next(folder.glob("*.whl"))
    if is_there(wheel, HOSTED + "simple/"):
        print(f"The index has {wheel.name} already, with the same content.")
        return
    command = [sys.executable, "-m", "twine", "upload", "--non-interactive", "--disable-progress-bar", "--repository-url", base() + HOSTED, str(wheel)]
    environment = {**os.environ, "TWINE_USERNAME": os.environ["NEXUS_USER"], "TWINE_PASSWORD": os.environ["NEXUS_PASS"]}
    if subprocess.run(command, env=environment, check=False).returncode:
        raise Wrong(f"{base()}{HOSTED} did not take {wheel.name} from '{os.environ['NEXUS_USER']}'; twine says above why.")
    until = time.monotonic() + PATIENCE
    while not is_there(wheel, GROUP):
        if time.monotonic() > until:
            raise Wrong(f"{wheel.name} is uploaded, but {base()}{GROUP} does not show it: see there whether the group holds the repository.")
        time.sleep(1)
    print(f"{wheel.name} is published.")


def main(arguments: list[str]) -> int:
    """Run as in the module's docstring."""
    verbs = {"check": check, "build": build, "test": test, "upload": upload}
    try:
        verbs[arguments[0]](Path(arguments[1]), Path(arguments[2]))
    except Wrong as wrong:
        print(wrong, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
