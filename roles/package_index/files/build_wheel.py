# Copyright 2026 the mlops.lab authors
# SPDX-License-Identifier: Apache-2.0
"""Build projects' wheels on the control node, reproducibly and only when a project changed. A project may be a wheel already.

Usage: build_wheel.py CACHE PROJECT [PROJECT ...]
Builds the wheels, or finds them in the cache, and prints what each is as a list in JSON. Beside a wheel lies the form that uploads it, as twine
would send it. Exits with 1 and one sentence on standard error when a project gives no wheel.
"""

from __future__ import annotations

import configparser
import contextlib
import datetime
import email.parser
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from email.message import Message
from functools import partial
from pathlib import Path
from typing import Any

import git_version
from build import BuildBackendException, BuildException, ProjectBuilder
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

# The time stamp (1980-01-01, in seconds) of all files in a wheel: the first that a zip archive can hold.
EPOCH = "315532800"
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.pyc", "*.egg-info", "node_modules")
# What build tools read all the same: which files are left out of a wheel.
READ = {".gitignore", ".gitattributes"}
# What tools leave beside pyproject.toml; deeper, a package may be called so.
LEFT_OUT_BESIDE = {"build", "dist", "reports", "venv"}
# Tools that ask git which files belong to the package.
ASK_GIT = {"setuptools-scm", "setuptools-git", "hatch-vcs", "pdm-backend", "pbr"}
# What makes a folder a project.
DECLARED = ("pyproject.toml", "setup.py", "setup.cfg")
# Metadata fields that may occur more than once: name in the wheel -> name in the form.
LISTS = {"Classifier": "classifiers", "Requires-Dist": "requires_dist", "Project-URL": "project_urls", "Provides-Extra": "provides_extra"}
# How a setup.py has the tools that its project need not name elsewhere.
IN_SETUP = {
    "setuptools-scm": r"use_scm_version",
    "pbr": r"\bpbr\s*=\s*True",
    "versioneer": r"\bversioneer\.get_version",  # which lies in the project
    "setuptools-git-versioning": r"\b(setuptools_git_versioning|version_config)\s*=",
}
# Tools that take the version from git, which a copy is not: what the pyproject.toml of such a project has, and the variable that gives the version to the tool;
# nothing where there is none, so that it has to find a tag.
BY_GIT: dict[str, tuple[Callable[[set[str], Any], bool], str]] = {
    "setuptools-scm": (lambda needs, tool: "setuptools-scm" in needs and not at(tool, "setuptools.dynamic.version"), "SETUPTOOLS_SCM_PRETEND_VERSION"),
    "hatch-vcs": (lambda _needs, tool: at(tool, "hatch.version.source") == "vcs", "SETUPTOOLS_SCM_PRETEND_VERSION"),
    "uv-dynamic-versioning": (lambda _needs, tool: at(tool, "hatch.version.source") == "uv-dynamic-versioning", "UV_DYNAMIC_VERSIONING_BYPASS"),
    "pdm-backend": (lambda _needs, tool: at(tool, "pdm.version.source") == "scm", "PDM_BUILD_SCM_VERSION"),
    "poetry-dynamic-versioning": (lambda _needs, tool: at(tool, "poetry-dynamic-versioning.enable") is True, "POETRY_DYNAMIC_VERSIONING_BYPASS"),
    "pbr": (lambda needs, _tool: "pbr" in needs, "PBR_VERSION"),
    "versioneer": (lambda needs, _tool: "versioneer" in needs, ""),
    "versioningit": (lambda needs, _tool: "versioningit" in needs, ""),
    "setuptools-git-versioning": (lambda needs, tool: "setuptools-git-versioning" in needs and not at(tool, "setuptools.dynamic.version"), ""),
}
TEXTS = ("Metadata-Version", "Name", "Version", "Summary", "Requires-Python", "Author", "Author-email", "License-Expression", "Keywords")


