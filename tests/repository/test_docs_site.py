"""The site of the documentation: every page is there, and every link leads somewhere."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.conftest import ROOT, Run


def test_the_site_is_built_and_every_link_leads_somewhere(tool: Run, tmp_path: Path) -> None:
    done = tool([sys.executable, ROOT / "tools/docs_site.py", tmp_path / "site"])
    assert done.returncode == 0, done.stdout
    pages = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    assert {"index.html", "docs/experiments.html", "plugins/watch_module.html"} <= pages
    assert {f"roles/{role.name}/index.html" for role in (ROOT / "roles").iterdir()} <= pages


def test_a_link_to_nowhere_ends_the_build(tool: Run, tmp_path: Path) -> None:
    for name in ("docs", "tools", "README.md"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy2)(ROOT / name, tmp_path / name)
    (tmp_path / "docs/nexus.md").write_text("# Nexus\n\n[gone](gone.md)\n", encoding="utf-8")
    done = tool([sys.executable, tmp_path / "tools/docs_site.py", tmp_path / "site"])
    assert done.returncode != 0 and "gone.md" in done.stdout, done.stdout
