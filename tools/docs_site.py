#!/usr/bin/env python3
"""Build the documentation as a site of plain files: ``make docs-site`` writes it to ``reports/site/``.

The pages are the Markdown files of the checkout where they lie, so that a link works in the checkout and on the site, and a page for each plugin from its own
documentation. A link to a page, a picture or a heading that is not there ends the build.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from role_docs import MARKUP, rows_of

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CHAPTERS = {
    "Start": ["README.md"],
    "Work with it": ["docs/experiments.md", "docs/environments.md", "docs/workbench.md", "docs/object_store.md", "docs/targets.md", "dags/README.md"],
    "Run it": ["docs/hosts.md", "docs/scale.md", "docs/jenkins.md", "docs/awx.md", "docs/nexus.md", "benchmarks/README.md"],
    "Roles": ["roles/*/README.md"],
    "Examples": ["examples/*/README.md"],
    "Change it": ["CONTRIBUTING.md"],
}
PLUGINS = {"module": "plugins/modules", "inventory": "plugins/inventory", "callback": "plugins/callback", "filter": "plugins/filter"}


def prose(text: str | list[str]) -> str:
    """Return a plugin's words as Markdown, one paragraph for each."""
    paragraphs = [text] if isinstance(text, str) else text
    return "\n\n".join(MARKUP.sub(lambda match: f"`{match[2]}`", paragraph) for paragraph in paragraphs)


def page_of(kind: str, name: str, found: dict[str, Any]) -> str:
    """Return the page of a plugin."""
    doc = found["doc"]
    parts = [f"# {name}", f"*{kind}*: {doc['short_description']}", prose(doc["description"])]
    if doc.get("options"):
        head = "| Option | Type | Default | What it is |\n|---|---|---|---|"
        parts += ["## Options", "\n".join([head, *rows_of(doc["options"])])]
    if found.get("examples"):
        parts += ["## Examples", f"```yaml\n{found['examples'].strip()}\n```"]
    for key, value in (found.get("return") or {}).items():
        parts += [*(["## Returns"] if "## Returns" not in parts else []), f"`{key}` ({value['type']}): {prose(value['description'])}"]
    return "\n\n".join(parts) + "\n"


def write_plugins(target: Path) -> list[str]:
    """Write a page for each plugin, from what `ansible-doc` says; returns the pages."""
    pages = []
    for kind, folder in PLUGINS.items():
        names = sorted(f"mlops.lab.{path.stem}" for path in (ROOT / folder).glob("*.py"))
        if not names:
            continue
        done = subprocess.run([BIN / "ansible-doc", "--json", "--type", kind, *names], cwd=ROOT, text=True, capture_output=True, check=True)
        for name, found in json.loads(done.stdout).items():
            page = f"plugins/{name.rpartition('.')[2]}_{kind}.md"
            (target / page).parent.mkdir(exist_ok=True)
            (target / page).write_text(page_of(kind, name, found), encoding="utf-8")
            pages.append(page)
    return pages


def title_of(page: Path) -> str:
    """Return the first heading of a page."""
    found = re.search(r"^# (.+)$", page.read_text(encoding="utf-8"), re.M)
    return found[1] if found else page.stem


def build(site: Path) -> int:
    """Build the site into a directory; returns the exit code of MkDocs, which fails at a link that leads nowhere."""
    with tempfile.TemporaryDirectory() as made:
        source = Path(made) / "pages"
        shutil.copytree(ROOT / "docs/pictures", source / "docs/pictures")
        navigation: list[dict[str, Any]] = []
        for chapter, patterns in CHAPTERS.items():
            pages = [path.relative_to(ROOT) for pattern in patterns for path in sorted(ROOT.glob(pattern))]
            for page in pages:
                (source / page).parent.mkdir(parents=True, exist_ok=True)
                text = (ROOT / page).read_text(encoding="utf-8")
                # A file of the checkout that is no page is named, not linked.
                text = re.sub(r"\[([^\]]+)\]\((?!https?:)(?![^)#]*\.(?:md|png|svg)[)#])(?!#)[^)]+\)", r"\1", text)
                (source / page).write_text(text, encoding="utf-8")
            navigation.append({chapter: [{title_of(ROOT / page): str(page)} for page in pages]})
        plugins = write_plugins(source)
        navigation.append({"Plugins": [{title_of(source / page).rpartition(".")[2]: page} for page in plugins]})
        config = {
            "site_name": "mlops.lab",
            "docs_dir": str(source),
            "site_dir": str(site),
            "use_directory_urls": False,
            # Nothing is fetched from elsewhere when a page is read.
            "theme": {"name": "material", "font": False, "features": ["navigation.indexes", "content.code.copy"]},
            "plugins": ["search"],
            "markdown_extensions": ["tables", "toc", "fenced_code"],
            "validation": {"links": {"not_found": "warn", "anchors": "warn", "unrecognized_links": "warn"}, "nav": {"omitted_files": "warn"}},
            "nav": navigation,
        }
        (Path(made) / "mkdocs.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        command: list[str | Path] = [BIN / "mkdocs", "build", "--strict", "--config-file", Path(made) / "mkdocs.yml"]
        return subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "reports/site"))