class NoWheelError(Exception):
    """A project that gives no wheel; the text is one sentence for the operator."""


NOBODY = {f"GIT_{who}_{what}": f"{EPOCH} +0000" if what == "DATE" else "mlops.lab" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL", "DATE")}
"""Who commits, and when, in the variables of git: the same everywhere, so that what is built is the same."""


def run_git(folder: Path, *arguments: str) -> str | None:
    """Return what git says in a folder, whatever a user's settings and hooks are; None when it fails, or is not there."""
    around = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # a hook's GIT_DIR names another repository
    if arguments[0] != "ls-files":  # which has to know what a user ignores in all projects
        around |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "HOME": os.devnull, "XDG_CONFIG_HOME": os.devnull} | NOBODY
    # a project of somebody else's is read like one's own: its build runs its code anyway
    settings = [part for setting in ("core.hooksPath=/dev/null", "core.fsmonitor=false", "safe.directory=*") for part in ("-c", setting)]
    with contextlib.suppress(OSError):
        done = subprocess.run(["git", "-C", str(folder), *settings, *arguments], env=around, capture_output=True, check=False)
        if done.returncode == 0:
            return os.fsdecode(done.stdout)
    return None


def listed(project: Path) -> set[Path] | None:
    """Return the paths in a project that belong to it by git, with the directories above them; None for a project outside a work tree.

    What git ignores may be a secret, or data of any size: only what the project's settings name for the wheel belongs to it.
    """

    def paths(folder: Path, *options: str) -> set[Path]:
        said = run_git(project / folder, "ls-files", "-z", *options)
        return {folder / name for name in (said or "").split("\0") if name}

    found = paths(Path(), "--cached", "--others", "--exclude-standard")
    if not found & {Path(name) for name in DECLARED}:  # the folder may be one that a repository above it ignores
        return None
    for inner in [path for path in found if (project / path).is_dir() and not (project / path).is_symlink()]:  # repositories within this one
        found |= paths(inner, "--cached", "--others", "--exclude-standard")
    if patterns := named(project):
        found |= paths(Path(), "--others", "--ignored", *(f"--exclude={pattern}" for pattern in patterns))
    return found | {above for path in found for above in path.parents}


def named(project: Path) -> list[str]:
    """Return what the settings of build backends name for the wheel though git may ignore it, as patterns of git."""
    try:
        tool = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8")).get("tool", {})
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):  # which has its sentence where the version is looked for
        return []

    def found(path: str, kind: type) -> Any:
        return value if isinstance(value := at(tool, path), kind) else kind()

    patterns = list[Any]()
    for place in ("hatch.build", "hatch.build.targets.wheel"):
        patterns += found(f"{place}.artifacts", list)
        patterns += [f"/{path}" for path in found(f"{place}.force-include", dict)]
    patterns += [f"/{entry.get('path') if isinstance(entry, dict) else entry}" for entry in found("poetry.include", list)]
    for package, files in found("setuptools.package-data", dict).items():
        within = "" if package == "*" else f"{package.replace('.', '/')}/"
        # one for every file names none
        patterns += [f"**/{within}{pattern}" for pattern in files if re.search(r"[^*/.?]", str(pattern))] if isinstance(files, list) else []
    return [pattern for pattern in patterns if isinstance(pattern, str)]


