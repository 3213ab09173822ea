"""Requirements are read on the control node: what people's files hold is understood, or refused in one sentence with the file, the line and the variable."""

from __future__ import annotations

import codecs
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.lab.plugins.plugin_utils import requirement_sources as sources
from packaging.requirements import Requirement

from tests.unit.plays import play

ALLOWED = ["https://git.example.com/wheels/"]


def read(value: Any, folder: Path = Path()) -> tuple[list[str], list[str]]:
    """Return the requirements of a source as text, and what is wrong with it."""
    reader = sources.Reader(lambda variable, _line: f"{variable}, set in group_vars/all.yml:7,", ALLOWED, "airflow_image_allowed_sources", [folder])
    entries, problems = reader.read("airflow_image_requirements", value)
    return [str(entry.requirement) for entry in entries], problems


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--extra-index-url https://me:hunter2@elsewhere.example/simple", "the option --extra-index-url; "),
        ("--extra-index https://me:hunter2@elsewhere.example/simple", "one index"),  # pip takes any beginning of an option
        ("-i https://me:hunter2@elsewhere.example/simple", "the option -i; "),
        ("-ihttps://me:hunter2@elsewhere.example/simple", "the option -i; "),
        ("--index-url=https://me:hunter2@elsewhere.example/simple", "the option --index-url; "),
        ("--find-links /srv/hunter2", "the option --find-links; "),
        ("-f/srv/hunter2", "the option -f; "),
        ("--trusted-host elsewhere.example", "the option --trusted-host; "),
        ("--no-index", "the option --no-index; "),
        ("--pre", "name the pre-release"),
        ("-c constraints.txt", "write its versions as requirements"),
        ("-r base.txt", "write the other file's lines here"),
        ("-rbase.txt", "write the other file's lines here"),
        ("--requirement=base.txt", "write the other file's lines here"),
        ("-e .", "publish the project to the index"),
        ("--editable=git+https://me:hunter2@git.example.com/x#egg=x", "publish the project to the index"),
        ("numpy==1.26.4 --hash=sha256:1234", "the lab's lock brings them"),
        ("numpy==1.26.4 --config-settings=--global-option=hunter2", "the option --config-settings"),
        ("--no-binary :all:", "leave it out"),
        ("./dist/mine-1.0-py3-none-any.whl", "has a path"),
        ("../mine", "has a path"),
        ("~/mine", "has a path"),
        ("/srv/mine", "has a path"),
        ("libs/mine", "has a path"),
        ("C:\\hunter2\\mine", "has a path"),
        (".[dev]", "has a path"),
        ("mine-1.0-py3-none-any.whl", "has a path"),
        ("mine-1.0.tar.gz", "has a path"),
        ("mine.zip[all]", "has a path"),
        ("requirements.txt", "has the name of a file"),
        ("git+https://me:hunter2@git.example.com/mine.git", "an address without a package's name"),
        ("https://files.example.com/mine-1.0-py3-none-any.whl", "an address without a package's name"),
        ("git@git.example.com:team/mine", "an address without a package's name"),
        ("file:///srv/hunter2.whl", "an address without a package's name"),
        ("mine @ https://files.example.com/mine-1.0-py3-none-any.whl", "takes mine from an address"),
        ("mine@https://files.example.com/mine-1.0-py3-none-any.whl", "takes mine from an address"),
        ("mine @ https://git.example.com/wheels.evil/mine.whl", "takes mine from an address"),
        ("mine @ https://git.example.com/wheels/../other/mine.whl", "takes mine from an address"),
        ("mine @ https://git.example.com/wheels/%2e%2e/other/mine.whl", "takes mine from an address"),
        ("mine @ https://me:hunter2@git.example.com/wheels/mine.whl", "a user or a password in its address"),
        ("mine @ git+https://git.example.com/wheels/mine.git@main", "an address that begins with git+https:"),
        ("numpy @ file:///home/conda/hunter2/work", "pip list --format=freeze"),
        ("mine @ ./mine.whl", "a path of one machine"),
        ("numpy==${VERSION}", "a variable of the environment"),
        ("numpy\u00a0==1.26", "U+00A0 (no-break space)"),
        ("numpy; python_version < \u201c3.12\u201d", "U+201C (left double quotation mark)"),
        ("\u2013\u2013pre", "U+2013 (en dash)"),
        ("\u200bnumpy", "U+200B (zero width space)"),
        ("pandas\nnum\0py", "U+0000"),
        ("numpy=1.2", "as in numpy=="),
        ("numpy >= ", "is no requirement"),
        ("numpy==1.*.2", "is no requirement"),
        ("numpy>=1,,<2", "is no requirement"),
        ("numpy; python_versoin < '3'", "is no requirement"),
        ("numpy[", "is no requirement"),
        ("my package", "is no requirement"),
        ("root:$6$hunter2:20000:0:99999:7:::", ""),
        ("hunter2", None),
    ],
)
def test_each_line_is_one_sentence_with_its_place(tmp_path: Path, line: str, words: str | None) -> None:
    """In a list and in a file. A file is never shown, and no address or path is: it may hold a password."""
    file = tmp_path / "mine.txt"
    file.write_text(f"# ours\n\n{line}\n", encoding="utf-8")
    if words is None:
        assert read([line]) == read(str(file)) == ([line], [])
        return
    (in_list,), (in_file,) = read([line])[1], read(str(file))[1] if "\0" not in line else read([line])[1]
    assert in_list.startswith("airflow_image_requirements, set in group_vars/all.yml:7, ")
    assert "\0" in line or in_file.startswith(f"{file}:3 (airflow_image_requirements, set in group_vars/all.yml:7) ")
    for sentence in (in_list, in_file):
        assert words.replace("as in numpy==", "as in") in sentence and "\n" not in sentence, sentence
    assert words in in_list and "hunter2" not in in_file
    assert line.startswith("root:") or "hunter2" not in in_list


