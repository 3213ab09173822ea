"""An index that knows packages by their MD5 alone, as a Nexus does: what uv resolves there can be installed with hashes afterwards."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import BIN, ROOT

SCRIPT = ROOT / "roles/airflow_image/files/sha256_lock.py"
ACCOUNT = ("reader", "pass/word: @")


def wheel(name: str, version: str) -> bytes:
    """Return a wheel of one empty module."""
    buffer, info = io.BytesIO(), f"{name}-{version}.dist-info"
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return buffer.getvalue()


@pytest.fixture
def index() -> Iterator[tuple[str, dict[str, bytes]]]:
    """The address of an index with `mine` (known by MD5) and `public_one` (by SHA-256), for one account; and what is at its paths."""
    pages = {"/group/packages/mine-1.0-py3-none-any.whl": wheel("mine", "1.0"), "/group/packages/public_one-2.0-py3-none-any.whl": wheel("public_one", "2.0")}
    for (path, content), kind in zip(list(pages.items()), ("md5", "sha256"), strict=True):
        file = path.rpartition("/")[2]
        link = f'<a href="../../packages/{file}#{kind}={hashlib.new(kind, content).hexdigest()}">{file}</a>'
        pages[f"/group/simple/{file.split('-')[0].replace('_', '-')}/"] = link.encode()

    class Index(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers.get("Authorization") == "Basic " + base64.b64encode(":".join(ACCOUNT).encode()).decode()
            content = pages.get(self.path, b"") if allowed else b""
            self.send_response(401 if not allowed else 200 if content else 404)
            self.send_header("WWW-Authenticate", "Basic")
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, *_arguments: object) -> None:
            """Write nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/group/simple/", pages
        server.shutdown()


def run(folder: Path, address: str, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with the index as the image's build has it."""
    account = {"UV_INDEX_LAB_USERNAME": ACCOUNT[0], "UV_INDEX_LAB_PASSWORD": ACCOUNT[1]}
    environment = {"PATH": str(BIN), "HOME": str(folder), "UV_DEFAULT_INDEX": f"lab={address}", "UV_NO_CACHE": "1", **account}
    return subprocess.run(list(map(str, command)), cwd=folder, env=environment, text=True, capture_output=True, check=False)


def test_what_is_known_by_md5_alone_can_be_installed_with_hashes(index: tuple[str, dict[str, bytes]], tmp_path: Path) -> None:
    address, pages = index
    (tmp_path / "requirements.in").write_text("mine\npublic-one\n")
    compiled = run(tmp_path, address, "uv", "pip", "compile", "-q", "--no-header", "--generate-hashes", "requirements.in", "-o", "lock.txt")
    assert compiled.returncode == 0, compiled.stderr
    before = (tmp_path / "lock.txt").read_text()
    assert "md5:" in before, "this uv needs no help"
    done = run(tmp_path, address, sys.executable, SCRIPT, "lock.txt")
    assert done.returncode == 0, done.stderr
    after = (tmp_path / "lock.txt").read_text()
    right = hashlib.sha256(pages["/group/packages/mine-1.0-py3-none-any.whl"]).hexdigest()
    assert after == before.replace(f"md5:{hashlib.md5(pages['/group/packages/mine-1.0-py3-none-any.whl']).hexdigest()}", f"sha256:{right}")
    installed = run(tmp_path, address, "uv", "pip", "install", "-q", "--require-hashes", "--target", "site", "-r", "lock.txt")
    assert installed.returncode == 0, installed.stderr
    assert (tmp_path / "site/mine.py").exists() and (tmp_path / "site/public_one.py").exists()


def test_another_file_than_its_md5_says_is_not_trusted(index: tuple[str, dict[str, bytes]], tmp_path: Path) -> None:
    address, pages = index
    md5 = hashlib.md5(pages["/group/packages/mine-1.0-py3-none-any.whl"]).hexdigest()
    lock = f"mine==1.0 \\\n    --hash=md5:{md5}\n"
    (tmp_path / "lock.txt").write_text(lock)
    pages["/group/packages/mine-1.0-py3-none-any.whl"] = wheel("mine", "1.1")
    done = run(tmp_path, address, sys.executable, SCRIPT, "lock.txt")
    assert done.returncode == 1 and done.stderr.startswith("The index has no file of mine with the MD5 ") and "Traceback" not in done.stderr
    assert (tmp_path / "lock.txt").read_text() == lock
