r"""Make Python environments from locks, and locks from requirements, for the other containers of this host.

The other containers see the environments, and cannot write them; this one alone has the credential of the package index. Packages are never built here,
so that no package code runs beside the credential.

    environments_server.py            serve until the process is stopped
    environments_server.py --check    say whether it serves
    environments_server.py --ask      read a request from standard input, and print the answers
    environments_server.py --in-image <name> <lock>  make an environment while an image is built, in LAB_ENVIRONMENTS_DIR

A client connects to the unix socket ``<LAB_ENVIRONMENTS_DIR>/.service/socket``, sends one line of JSON, and reads lines of JSON until the last::

    {"do": "make", "requirements": "numpy==2.3.5 --hash=...\n...", "python": "3.13"}
        {"made": {"key": ..., "interpreter": ..., "new": true, "seconds": 1.2}}
    {"do": "resolve", "requirements": "churn\n", "needs": "mlflow-skinny\n", "previous": "<the last lock>", "python": ""}
        {"resolved": {"lock": ..., "python": "3.13", "without": "why the needs are not in it, or nothing", "instead": "why the Python is another, or nothing"}}

``resolve`` takes ``project`` in the place of ``requirements``: the texts of a project's ``pyproject.toml`` and ``uv.lock``, whose versions and hashes stay.
``requires_python`` may limit the Python, as in a ``pyproject.toml``.

Before the last line may come ``{"say": "<a line for the log>"}``. In its place may come ``{"mistake": "<sentence>"}``, when asking again is of no use, or
``{"failure": "<sentence>"}``. An empty ``python`` stands for the one of this container; to ``resolve`` also for the newest other one here that will do, where
that one will not.

It is set up by the environment:

    LAB_ENVIRONMENTS_DIR   folder of the environments
    LAB_INDEX_CONFIG_FILE  uv.toml with the package index; without it, uv's own configuration counts
    LAB_ENVIRONMENTS_DAYS  days after which an environment that nobody asked for is removed, 14 unless set
    LAB_ENVIRONMENTS_GB    gigabytes of all environments and the cache, above which those that were used least recently are removed, 20 unless set
    LAB_ENVIRONMENTS_HEARTBEAT  file that is touched every few seconds while it serves
    LAB_SHA256_LOCK        script that writes SHA-256 into locks of an index that offers MD5 alone
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

DAY = 86400
WITHOUT_FLASK = (2, 21)
"""The first release of MLflow whose scoring server does without Flask, as role model_server has it, too."""

IN_USE = 2 * DAY
"""Seconds that an environment is kept in any case after somebody asked for it: no task runs longer."""

FOLDER = Path(os.environ.get("LAB_ENVIRONMENTS_DIR", "/opt/environments"))
SOCKET = FOLDER / ".service" / "socket"
ARCHIVES = FOLDER / ".uv" / "archive-v0"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

LOCAL = ("editable", "directory", "path", "virtual")
"""Kinds of source in a ``uv.lock`` that are places on somebody's disk."""

TIDYING = threading.Lock()

Say = Callable[[str], None]


class Mistake(Exception):
    """What was asked for cannot be, now or later; one sentence."""


class Failure(Exception):
    """It did not work out; one sentence, and its end where something mends it."""

    def __init__(self, sentence: str, remedy: str = "") -> None:
        self.remedy = remedy
        super().__init__(sentence)


class Unreached(Failure):
    """The index gave no answer that says anything of a package: it may at the next try."""