TEXT = "# Büro \u201cours\u201d\npandas==2.3.3 # why\nscikit-learn[plots] >=1.5, \\\n    <2\n\n  numpy; python_version>'3.8' \\\n# end\ncmaes"
LINES = ["pandas==2.3.3", "scikit-learn[plots]<2,>=1.5", 'numpy; python_version > "3.8"', "cmaes"]


@pytest.mark.parametrize(
    ("mark", "encoding", "ends"),
    [
        (b"", "utf-8", "\n"),
        (b"", "utf-8", "\r\n"),
        (b"", "utf-8", "\r"),
        (codecs.BOM_UTF8, "utf-8", "\r\n"),
        (codecs.BOM_UTF16_LE, "utf-16-le", "\r\n"),
        (codecs.BOM_UTF16_BE, "utf-16-be", "\n"),
        (codecs.BOM_UTF32_LE, "utf-32-le", "\n"),
    ],
)
def test_files_as_people_have_them(tmp_path: Path, mark: bytes, encoding: str, ends: str) -> None:
    """Comments, continued lines, extras and markers, in what Linux, Windows, PowerShell and old Macs write."""
    file = tmp_path / "requirements.txt"
    file.write_bytes(mark + TEXT.replace("\n", ends).encode(encoding))
    assert read(str(file)) == (LINES, [])
    assert read("requirements.txt", tmp_path) == (LINES, []), "a relative path"
    file.write_bytes(mark + (TEXT + "\n-e .").replace("\n", ends).encode(encoding))
    assert read(str(file))[1][0].startswith(f"{file}:9 "), "lines are counted as an editor does"


def test_texts_and_lists() -> None:
    """What a survey and a form hand over, and what YAML makes of a list."""
    assert read(TEXT) == read(TEXT.split("\n")) == read([TEXT]) == (LINES, [])
    assert read("numpy\fpandas\n") == (["numpy", "pandas"], []), "pip, too, ends a line at a form feed"
    assert read(None) == read("") == read([]) == read(["", " # none"]) == ([], [])
    assert read(["mine @ https://git.example.com/wheels/mine-1.0-py3-none-any.whl"])[1] == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"scikit-learn": "1.7.2"}, "is a mapping"),
        (1.5, "is a number"),
        (True, "is a truth value"),
        ([1.2], "has a number as its entry 1"),
        (["numpy", {"pandas": 2}], "has a mapping as its entry 2"),
        (["numpy", None], "has nothing as its entry 2"),
        ("missing.txt", "names the file missing.txt, which does not exist"),
        ("pandas", "or a list: [scikit-learn, pandas]"),
        ("folder", "which is a directory"),
        ("environment.yml", "which is no file of requirements"),
        ("vaulted.txt", "which is encrypted"),
        ("large.txt", "more than 1 MiB"),
        ("fifo", "which is no file of requirements"),
        ("ftp://files.example.com/requirements.txt", "neither a path nor an http address"),
        ("https://me:hunter2@git.example.com/requirements.txt", "a user or a password in it"),
    ],
)
def test_sources_that_are_none(tmp_path: Path, value: Any, words: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "environment.yml").write_text("name: env\n")
    (tmp_path / "vaulted.txt").write_text("$ANSIBLE_VAULT;1.1;AES256\n3031\n")
    (tmp_path / "large.txt").write_text("#" * (2**20 + 1))
    subprocess.run(["mkfifo", tmp_path / "fifo"], check=True)
    entries, (sentence,) = read(value, tmp_path)
    assert entries == [] and words in sentence and "hunter2" not in sentence
    assert sentence.startswith("airflow_image_requirements, set in group_vars/all.yml:7, ") and "\n" not in sentence


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("pandas\n# Büro\n".encode("latin-1"), ":2 (airflow_image_requirements, set in group_vars/all.yml:7) holds bytes that are not UTF-8; save"),
        ("pandas\nnumpy\n".encode("utf-16-le"), ":1 (airflow_image_requirements, set in group_vars/all.yml:7) holds a NUL byte; save"),
        (b"pandas\nnum\0py\n", ":2 (airflow_image_requirements, set in group_vars/all.yml:7) holds a NUL byte"),
        (codecs.BOM_UTF16_LE + "a\nb".encode("utf-16-le") + b"\0", ":2 (airflow_image_requirements"),
    ],
)
def test_other_encodings_are_named(tmp_path: Path, data: bytes, words: str) -> None:
    file = tmp_path / "r.txt"
    file.write_bytes(data)
    entries, (sentence,) = read(str(file))
    assert entries == [] and words in sentence and sentence.startswith(str(file))


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root reads everything; the system's answer to others is given here."""

    def refuse(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "r.txt").write_text("pandas\n")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert "names r.txt, which cannot be read (Permission denied)" in read("r.txt", tmp_path)[1][0]