def copy_project(project: Path, copy: Path) -> str:
    """Copy what belongs to a project, with the same modes everywhere, and return the SHA-256 of it.

    A copy, since build backends leave files in the project and take old ones from there into the wheel. What git ignores stays behind.
    What links lead to is copied, but for links to nothing, and to a directory that they are in, which would not end.

    Raises:
        NoWheelError: something in it cannot be read, or is neither a file nor a directory.
    """
    wanted = listed(project)

    def ignored(path: Path) -> bool:
        inside = path.relative_to(project)
        return wanted is not None and inside not in wanted and not any((project / above).is_symlink() for above in inside.parents)

    def left_out(directory: str, names: list[str]) -> set[str]:
        here = Path(directory)
        beside = {name for name in LEFT_OUT_BESIDE if not (here / name / "__init__.py").exists()} if here == project else set[str]()
        above = {os.path.realpath(path) for path in (here, *here.parents, *here.resolve().parents)}
        links = [here / name for name in names if (here / name).is_symlink()]
        # not copytree's ignore_dangling_symlinks, which looks for relative links in the working directory
        endless = {link.name for link in links if not link.exists() or os.path.realpath(link) in above}
        return (LEFT_OUT(directory, names) - READ) | beside | endless | {name for name in names if ignored(here / name)}

    try:
        shutil.copytree(project, copy, ignore=left_out)
    except OSError as error:
        path, _copy, reason = error.args[0][0] if isinstance(error, shutil.Error) else (error.filename, "", error.strerror)
        raise NoWheelError(f"{path} in it cannot be copied: {reason}.") from None
    digest = hashlib.sha256(EPOCH.encode())
    for path in sorted(copy.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
            continue
        path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        digest.update(f"{path.relative_to(copy)}\0{path.stat().st_mode:o}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as content:
            while part := content.read(2**20):
                digest.update(part)
    return digest.hexdigest()


def at(table: Any, path: str) -> Any:
    """Return what a table of TOML has at a path, None for nothing."""
    for key in path.split("."):
        table = table.get(key) if isinstance(table, dict) else None
    return table


def declared_in(copy: Path) -> dict[str, Any]:
    """Return the pyproject.toml of a project; empty for one that has setup.py or setup.cfg alone.

    Raises:
        NoWheelError: it cannot be read.
    """
    try:
        return tomllib.loads((copy / "pyproject.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise NoWheelError(f"its pyproject.toml cannot be read: {error}.") from None


def setup_cfg(copy: Path) -> configparser.ConfigParser:
    """Return the setup.cfg of a project; empty where there is none that can be read, which the build says."""
    found = configparser.ConfigParser(interpolation=None)
    with contextlib.suppress(configparser.Error, UnicodeDecodeError):
        found.read(copy / "setup.cfg", encoding="utf-8")
    return found


def needed_by(copy: Path) -> set[str]:
    """Return the names of the packages that build a project.

    Raises:
        NoWheelError: its pyproject.toml cannot be read.
    """
    needed = set[str]()
    for line in at(declared_in(copy), "build-system.requires") or []:
        with contextlib.suppress(InvalidRequirement):
            needed.add(canonicalize_name(Requirement(line).name))
    with contextlib.suppress(OSError):  # the way of before pyproject.toml
        text = (copy / "setup.py").read_text(encoding="utf-8", errors="replace")
        needed |= {tool for tool, words in IN_SETUP.items() if re.search(words, text)}
    return needed


def members_of(project: Path) -> list[str]:
    """Return the folders of the packages in a workspace of uv, from its folder on; none where it is no workspace, or a package itself."""
    declared = declared_in(project)
    found, left_out = at(declared, "tool.uv.workspace.members"), at(declared, "tool.uv.workspace.exclude") or []
    if not isinstance(found, list) or "project" in declared:
        return []
    folders, others = (
        {path for pattern in map(str, patterns) if pattern.strip("./") for path in project.glob(pattern.lstrip("/"))} for patterns in (found, left_out)
    )
    return sorted(str(path.relative_to(project)) for path in folders - others if (path / "pyproject.toml").is_file())


def make_repository(copy: Path, tags: list[str]) -> None:
    """Make the copy a git repository, always the same one, for tools that ask git which files belong to a package, or for its version.

    Raises:
        NoWheelError: git fails, or is not there.
    """
    commands = [["init", "-q", "--template="], ["add", "-A", "--force"], ["commit", "-q", "--allow-empty", "--no-gpg-sign", "-m", "All"]]
    for arguments in (*commands, *(["tag", tag] for tag in tags)):
        if run_git(copy, *arguments) is None:
            raise NoWheelError(f"the tool that builds it asks git for the project's files, and git {arguments[0]} fails in a copy of it; is git there?")
    (copy / ".git/info").mkdir(exist_ok=True)
    (copy / ".git/info/exclude").write_text("*\n", encoding="utf-8")  # what the build leaves is no edit, which would have a version of its own


def tags_of(copy: Path, version: str) -> list[str]:
    """Return the tags by which a project's tool finds a version: with the prefix that the tool is told, or else as they are usual."""
    declared = declared_in(copy)
    if "versioneer" in needed_by(copy):  # without a prefix it would take the v for a part of the version
        prefix = at(declared, "tool.versioneer.tag_prefix") or setup_cfg(copy).get("versioneer", "tag_prefix", fallback="").strip("'\"")
        return [f"{prefix}{version}"]
    prefixes = (at(declared, f"tool.{place}.tag2version.rmprefix") for place in ("versioningit", "hatch.version"))
    return list(dict.fromkeys(f"{prefix}{version}" for prefix in ("", "v", *prefixes) if isinstance(prefix, str)))


def by_git(project: Path, copy: Path) -> dict[str, str]:
    """Return the variable with the version of a project that takes it from git; nothing for another project.

    The variable has no name where the tool knows none, and has to find the version as a tag.

    Raises:
        NoWheelError: git gives none.
    """
    declared, needed = declared_in(copy), needed_by(copy)
    tool, fields = declared.get("tool", {}), declared.get("project", {})
    by, variable = next(((by, variable) for by, (does, variable) in BY_GIT.items() if does(needed, tool)), ("", ""))
    settings = setup_cfg(copy)
    written = settings.get("metadata", "version", fallback="")
    name = str(fields.get("name") or at(tool, "poetry.name") or settings.get("metadata", "name", fallback=""))
    if not by or "version" in fields or (written and by != "pbr"):  # which takes a written version for the next one
        return {}
    try:
        dirty = git_version.git(project, "status", "--porcelain", "--", ".")
        changed = max(path.stat().st_mtime for path in (copy, *copy.rglob("*"))) if dirty else None  # that of a directory is new when a file is gone
        return {variable: str(git_version.version_of(project, name, written, changed=changed))}
    except (git_version.NoVersionError, InvalidVersion) as error:
        raise NoWheelError(f"its version is to come from git: {error}") from None


def tools(needed: Iterable[str], folder: Path) -> Path:
    """Return the Python of an environment with what builds a project, made once a day: making it takes longer than most wheels, and another edit comes soon.

    Raises:
        CalledProcessError: it could not be made.
    """
    lines = sorted(needed)
    place = folder / hashlib.sha256(json.dumps([sys.version, str(datetime.date.today()), *lines]).encode()).hexdigest()[:16]
    python = place / "bin/python"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "complete").exists():
            for other in folder.glob("[0-9a-f]*"):
                if other == place or other.stat().st_mtime < time.time() - 2 * 86400:
                    shutil.rmtree(other)
            venv.create(place, symlinks=True)
            install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check", *lines]
            if lines:
                subprocess.run(install, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            (place / "complete").touch()
    return python


def build_with_kept_tools(copy: Path, folder: Path, variables: dict[str, str], kept: Path) -> bool:
    """Build the wheel of `copy` as `build` does, with tools that are kept; tell whether that went well."""

    def run(cmd: Sequence[str], cwd: str | None = None, extra_environ: Mapping[str, str] | None = None) -> None:
        path = f"{Path(cmd[0]).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        subprocess.run(cmd, cwd=cwd, env={**os.environ, **variables, **(extra_environ or {}), "PATH": path}, capture_output=True, check=True)

    try:
        needed = ProjectBuilder(copy).build_system_requires
        builder = ProjectBuilder(copy, str(tools(needed, kept)), run)
        if more := builder.get_requires_for_build("wheel"):
            builder = ProjectBuilder(copy, str(tools(needed | more, kept)), run)
        builder.build("wheel", folder)
    except (BuildException, BuildBackendException, subprocess.CalledProcessError, OSError):
        shutil.rmtree(folder, ignore_errors=True)
        return False
    return True


def build(copy: Path, folder: Path, variables: dict[str, str], kept: Path) -> None:
    """Build the wheel of `copy` into `folder` with the backend that the project names, which is given environment variables; tools are kept in `kept`."""
    variables = {"SOURCE_DATE_EPOCH": EPOCH, **variables}
    if build_with_kept_tools(copy, folder, variables, kept):
        return
    # Once more, in the way whose words are known
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(copy)]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        output = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise NoWheelError("its wheel could not be built:\n" + "\n".join(output[-15:]))


def metadata(wheel: Path) -> Message:
    """Return the METADATA of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1)
        return email.parser.Parser().parsestr(archive.read(name).decode())


def boundary(wheel: Path) -> str:
    """Return the line that separates the parts of the form; it follows from the content, so it does not occur in it."""
    return f"mlops-lab-{hashlib.sha256(wheel.read_bytes()).hexdigest()}"


def describe(wheel: Path) -> dict[str, Any]:
    """Return name, version, the name of its page in an index, file name, hashes, and the path and boundary of the upload form of a wheel."""
    content, fields = wheel.read_bytes(), metadata(wheel)
    return {
        "name": fields["Name"],
        "version": fields["Version"],
        "page": re.sub("[-_.]+", "-", fields["Name"].lower()),
        "filename": wheel.name,
        "hashes": {kind: hashlib.new(kind, content).hexdigest() for kind in ("sha256", "md5", "sha1")},
        "form": str(wheel.with_suffix(".form")),
        "boundary": boundary(wheel),
    }


def take(wheel: Path, folder: Path) -> None:
    """Copy a wheel that is there already into `folder`.

    Raises:
        NoWheelError: it is none, or its name says another package or version than what is in it.
    """
    try:
        named = parse_wheel_filename(wheel.name)[:2]
        fields = metadata(wheel)
        inside = canonicalize_name(fields["Name"] or ""), Version(fields["Version"] or "")
    except (InvalidWheelFilename, InvalidVersion, zipfile.BadZipFile, UnicodeDecodeError, OSError) as error:
        raise NoWheelError(f"it is no wheel ({error}).") from None
    except StopIteration:
        raise NoWheelError("it is no wheel (it has no METADATA).") from None
    if inside != named:
        raise NoWheelError(f"it is a wheel of {inside[0]} {inside[1]} by what is in it, but its file name says {named[0]} {named[1]}.")
    folder.mkdir()
    shutil.copyfile(wheel, folder / wheel.name)


def wheel_of(project: Path, cache: Path) -> dict[str, Any]:
    """Return the description of a project's wheel, built now unless the cache has one of the same content.

    Raises:
        NoWheelError: there is neither a project nor a wheel, or the build failed.
    """
    with tempfile.TemporaryDirectory(prefix="mlops-lab-") as name:
        copy, built = Path(name, project.name), Path(name, "built")
        if project.suffix == ".whl":
            if not project.is_file():
                raise NoWheelError("there is no such file.")
            make, digest = partial(take, project, built), hashlib.sha256(f"{project.name}\0".encode() + project.read_bytes()).hexdigest()
        elif members := members_of(project):
            raise NoWheelError(f"it is a workspace, and no package itself: name one of its members, {', '.join(members)}.")
        elif any((project / declared).is_file() for declared in DECLARED):
            digest = copy_project(project, copy)
            if not any((copy / declared).is_file() for declared in DECLARED[:2]):  # which `build` wants to see one of
                (copy / "pyproject.toml").write_text("[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n", encoding="utf-8")
            variables = by_git(project, copy)
            make = partial(build, copy, built, {name: version for name, version in variables.items() if name}, cache / "tools")
            if variables:
                digest = hashlib.sha256(f"{digest}{variables}".encode()).hexdigest()
            if needed_by(copy) & ASK_GIT or "" in variables:
                make_repository(copy, tags_of(copy, variables[""]) if "" in variables else [])
                digest = hashlib.sha256(f"{digest}.git".encode()).hexdigest()  # a wheel that was built without lacks files
        else:
            raise NoWheelError(f"it has none of {', '.join(DECLARED)}, so it is no project that a wheel can be built from.")
        folder = cache / digest
        if not folder.exists():
            make()
            for wheel in built.glob("*.whl"):
                if canonicalize_name(metadata(wheel)["Name"]) == "unknown":  # what setuptools calls a project without a name
                    raise NoWheelError(
                        "its settings say no name: write a section [project] with name and version into its pyproject.toml, or name another folder."
                    )
                wheel.with_suffix(".form").write_bytes(form(wheel))
            unfinished = folder.with_suffix(f".{os.getpid()}")
            shutil.copytree(built, unfinished)
            unfinished.rename(folder)
        os.utime(folder)  # tools/draft.py takes the version that was published last
    return describe(next(folder.glob("*.whl")))


def left_behind(project: Path, wheel: Path) -> list[str]:
    """Return the files and folders in a project's packages that git ignores and its wheel has not; a package may miss them."""
    said = run_git(project, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory") if project.is_dir() else ""
    paths = [Path(name) for name in (said or "").split("\0") if name]
    with zipfile.ZipFile(wheel) as archive:
        there = [f"/{name}" for name in archive.namelist()]
    found = []
    for path in paths:
        made = LEFT_OUT("", [path.name]) or path.suffix in (".so", ".pyd", ".c", ".cpp")  # what builds and runs leave
        in_package = (project / path.parent / "__init__.py").is_file()
        if in_package and not made and not any(f"/{path.parent.name}/{path.name}/" in f"{name}/" for name in there):
            found.append(str(path))
    return sorted(found)


def form_fields(wheel: Path) -> Iterator[tuple[str, str]]:
    """Yield the text fields of the upload form (name, value), in the order in which twine sends them."""
    description, fields = describe(wheel), metadata(wheel)
    yield ":action", "file_upload"
    yield "protocol_version", "1"
    yield "filetype", "bdist_wheel"
    yield "pyversion", wheel.name.split("-")[-3]
    yield "md5_digest", description["hashes"]["md5"]
    yield "sha256_digest", description["hashes"]["sha256"]
    for header in TEXTS:
        if fields[header]:
            yield header.lower().replace("-", "_"), str(fields[header])
    for header, field in LISTS.items():
        for value in fields.get_all(header, []):
            yield field, str(value)


def form(wheel: Path) -> bytes:
    """Return the multipart/form-data body that uploads a wheel."""
    line = f"--{boundary(wheel)}"
    body = b""
    for name, value in form_fields(wheel):
        body += f'{line}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    head = f'Content-Disposition: form-data; name="content"; filename="{wheel.name}"\r\nContent-Type: application/octet-stream'
    return body + f"{line}\r\n{head}\r\n\r\n".encode() + wheel.read_bytes() + f"\r\n{line}--\r\n".encode()


def main(arguments: list[str]) -> None:
    """Run as in the module's docstring."""
    cache, *projects = (Path(argument).expanduser() for argument in arguments)
    wheels = []
    for project in (path.resolve() for path in projects):
        try:
            about = wheel_of(project, cache)
            wheels.append({"project": str(project), "left_behind": left_behind(project, Path(about["form"]).with_suffix(".whl")), **about})
        except NoWheelError as error:
            sys.exit(f"package_index_publish names {project}, but {error}")
    print(json.dumps(wheels))


if __name__ == "__main__":
    main(sys.argv[1:])
