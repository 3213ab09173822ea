"""Write SHA-256 into locks where the index offered MD5 alone, as a Nexus does for the packages that it hosts: installers refuse MD5.

Each such file is fetched once, held against its MD5, and read. The index and its account are those that uv uses (``UV_DEFAULT_INDEX``,
``UV_INDEX_LAB_USERNAME``, ``UV_INDEX_LAB_PASSWORD``).

Usage: sha256_lock.py LOCK...
"""

from __future__ import annotations

import hashlib
import html
import os
import re
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

TIMEOUT = 300  # seconds; a Nexus that fetches for the first time answers late
MD5 = re.compile(r"--hash=md5:([0-9a-f]{32})")
PACKAGE = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==", re.MULTILINE)


def reader(index: str, user: str, password: str) -> Callable[[str], bytes]:
    """Return a function that fetches a URL, and sends the account to nobody but the server of the index."""
    accounts = urllib.request.HTTPPasswordMgrWithPriorAuth()
    accounts.add_password(None, urljoin(index, "/"), user, password, is_authenticated=True)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(accounts))

    def read(url: str) -> bytes:
        with opener.open(url, timeout=TIMEOUT) as answer:
            content: bytes = answer.read()
            return content

    return read


def with_sha256(lock: str, index: str, read: Callable[[str], bytes]) -> str:
    """Return a lock in which every MD5 is replaced by the SHA-256 of the same file.

    Args:
        lock: requirements with hashes, as ``uv pip compile --generate-hashes`` writes them.
        index: the address of the simple index, with a slash at its end.
        read: returns what is at a URL.

    Raises:
        SystemExit: the index has no such file, or another one.
    """
    blocks = PACKAGE.split(lock)  # what comes before the first package, then name and rest of each in turn
    for number in range(1, len(blocks), 2):
        name = blocks[number]
        wanted = set(MD5.findall(blocks[number + 1]))
        if not wanted:
            continue
        page = f"{index}{name}/"
        links = {md5: urljoin(page, html.unescape(link)) for link, md5 in re.findall(r'href="([^"#]+)#md5=([0-9a-f]{32})"', read(page).decode())}
        for md5 in wanted:
            content = read(links[md5]) if md5 in links else b""
            if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
                raise SystemExit(f"The index has no file of {name} with the MD5 {md5} that it named: its page and its files do not fit together.")
            blocks[number + 1] = blocks[number + 1].replace(f"md5:{md5}", f"sha256:{hashlib.sha256(content).hexdigest()}")
    starts = iter(PACKAGE.finditer(lock))
    return blocks[0] + "".join(next(starts)[0] + rest for rest in blocks[2::2])


def main(paths: list[str]) -> None:
    """Rewrite the locks that have an MD5."""
    index = os.environ["UV_DEFAULT_INDEX"].removeprefix("lab=").rstrip("/") + "/"
    read = reader(index, os.environ["UV_INDEX_LAB_USERNAME"], os.environ["UV_INDEX_LAB_PASSWORD"])
    for path in map(Path, paths):
        path.write_text(with_sha256(path.read_text(encoding="utf-8"), index, read), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