def make(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Make the environment of a lock if it is not there yet.

    Raises:
        Mistake: The lock holds something else than packages of the index, or its Python is not here.
        Failure: It cannot be installed.
    """
    begun = time.monotonic()
    python, lines = str(request.get("python") or PYTHON), pins(request["requirements"])
    key = key_of(python, lines)
    place = FOLDER / key
    with alone(key, say):
        new = not (place / "complete").is_file() or not (place / "bin" / "python").exists()  # its Python went with a former image
        if new:
            install(place, python, lines, say)
        os.utime(place)
    if new:
        threading.Thread(target=afterwards, args=[place], daemon=True).start()
    return {"made": {"key": key, "interpreter": str(place / "bin" / "python"), "new": new, "seconds": round(time.monotonic() - begun, 3)}}


def key_of(python: str, lines: list[str]) -> str:
    """What an environment is found by."""
    return hashlib.sha256("\n".join([python, *lines]).encode()).hexdigest()[:24]


def make_in_image(name: str, lock: Path) -> None:
    """Make the environment of a lock where the DAGs look for those that are in the image: under its key, with a link of its name, and the lock beside it.

    Raises:
        Mistake: See :func:`make`.
        Failure: It cannot be installed.
    """
    text = lock.read_text(encoding="utf-8")
    found = re.search(r"^# python: (\S+)$", text, re.MULTILINE)
    python, lines = found[1] if found else PYTHON, pins(text)
    key = key_of(python, lines)
    install(FOLDER / key, python, lines, lambda line: print(line, flush=True))
    compiled(FOLDER / key)
    (FOLDER / name).symlink_to(key)
    (FOLDER / f"{name}.lock").write_text(text, encoding="utf-8")


def resolve(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Resolve requirements to a lock with hashes; with ``needs``, or without them where they contradict the requirements on every Python that may be.

    Raises:
        Mistake: The requirements hold something else than packages of the index, or no Python here may be theirs.
        Failure: There is no solution.
        Unreached: The index does not answer, which says nothing of the requirements.
    """
    needs, previous = pins(request.get("needs", "")), request.get("previous", "")
    here = [str(request["python"])] if request.get("python") else pythons_here()
    pythons = [python for python in here if fits(python, request.get("requires_python", ""))]
    if not pythons:
        raise Mistake(f"requires-python is {request['requires_python']}, and the lab has Python {' and '.join(here)}")
    reasons = dict[bool, Mistake | Failure]()  # of the first Python, with the needs and without
    for also in (needs, []) if needs else ([],):
        for python in pythons:
            try:
                asked = project_pins(request["project"], python) if "project" in request else pins(request["requirements"])
                lock = locked(python, [*asked, *also], previous)
                if also and (more := to_serve(lock)):
                    try:
                        lock = locked(python, [*asked, *also, *more], previous)
                    except Unreached:
                        raise
                    except Failure:  # then its models are served elsewhere
                        pass
                two_mlflows(lock)
            except Unreached:
                raise
            except (Mistake, Failure) as error:
                reasons.setdefault(also == needs, error)
                continue
            instead = "" if python == pythons[0] else str(reasons[also == needs])
            return {"resolved": {"lock": lock, "python": python, "without": str(reasons[True]) if also != needs else "", "instead": instead}}
    raise reasons[not needs]


def to_serve(lock: str) -> list[str]:
    """What a model that is logged with a lock's client demands beside it when it is served: a model server with an environment of the image finds it there."""
    client = re.search(r"^mlflow-skinny==(\d+)\.(\d+)", lock, re.MULTILINE)
    served = re.search(r"^(?:mlflow|flask)==", lock, re.MULTILINE) or not client or (int(client[1]), int(client[2])) >= WITHOUT_FLASK
    return [] if served else ["flask<4"]


def two_mlflows(lock: str) -> None:
    """Refuse MLflow beside another version of its client: up to 2.15 it does not depend on it, and both write the same files.

    Raises:
        Mistake: The lock has both.
    """
    found = dict(re.findall(r"^(mlflow(?:-skinny)?)==(\S+)", lock, re.MULTILINE))
    if len(set(found.values())) > 1:
        raise Mistake(f"mlflow {found['mlflow']} and mlflow-skinny {found['mlflow-skinny']} write the same files; leave one out, or ask for one version")


def pythons_here() -> list[str]:
    """The Pythons that environments on this host may have: that of this container, then the others on its path, the newest first."""
    lines: list[str] = []
    uv(["python", "list", "--only-installed"], lines.append)
    others = {int(found[1]) for line in lines if (found := re.match(r"cpython-3\.(\d+)\.\d+-", line))} - {sys.version_info.minor}
    return [PYTHON, *(f"3.{minor}" for minor in sorted(others, reverse=True))]


def fits(python: str, wanted: str) -> bool:
    """Whether some release of a Python is one of those that a ``requires-python`` asks for.

    Raises:
        Mistake: It is none.
    """
    try:
        specifiers = SpecifierSet(wanted)
    except InvalidSpecifier:
        raise Mistake(f"requires-python has {wanted!r}; allowed: versions, as in >=3.11") from None
    return any(specifiers.contains(f"{python}.{patch}") for patch in range(100))


def pins(text: str) -> list[str]:
    """The requirements of a text, one per line, sorted, without comments.

    Raises:
        Mistake: One of them is no package of the index: an option, a path, an address.
    """
    found = set()
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if not line:
            continue
        bare, *hashes = re.split(r"\s+--hash=", line)
        try:
            requirement = Requirement(bare)
        except InvalidRequirement:
            raise Mistake(f"{without_secret(line)[:200]!r} is no requirement; allowed: packages of the index, as name==version") from None
        if requirement.url:
            raise Mistake(f"{requirement.name} is to come from {without_secret(requirement.url)[:200]!r}; allowed: packages of the index, as name==version")
        found.add(" ".join([str(requirement), *(f"--hash={digest.strip()}" for digest in sorted(hashes))]))
    return sorted(found)


def project_pins(files: dict[str, str], python: str) -> list[str]:
    """The pins of a project's ``uv.lock`` with their hashes, and the project itself by its version: the index has it as a wheel.

    Args:
        files: The texts of ``pyproject.toml`` and ``uv.lock``.
        python: The Python of the environment.

    Raises:
        Mistake: The lock is for other Pythons, takes something from elsewhere than an index, or does not say the project's version.
        Failure: uv cannot read it.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in ("pyproject.toml", "uv.lock"):
            Path(folder, name).write_text(files[name], encoding="utf-8")
        options = ["--frozen", "--no-default-groups", "--no-emit-project", "--no-header", "--no-annotate", "--format", "requirements-txt"]
        uv(["export", "--quiet", *options, "-o", "pins.txt"], lambda line: None, folder)
        text = Path(folder, "pins.txt").read_text(encoding="utf-8")
    lock = tomllib.loads(files["uv.lock"])
    if not fits(python, wanted := lock.get("requires-python", "")):
        raise Mistake(f"it is locked for Python {wanted}, and the environment has Python {python}; change requires-python, and lock again")
    local = {str(place): package["name"] for package in lock["package"] for kind, place in package["source"].items() if kind in LOCAL}
    for line in text.splitlines():
        name, _, place = line.rstrip(" \\").partition(" ;")[0].removeprefix("-e ").partition(" @ ")
        if place or name.removeprefix("./") in local:
            name, place = (name, place) if place else (local[name.removeprefix("./")], name)
            raise Mistake(f"{name} comes from {without_secret(place)[:200]}; publish it to the lab's index as a wheel, and lock it from an index")
    own = [package for package in lock["package"] if package["source"].get("editable") == "."]
    if any("version" not in package for package in own):
        raise Mistake(f"it has no version of {own[0]['name']} itself; write project.version into pyproject.toml instead of a dynamic one, and lock again")
    return pins("\n".join([text, *(f"{package['name']}=={package['version']}" for package in own)]))


def install(place: Path, python: str, lines: list[str], say: Say) -> None:
    """Make an environment; what is not complete is made anew by whoever asks next."""
    say(f"making {place.name}: Python {python}, {len(lines)} packages")
    shutil.rmtree(place, ignore_errors=True)
    try:
        uv(["venv", "--quiet", "--no-project", "--python", python, str(place)], lambda line: None)
    except Failure:
        raise Mistake(f"Python {python} is not on this host, which has Python {' and '.join(pythons_here())}") from None
    file = place / "requirements.txt"
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    hashed = ["--require-hashes"] if any("--hash=" in line for line in lines) else []
    install_these = ["pip", "install", *hashed, "--only-binary", ":all:", "--python", str(place / "bin" / "python"), "-r"]
    try:
        if not (hashed and installed_before(lines, install_these, say, file)):
            with_newest_pages([*install_these, str(file)], say)
    except Failure:
        shutil.rmtree(place, ignore_errors=True)
        raise
    (place / "complete").touch()


def installed_before(lines: list[str], install_these: list[str], say: Say, file: Path) -> bool:
    """Install a lock of which other environments have a part: the index is asked for the rest alone, since asking for a page of each package takes seconds.

    What the cache has is held against the hashes as what is fetched is. Tells whether that went well; if not, the index is asked for everything.
    """
    before = set[str]()
    for other in FOLDER.glob("*/requirements.txt"):
        with suppress(OSError):  # somebody removes it
            before.update(other.read_text(encoding="utf-8").splitlines() if (other.parent / "complete").is_file() else [])
    rest = [line for line in lines if line not in before]
    if rest == lines:
        return False
    with suppress(Failure), tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as some:
        some.write("".join(f"{line}\n" for line in rest))
        some.flush()
        if rest:
            uv([*install_these, some.name, "--no-deps"], say)
        uv([*install_these, str(file), "--offline"], say)
        return True
    return False


def locked(python: str, lines: list[str], previous: str) -> str:
    """The lock of requirements; versions of the previous lock stay where they may."""
    with tempfile.TemporaryDirectory() as folder:
        asked, lock = Path(folder, "requirements.in"), Path(folder, "lock.txt")
        asked.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        lock.write_text(previous, encoding="utf-8")
        options = ["--quiet", "--no-header", "--generate-hashes", "--only-binary", ":all:", "--python", python]
        news = [] if os.environ.get("UV_OFFLINE") else [option for name in new_names(lines, previous) for option in ("--refresh-package", name)]
        with_newest_pages(["pip", "compile", *options, *news, asked.name, "-o", lock.name], lambda line: None, folder)  # annotations hold these names
        text = lock.read_text(encoding="utf-8")
    if "--hash=md5:" in text and os.environ.get("LAB_SHA256_LOCK"):
        text = with_sha256(text)
    return as_locked(text, lines)


def new_names(lines: list[str], previous: str) -> list[str]:
    """Packages that are asked for and that the previous lock has not, or not in this version: a page that uv keeps may lack what was published since."""
    kept = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", previous, flags=re.MULTILINE))
    found = set()
    for line in lines:
        if asked := re.match(r"([A-Za-z0-9._-]+)(?:\s*\[.*?\])?(?:\s*==\s*([^\s;,\\]+))?", line):
            before = kept.get(re.sub(r"[-_.]+", "-", asked[1]).lower())
            if before is None or asked[2] not in (None, before):
                found.add(asked[1])
    return sorted(found)


def with_newest_pages(arguments: list[str], say: Say, folder: str | Path = FOLDER) -> None:
    """Run uv, which keeps pages of the index as long as the index says; once more with the pages of now where those do not have what is wanted.

    Raises:
        Failure: It failed with them, too, or for another reason.
    """
    try:
        uv(arguments, say, folder)
    except Unreached:
        raise
    except Failure:
        if os.environ.get("UV_OFFLINE"):
            raise
        uv([*arguments, "--refresh"], say, folder)


def as_locked(lock: str, lines: list[str]) -> str:
    """A lock that has no other hashes of what was asked for with hashes; uv does not hold what it finds against them.

    Raises:
        Mistake: The index has none of the files that these are the hashes of.
    """
    asked = {re.sub(r"\[.*?\]", "", line.partition(";")[0].split()[0]): set(re.findall(r"--hash=(\S+)", line)) for line in lines}
    blocks = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    for number, block in enumerate(blocks):
        pin, wanted = block.split(" ")[0].strip(), asked.get(block.split(" ")[0].strip())
        if not wanted:
            continue
        if not (same := [digest for digest in re.findall(r"--hash=(\S+)", block) if digest in wanted]):
            what = f"the lab's index has another {pin.replace('==', ' ')} than the one that is locked"
            raise Mistake(f"{what}; publish that file, or lock again from the lab's index")
        comments = re.findall(r"^ +#.*\n", block, re.MULTILINE)
        blocks[number] = " \\\n    ".join([pin, *(f"--hash={digest}" for digest in same)]) + "\n" + "".join(comments)
    return "".join(blocks)


def with_sha256(lock: str) -> str:
    """A lock whose MD5s are replaced; installers refuse them."""
    spec = importlib.util.spec_from_file_location("sha256_lock", os.environ["LAB_SHA256_LOCK"])
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    index = tomllib.loads(Path(os.environ["LAB_INDEX_CONFIG_FILE"]).read_text(encoding="utf-8"))["index"][0]["url"]
    parts = urlsplit(index)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    try:
        return str(module.with_sha256(lock, bare.rstrip("/") + "/", module.reader(bare, unquote(parts.username or ""), unquote(parts.password or ""))))
    except (OSError, SystemExit) as error:
        raise Failure(str(error)) from None


def uv(arguments: list[str], say: Say, folder: str | Path = FOLDER) -> None:
    """Run uv, which reads the index and its credential from its own file; pass on what it prints.

    Raises:
        Failure: It failed; in its own words, without its drawing and its hints at options that nobody gives here.
        Unreached: It failed since the index gave no answer.
    """
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TZ", "SSL_CERT_FILE") or name.startswith("UV_")}
    environment.setdefault("UV_CACHE_DIR", str(FOLDER / ".uv"))
    environment |= {"UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}
    environment.setdefault("UV_HTTP_TIMEOUT", "300")  # an index that fetches for the first time answers late
    if config := os.environ.get("LAB_INDEX_CONFIG_FILE"):
        environment["UV_CONFIG_FILE"] = config
    program = shutil.which("uv")
    if program is None:
        raise Failure("uv is not on the path of the environments' service")
    process = subprocess.Popen(
        [program, *arguments],
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout
    last: deque[str] = deque(maxlen=40)
    with suppress_death(process):
        for line in process.stdout:
            if words := line.strip(" \t\r\n\u00d7\u2570\u251c\u2502\u2500\u25b6"):
                last.append(without_secret(words))
                say(last[-1])
        code = process.wait()
    if code:
        lines = list(last)
        first = next((number for number, line in enumerate(lines) if line.startswith("error:")), 0)
        hint = next((number for number, line in enumerate(lines) if line.startswith("hint:")), len(lines))
        words = " ".join(lines[first:hint] or lines).removeprefix("error: ").removeprefix("No solution found when resolving dependencies cause: ")
        kind = Unreached if re.search(r"(?i)failed to fetch|request failed|error sending|timed? ?out", words) else Failure
        raise kind(words[:800] or f"uv ended with exit code {code} and said nothing", remedy_of(" ".join(lines)))


def remedy_of(words: str) -> str:
    """What helps where uv says that a package of the index is there as source alone; nothing where it does not."""
    found = re.search(r"([A-Za-z0-9][\w.-]*)([=<>!~]\S*)? ha(?:s|ve) no usable wheels", words)
    if not found:
        return ""
    build = f"pip wheel --no-deps {shlex.quote(found[1] + (found[2] or ''))}"
    words = f"`{build}` makes one elsewhere, and the verb publish brings that wheel into the index"
    return f"; {found[1]} has no wheel, and nothing is built here: {words}"


@contextmanager
def suppress_death(process: subprocess.Popen[str]) -> Iterator[None]:
    """Take a process along when what waits for it does not go on."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def without_secret(line: str) -> str:
    """A line in which no address has a user and a password."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", line)


@contextmanager
def alone(key: str, say: Say) -> Iterator[None]:
    """Let one at a time make or remove an environment."""
    (FOLDER / ".service" / "locks").mkdir(parents=True, exist_ok=True)
    with (FOLDER / ".service" / "locks" / key).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{key} is being made already; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def afterwards(place: Path) -> None:
    """What nobody waits for: compile the environment, so that later imports are faster, and remove what nobody needs."""
    compiled(place, "nice", "-n", "19")
    keep_bytecode(place, ARCHIVES)
    tidy()


def daily() -> None:
    """Remove once a day what nobody needs. Not at the start: who uses an environment asks for it again only after that."""
    while True:
        time.sleep(DAY)
        tidy()


def tidy() -> None:
    """Remove what nobody needs, by the age and size that the service was given; one thread at a time, and a disk that fails once ends none of them."""
    with TIDYING:
        try:
            remove_unused(float(os.environ.get("LAB_ENVIRONMENTS_DAYS", "14")) * DAY, float(os.environ.get("LAB_ENVIRONMENTS_GB", "20")) * 1e9)
        except OSError as error:
            print(f"unused environments could not all be removed ({error}); it is tried again within a day", flush=True)


def compiled(place: Path, *how: str) -> None:
    """Compile an environment, without its `site`: that runs what packages have in .pth files, and the index's credential is in this container."""
    python = [str(place / "bin" / "python"), "-I", "-S"]
    (libraries,) = place.glob("lib/python3*")
    subprocess.run([*how, *python, "-m", "compileall", "-q", str(libraries)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def keep_bytecode(place: Path, archives: Path) -> None:
    """Link what was compiled to where uv keeps the files unpacked: it links all that is there into the next environment, which is so compiled when it is made.

    Python knows bytecode by the time and size of its source, and these are the same for all links of a file.
    """
    unpacked = dict[int, str]()
    for folder, _, names in os.walk(archives):
        with suppress(OSError):  # another thread removes the archive
            unpacked |= {os.lstat(os.path.join(folder, name)).st_ino: folder for name in names if name.endswith(".py")}
    for bytecode in place.glob("lib/python3*/site-packages/**/__pycache__/*.pyc"):
        with suppress(OSError):  # it is there already, its source is gone, or another process removes the archive
            if root := unpacked.get((bytecode.parents[1] / f"{bytecode.name.partition('.')[0]}.py").stat().st_ino):
                os.makedirs(f"{root}/__pycache__", exist_ok=True)
                os.link(bytecode, f"{root}/__pycache__/{bytecode.name}")


def remove_unused(seconds: float, most: float) -> None:
    """Remove environments that nobody asked for within so many seconds, then those that were used least recently until no more than so many bytes are left."""
    known = sorted((path.parent for path in FOLDER.glob("*/complete")), key=lambda place: place.stat().st_mtime)
    for place in known:
        idle = time.time() - place.stat().st_mtime
        if idle > max(seconds, IN_USE) or (idle > IN_USE and size(FOLDER) > most):
            with alone(place.name, lambda line: None):
                if time.time() - place.stat().st_mtime < idle:  # somebody asked for it meanwhile
                    continue
                (place / "complete").unlink(missing_ok=True)
                shutil.rmtree(place, ignore_errors=True)
            print(f"{place.name} was not used for {idle / DAY:.0f} days, and is removed", flush=True)
            with suppress(Failure):
                uv(["cache", "prune"], lambda line: None)
    if size(FOLDER) > most:
        remove_unshared(ARCHIVES)


def remove_unshared(archives: Path) -> None:
    """Remove what uv's cache holds unpacked and no environment shares any more; uv prunes none of it, and fetches it again when it is asked for.

    What is younger than an hour may belong to an installation that is at work.
    """
    for archive in archives.glob("*"):
        files = (os.lstat(os.path.join(root, name)) for root, _, names in os.walk(archive) for name in names)
        with suppress(OSError):
            if time.time() - archive.stat().st_mtime > 3600 and all(status.st_nlink == 1 for status in files):
                shutil.rmtree(archive, ignore_errors=True)


def size(folder: Path) -> int:
    """Bytes on disk below a folder; a file with several names counts once."""
    seen: dict[tuple[int, int], int] = {}
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                status = os.lstat(os.path.join(root, name))
                seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values())


COMMANDS: dict[str, Callable[[dict[str, Any], Say], dict[str, Any]]] = {"make": make, "resolve": resolve, "ping": lambda _request, _say: {"pong": PYTHON}}


class Handler(socketserver.StreamRequestHandler):
    """One request."""

    def handle(self) -> None:
        """Answer it; a client that is gone has its work finished nevertheless, since others may wait for it."""

        def send(answer: dict[str, Any]) -> None:
            with suppress(OSError):
                self.wfile.write(json.dumps(answer).encode() + b"\n")

        try:
            request = json.loads(self.rfile.readline())
            answer = COMMANDS[request["do"]](request, lambda line: send({"say": line}))
        except Mistake as error:
            answer = {"mistake": str(error)}
        except Failure as error:
            answer = {"failure": f"{error}{error.remedy}"}
        except Exception as error:
            answer = {"failure": f"the environments' service failed with {type(error).__name__}: {error}"}
        send(answer)


class Server(socketserver.ThreadingUnixStreamServer):
    """Serves every client in a thread of its own."""

    daemon_threads = True
    request_queue_size = 64

    def service_actions(self) -> None:
        """Show that it serves, to whoever looks at the file: a health check that starts no interpreter."""
        if heartbeat := os.environ.get("LAB_ENVIRONMENTS_HEARTBEAT"):
            Path(heartbeat).touch()


def serve() -> None:
    """Serve until the process is told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    for place in FOLDER.glob("[0-9a-f]" * 24):
        if not (place / "complete").is_file():  # the service was ended in the middle
            shutil.rmtree(place, ignore_errors=True)
    SOCKET.parent.mkdir(parents=True, exist_ok=True)
    SOCKET.unlink(missing_ok=True)
    os.umask(0o007)
    with Server(str(SOCKET), Handler) as server:
        os.umask(0o022)
        print(f"environments in {FOLDER}, Python {PYTHON}", flush=True)
        server.service_actions()
        threading.Thread(target=daily, daemon=True).start()
        server.serve_forever(poll_interval=10)


def ask(request: str) -> Iterator[str]:
    """Send a request; give the answers, a line each."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(SOCKET))
        client.sendall(request.replace("\n", " ").encode() + b"\n")
        with client.makefile(encoding="utf-8") as answers:
            yield from answers


def main(arguments: list[str]) -> int:
    """Serve, or ask a server."""
    if arguments == ["--check"]:
        return 0 if "pong" in "".join(ask('{"do": "ping"}')) else 1
    if arguments == ["--ask"]:
        for line in ask(sys.stdin.read()):
            print(line, end="", flush=True)
        return 0
    if arguments[:1] == ["--in-image"]:
        try:
            make_in_image(arguments[1], Path(arguments[2]))
        except (Mistake, Failure) as error:
            print(f"the environment {arguments[1]} cannot be made: {error}{getattr(error, 'remedy', '')}", flush=True)
            return 1
        return 0
    serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