def test_urls() -> None:
    """The file is read as any other; what does not answer, or answers with a page for people, is one sentence without the address's token."""
    answers: dict[str, Any] = {
        "https://a/r.txt?token=hunter2": b"pandas\r\n-e .\r\n",
        "https://a/login": b"<!doctype html>",
        "https://a/no": OSError("refused"),
    }

    def fetch(url: str) -> bytes:
        if isinstance(answers[url], OSError):
            raise answers[url]
        return bytes(answers[url])

    reader = sources.Reader(lambda variable, _line: variable, fetch=fetch)
    entries, (sentence,) = reader.read("v", "https://a/r.txt?token=hunter2")
    assert [str(entry.requirement) for entry in entries] == ["pandas"]
    assert sentence.startswith("https://a/r.txt:2 (v) has the option -e")
    assert "web page" in reader.read("v", "https://a/login")[1][0]
    assert "https://a/no, which cannot be read (refused)" in reader.read("v", "https://a/no")[1][0]


def test_a_file_of_something_else_is_few_sentences(tmp_path: Path) -> None:
    (tmp_path / "poem.txt").write_text("Once upon a time\n" * 500)
    problems = read("poem.txt", tmp_path)[1]
    assert len(problems) == 9 and "poem.txt:500" in problems[-1] and "500 such lines" in problems[-1]


def entries(*lines: str, own: str = "") -> list[sources.Entry]:
    """Return entries at line 1, 2, ...; ``own`` is what the lab needs."""
    found = [sources.Entry(Requirement(line), f"r.txt:{number}") for number, line in enumerate(lines, 1)]
    return [sources.Entry(Requirement(own), ""), *found] if own else found


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["numpy==1.26", "NumPy==2.0"], "r.txt:2 asks for NumPy==2.0 and r.txt:1 for numpy==1.26; write one of them."),
        (["my.pkg==1", "x", "my_pkg>=2"], "r.txt:3 asks for my_pkg>=2 and r.txt:1"),
        (["numpy<1", "numpy>2"], "r.txt:2 asks for numpy>2"),
        (["numpy==1,==2"], "r.txt:1 asks for numpy==1,==2, which no version can be"),
        (["numpy==1.26", "numpy==2; python_version > '3'"], "r.txt:2"),
        (["a @ https://h/a-1.whl", "a @ https://h/a-2.whl"], "r.txt:2"),
        (["numpy==1.26", "numpy==1.26.0", "numpy", "numpy==1.*"], ""),
        (["numpy==1; python_version < '3.9'", "numpy==2; python_version >= '3.9'"], ""),
        (["numpy==2.0rc1", "numpy<2.1"], ""),
    ],
)
def test_lines_that_contradict_each_other(lines: list[str], words: str) -> None:
    assert [words in found for found in sources.contradictions(entries(*lines))] == ([True] if words else [])


def test_lines_that_contradict_the_lab() -> None:
    (sentence,) = sources.contradictions(entries("mlflow-skinny==3.18.0", own="mlflow-skinny<=3.17.2"))
    assert sentence == "r.txt:1 asks for mlflow-skinny==3.18.0, but the lab itself needs mlflow-skinny<=3.17.2; write a version that is both."
    assert sources.contradictions(entries("mlflow-skinny==3.4", own="mlflow-skinny<=3.17.2")) == []


# ------------------------------------------------------------------ what the next resolution prefers


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of packages with two versions each.

    `foreign` pins an old `base`, `framework` 1 needs an old `base` and `framework` 2 a new one, `plain` is alone.
    """
    folder = tmp_path_factory.mktemp("wheels")
    packages: dict[str, dict[str, list[str]]] = {
        "base": {"1.0": [], "2.0": []},
        "framework": {"1.0": ["base<2"], "2.0": ["base>=2"]},
        "foreign": {"1.0": ["base==1.0"]},
        "plain": {"1.0": [], "2.0": []},
    }
    for name, versions in packages.items():
        for version, needs in versions.items():
            make_wheel(folder, name, version, needs)
    return folder


def make_wheel(folder: Path, name: str, version: str, needs: list[str]) -> None:
    """Write the smallest wheel that uv resolves."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(f"Requires-Dist: {need}\n" for need in needs)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def resolve(folder: Path, index: Path, lines: list[str], preferences: str) -> str:
    """Return the lock as the image's build makes it: the text of the former one lies where the new one goes."""
    (folder / "requirements.in").write_text("\n".join(lines))
    (folder / "project.txt").write_text(preferences)
    uv = str(Path(sys.executable).parent / "uv")
    command = [uv, "pip", "compile", "--quiet", "--no-cache", "--no-header", "--generate-hashes", "--no-index", "--find-links", str(index)]
    subprocess.run([*command, "--python", sys.executable, "requirements.in", "-o", "project.txt"], cwd=folder, check=True)
    asked = sources.asked_for(entries(*lines))
    return f"# Resolved from requirements 0123; remove this file to resolve again.\n{asked}\n" + (folder / "project.txt").read_text()


def versions(lock: str) -> dict[str, str]:
    """Return version by name."""
    return dict(line.split(" ")[0].split("==") for line in lock.splitlines() if "==" in line and line[0].isalpha())


def test_what_a_package_held_down_comes_back_when_it_is_gone(tmp_path: Path, index: Path) -> None:
    """And what has nothing to do with it keeps its version, although there is a newer one."""
    first = resolve(tmp_path, index, ["framework", "foreign", "plain==1.0"], "")
    assert versions(first) == {"base": "1.0", "framework": "1.0", "foreign": "1.0", "plain": "1.0"}
    then = ["framework", "plain<=2"]
    kept = resolve(tmp_path, index, then, first)
    assert versions(kept)["framework"] == "1.0", "with the whole lock nothing comes back: this is what is mended"
    second = resolve(tmp_path, index, then, sources.preferred(first, entries(*then)))
    assert versions(second) == {"base": "2.0", "framework": "2.0", "plain": "1.0"}


def test_a_limit_that_is_gone_holds_nothing_down(tmp_path: Path, index: Path) -> None:
    """A pin that becomes another one leaves all others alone: a new version of one's own package builds nothing else again."""
    first = resolve(tmp_path, index, ["framework", "base==1.0", "plain==1.0"], "")
    without = ["framework", "base", "plain==1.0"]
    assert versions(resolve(tmp_path, index, without, sources.preferred(first, entries(*without)))) == {"base": "2.0", "framework": "2.0", "plain": "1.0"}
    moved = ["framework", "base==1.0", "plain==2.0"]
    assert sources.preferred(first, entries(*moved)) == first
    assert sources.preferred("", entries("plain")) == ""


# ------------------------------------------------------------------ through Ansible


def test_a_play_stops_with_all_of_it_and_hands_over_what_is_right(tmp_path: Path) -> None:
    """File, line and variable of a user in each sentence; what the lab needs is there whatever the lists say."""
    mine = tmp_path / "mine.txt"
    mine.write_bytes(codecs.BOM_UTF16_LE + "pandas==2.3.3\r\n".encode("utf-16-le"))
    task = {
        "mlops.lab.read_requirements": {
            "project": {"airflow_image_requirements": str(mine), "airflow_image_custom_requirements": []},
            "airflow": {"airflow_image_providers": ["apache-airflow-providers-http"]},
            "own": {"airflow_image_lab_requirements": ["optuna"]},
            "locks": {"project.txt": "gone==1.0\n    # via -r requirements.in\npandas==2.0\n    # via -r requirements.in\n"},
        },
        "register": "result",
    }
    done = play(tmp_path, [task], "--check")
    assert done.returncode == 0, done.output
    assert done.result["lines"]["airflow_image_requirements"] == ["pandas==2.3.3"]
    assert done.result["asked"] == "# Asked for: optuna; pandas==2.3.3"
    assert done.result["preferences"] == {"project.txt": "pandas==2.0\n    # via -r requirements.in\n"}
    mine.write_text("pandas==2.3.3\n--extra-index-url https://me:hunter2@elsewhere.example\npandas==2\n")
    done = play(tmp_path, [task])
    assert done.returncode != 0 and "hunter2" not in done.output
    assert f"{mine}:2 (airflow_image_requirements, set" in done.output and f"{mine}:3 (airflow_image_requirements" in done.output
