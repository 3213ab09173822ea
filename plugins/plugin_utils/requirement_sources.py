# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requirements as people have them (a list, a text, a file, a URL) read and judged on the control node, before anything is built.

What a line may say is judged by `packaging`; how a file is cut into lines is pip's own way (requirements-file-format in pip's documentation). A
sentence names option and package, and never shows what else a file holds: the path may be that of a file which is nobody's business.
Needs nothing but the standard library and `packaging`, so that tools that run without Ansible use it, too.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

try:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import SpecifierSet
    from packaging.utils import canonicalize_name
except ImportError:  # nowhere but in ansible-test's import test: ansible-core needs it
    pass

LARGEST = 2**20
"""Bytes of a file of requirements, at most."""
MOST = 8
"""Sentences about one source, at most."""

# The longer ones first: that of UTF-32 begins as that of UTF-16 does.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
COMMENT = re.compile(r"(^|\s+)#.*$")
OPTION = re.compile(r"(?:^|\s)(--[A-Za-z][\w-]*|-[A-Za-z])")
ARCHIVE = re.compile(r"\.(whl|zip|egg|tar|tgz|tbz|txz|tar\.\w+)(\[[^\]]*\])?\s*(;|$)", re.IGNORECASE)
BARE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:|[\w.-]+@[\w.-]+:(?!//)")
OTHER_FILE = re.compile(r"\.(txt|in|toml|ya?ml|json|lock|cfg|ini|py|ipynb|csv|xlsx)$", re.IGNORECASE)
LIMIT = re.compile(r"==|<|~=|!=")
ASKED = "# Asked for: "
"""How the line of a lock begins that says what it was resolved from."""
NO_LIST = (".toml", ".yml", ".yaml", ".json", ".lock", ".cfg", ".py", ".ipynb", ".whl")
ONE_INDEX = "everything comes from the lab's one index; publish the package there, or add the other index to its group"
ADVICE = {
    "--index-url": ONE_INDEX,
    "-i": ONE_INDEX,
    "--extra-index-url": ONE_INDEX,
    "--no-index": ONE_INDEX,
    "--find-links": ONE_INDEX,
    "-f": ONE_INDEX,
    "--trusted-host": ONE_INDEX,
    "--requirement": "write the other file's lines here",
    "-r": "write the other file's lines here",
    "--constraint": "write its versions as requirements here",
    "-c": "write its versions as requirements here",
    "--editable": "publish the project to the index as a wheel, and write its name and version",
    "-e": "publish the project to the index as a wheel, and write its name and version",
    "--pre": "name the pre-release where one is wanted, as in name>=2.0rc1",
    "--hash": "leave hashes out, the lab's lock brings them",
    "--require-hashes": "leave hashes out, the lab's lock brings them",
}


class Refused(Exception):
    """A source or a line that cannot be used; the text is the end of a sentence that begins with its place."""


@dataclass(frozen=True)
class Entry:
    """One requirement and the place where a user wrote it."""

    requirement: Requirement
    place: str
    """``requirements.txt:3 (airflow_image_requirements, set in ...:6)``; empty for what the lab itself needs."""

    @property
    def name(self) -> str:
        """The package's name in its normal form."""
        return canonicalize_name(self.requirement.name)


@dataclass(frozen=True)
class Reader:
    """What is needed to read the sources of one lab."""

    place_of: Callable[[str, str], str]
    """Variable and text of a line -> ``airflow_image_requirements, set in group_vars/all.yml:7,``; ends with a comma if it is more than a name."""
    allowed: Sequence[str] = ()
    """Addresses below which a package may come from beside the index."""
    allowed_variable: str = ""
    """The variable that says them, for the advice; empty where there is none."""
    folders: Sequence[Path] = (Path(),)
    """Where a relative path is looked for, in this order."""
    fetch: Callable[[str], bytes] | None = None
    """Reads what is at a URL; raises OSError. None: URLs are left to somebody else, and have no entries."""

    def read(self, variable: str, value: Any) -> tuple[list[Entry], list[str]]:
        """Return the requirements of one source, and one sentence for each thing that is wrong with it."""
        try:
            if value is None or (isinstance(value, str) and not value.strip()):
                return [], []
            if isinstance(value, str) and "\n" not in value:
                return self._stored(variable, value.strip())
            if isinstance(value, str):
                return self._judge(variable, value, lambda _number, line: self.place_of(variable, line), inline=True)
            if not isinstance(value, (list, tuple)):
                raise Refused(f"is {kind_of(value)}; write a list of requirements, the path of a file, or an URL.")
            for number, entry in enumerate(value, 1):
                if not isinstance(entry, str):
                    raise Refused(f"has {kind_of(entry)} as its entry {number}; write a text there, as in scikit-learn==1.7.2.")
        except Refused as refused:
            return [], [f"{self.place_of(variable, '')} {refused}"]
        return self._judge(variable, "\n".join(value), lambda _number, line: self.place_of(variable, line), inline=True)

    def _stored(self, variable: str, name: str) -> tuple[list[Entry], list[str]]:
        """Read a file or a URL."""
        if re.match(r"https?://", name):
            if "@" in urlsplit(name).netloc:
                raise Refused("is an address with a user or a password in it; write one that needs none, or the requirements themselves.")
            if self.fetch is None:
                return [], []
            shown = name.partition("?")[0]  # what follows may be a token
            try:
                data = self.fetch(name)
            except OSError as error:
                raise Refused(
                    f"names {shown}, which cannot be read ({reason_of(error)}); write an address that answers, or the requirements themselves."
                ) from None
            if data.lstrip()[:1] == b"<":
                raise Refused(f"names {shown}, which answers with a web page; write the address of the file itself.")
        else:
            path = self._path(name)
            shown, data = str(path), read_file(path, name)
        place = self.place_of(variable, "").rstrip(",")
        try:
            text = decoded(data)
        except Refused as refused:
            return [], [f"{shown}{refused.args[1]} ({place}) {refused.args[0]}"]
        return self._judge(variable, text, lambda number, _line: f"{shown}:{number} ({place})", inline=False)

    def _path(self, name: str) -> Path:
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", name):
            raise Refused("names neither a path nor an http address; write one of them, or a list of requirements.")
        path = Path(name).expanduser()
        return next((found for folder in self.folders if (found := folder / path).exists()), path)

    def _judge(self, variable: str, text: str, place: Callable[[int, str], str], inline: bool) -> tuple[list[Entry], list[str]]:
        """Judge each line of a text. Of a file the lines are not quoted."""
        entries, problems = list[Entry](), list[str]()
        for number, line in logical_lines(text):
            try:
                entries.append(Entry(self._requirement(variable, line, inline), place(number, line)))
            except Refused as refused:
                problems.append(f"{place(number, line)} {refused}")
        problems = list(dict.fromkeys(problems))
        if len(problems) > MOST:
            problems[MOST:] = [f"{problems[-1].partition(' has ')[0]} is the last of {len(problems)} such lines."]
        return entries, problems

    def _requirement(self, variable: str, line: str, inline: bool) -> Requirement:
        """Return what one line says."""
        for character in line:
            if not " " <= character <= "~" and character != "\t":
                name = unicodedata.name(character, "a control character").lower()
                raise Refused(f"has the character U+{ord(character):04X} ({name}); write plain letters, spaces and quotes.")
        if "${" in line:
            raise Refused("has a variable of the environment (${...}); write the value itself.")
        option = OPTION.search(line)
        if option:
            word = option.group(1)
            advice = next((text for name, text in ADVICE.items() if name == word or (len(word) > 3 and name.startswith(word))), "leave it out")
            raise Refused(f"has the option {word}; write requirements alone: {advice}.")
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            requirement = None
        if requirement and requirement.url and not BARE.match(line):
            return self._reference(requirement)
        if BARE.match(line):
            unless = self._unless() if line.startswith("http") else ""
            raise Refused(f"has an address without a package's name; publish the package to the index, and write its name and version{unless}.")
        if re.match(r"[.~/\\]", line) or ARCHIVE.search(line) or re.search(r"[/\\]", line.partition(";")[0]):
            raise Refused("has a path, which the build does not have; publish the package to the index, and write its name and version.")
        if OTHER_FILE.search(line):
            raise Refused(f"has the name of a file among requirements; write {variable}: and the path alone, without a list, or the file's lines.")
        if requirement is None:
            single = re.fullmatch(r"([A-Za-z0-9][\w.-]*)\s*=\s*([\w.]+)(=[\w.]+)?", line)  # as `conda list --export` has them
            wish = f"{single.group(1)}=={single.group(2)}" if single and inline else "scikit-learn==1.7.2"
            shown = f"'{line[:80]}'" if inline and "@" not in line else "a line"
            raise Refused(f"has {shown}, which is no requirement; write one a line, as in {wish}.")
        return requirement

    def _reference(self, requirement: Requirement) -> Requirement:
        """Return a requirement with an address, if the address may be used."""
        name, url = requirement.name, str(requirement.url)
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise Refused(f"has a requirement ('{name}') with a user or a password in its address; publish it to the index instead.")
        if parts.scheme not in ("http", "https"):
            what = "a path of one machine" if parts.scheme in ("file", "") else f"an address that begins with {parts.scheme}:"
            more = "; `pip list --format=freeze` shows the versions" if parts.scheme == "file" else ""
            raise Refused(f"takes {name} from {what}; publish it to the index and write {name}== with its version{more}.")
        inside = ".." not in unquote(parts.path).replace("\\", "/").split("/")
        if not inside or not any(url == one or url.startswith(one.rstrip("/") + "/") for one in self.allowed):
            raise Refused(f"takes {name} from an address; publish it to the index and write {name}== with its version{self._unless()}.")
        return requirement

    def _unless(self) -> str:
        return f", or write name @ address and allow the address in {self.allowed_variable}" if self.allowed_variable else ""


def kind_of(value: Any) -> str:
    """Return what a value of YAML is, in words."""
    if isinstance(value, bool):
        return "a truth value"
    if isinstance(value, (int, float)):
        return "a number"
    return (
        "a mapping"
        if isinstance(value, Mapping)
        else "a list"
        if isinstance(value, (list, tuple))
        else "nothing"
        if value is None
        else f"a {type(value).__name__}"
    )


def reason_of(error: OSError) -> str:
    """Return the short reason of an error, without the path or address that the sentence has anyway."""
    return str(error.strerror or getattr(error, "reason", "") or error)


def read_file(path: Path, name: str) -> bytes:
    """Return what a file of requirements holds.

    Args:
        path: where it is.
        name: what the user wrote.

    Raises:
        Refused: it is none, or cannot be read.
    """
    if path.is_dir():
        raise Refused(f"names {name}, which is a directory; write the path of a file.")
    if not path.exists():
        raise Refused(f"names the file {name}, which does not exist; write the path of a file on this machine, or a list: [scikit-learn, pandas].")
    if not path.is_file() or path.suffix.lower() in NO_LIST:
        raise Refused(f"names {name}, which is no file of requirements; write the path of a file with one requirement a line.")
    try:
        if path.stat().st_size > LARGEST:
            raise Refused(f"names {name}, which has more than {LARGEST // 2**20} MiB; write the path of a file with one requirement a line.")
        data = path.read_bytes()
    except OSError as error:
        raise Refused(f"names {name}, which cannot be read ({reason_of(error)}); let your user read it.") from None
    if data.startswith(b"$ANSIBLE_VAULT"):
        raise Refused(f"names {name}, which is encrypted; requirements are no secret, write them in clear text.")
    return data


def decoded(data: bytes) -> str:
    """Return the text of a file: UTF-8, or what its byte order mark says (PowerShell's ``>`` writes UTF-16).

    Raises:
        Refused: it is something else; the second argument is ``:line`` or empty.
    """
    mark, encoding = next(((mark, encoding) for mark, encoding in MARKS if data.startswith(mark)), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = data[len(mark) :][: error.start].decode(encoding, "replace").count("\n") + 1
        found = "UTF-8" if encoding == "utf-8" else "the UTF-16 or UTF-32 that its first bytes promise"
        raise Refused(f"holds bytes that are not {found}; save the file as UTF-8.", f":{line}") from None
    if "\0" in text:
        raise Refused("holds a NUL byte; save the file as UTF-8 text.", f":{text[: text.index(chr(0))].count(chr(10)) + 1}")
    return text


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number of each line in an editor, from 1, and what it says, as pip reads it: continued, without comments and empty lines."""
    waiting, first = "", 0
    for number, physical in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        for part in physical.splitlines() or [""]:  # at form feeds and their like
            comment = COMMENT.match(part)
            if part.endswith("\\") and not comment:
                first = first if waiting else number
                waiting += part[:-1]
                continue
            line = COMMENT.sub("", waiting + (f" {part}" if comment else part)).strip()
            if line:
                yield first if waiting else number, line
            waiting = ""
    if line := COMMENT.sub("", waiting).strip():
        yield first, line


def contradictions(entries: Iterable[Entry]) -> list[str]:
    """Return one sentence for each package that no version of can be what all lines ask for."""
    problems, by_name = list[str](), dict[str, list[Entry]]()
    for entry in entries:
        by_name.setdefault(entry.name, []).append(entry)
    for same in by_name.values():
        for marker in dict.fromkeys(str(entry.requirement.marker or "") for entry in same):
            together = [entry for entry in same if str(entry.requirement.marker or "") in ("", marker)]
            pair = next(
                ((one, other) for number, other in enumerate(together) for one in [other, *together[:number]] if not possible([one, other])),
                None,
            )
            if pair is None:
                continue
            one, other = sorted(pair, key=lambda entry: bool(entry.place))
            if one is other:
                problems.append(f"{other.place} asks for {other.requirement}, which no version can be; write one version.")
            elif not one.place:
                problems.append(f"{other.place} asks for {other.requirement}, but the lab itself needs {one.requirement}; write a version that is both.")
            else:
                problems.append(f"{other.place} asks for {other.requirement} and {one.place.rstrip(',')} for {one.requirement}; write one of them.")
            break
    return problems


def possible(entries: Sequence[Entry]) -> bool:
    """Tell whether a version could be what all these lines of one package ask for."""
    addresses = {entry.requirement.url for entry in entries if entry.requirement.url}
    wanted = SpecifierSet(",".join(str(entry.requirement.specifier) for entry in entries if entry.requirement.specifier))
    pins = [one.version for one in wanted if one.operator in ("==", "===") and not one.version.endswith(".*")]
    if pins:
        return len(addresses) < 2 and any(wanted.contains(pin, prereleases=True) for pin in pins)
    return len(addresses) < 2 and not getattr(wanted, "is_unsatisfiable", lambda: False)()  # packaging has it since version 26.1


def asked_for(entries: Iterable[Entry]) -> str:
    """Return the line of a lock that says what was asked for."""
    return ASKED + "; ".join(sorted({str(entry.requirement).replace(";", " if ") for entry in entries}))


def preferred(lock: str, entries: Sequence[Entry]) -> str:
    """Return what of a lock the next resolution should prefer: nothing that a line which is no longer there may have held down.

    A package's pins reach as far as the graph of the lock's ``# via`` comments: its dependencies are held down by it, and what depends on them by
    them. What has no connection with a package that is gone, or whose limit is, keeps its version.

    Args:
        lock: what ``uv pip compile`` wrote, after the line of :func:`asked_for`.
        entries: what is asked for now.
    """
    blocks = re.split(r"^(?=[A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?(?: @|==))", lock, flags=re.MULTILINE)
    names = [canonicalize_name(re.split(r"[\[ =@]", block, maxsplit=1)[0]) for block in blocks[1:]]
    demands = [re.findall(r"^ +# (?:via|  ) *(\S.*)$", block, re.MULTILINE) for block in blocks[1:]]
    limited: dict[str, bool] = {}
    for entry in entries:
        limited[entry.name] = limited.get(entry.name, False) or bool(LIMIT.search(str(entry.requirement.specifier)))
    gone: set[str] = {name for name, by in zip(names, demands, strict=True) if name not in limited and any(one.startswith("-r ") for one in by)}
    former = re.search(rf"^{re.escape(ASKED)}(.*)$", lock, re.MULTILINE)
    for line in former.group(1).split("; ") if former else ():
        name = canonicalize_name(re.split(r"[^\w.-]", line, maxsplit=1)[0])
        if LIMIT.search(line.partition(" if ")[0]) and not limited.get(name, False):
            gone.add(name)
    neighbours: dict[str, set[str]] = {name: set() for name in (*names, *gone)}
    for name, by in zip(names, demands, strict=True):
        for other in (canonicalize_name(re.split(r"[\[ ]", one, maxsplit=1)[0]) for one in by if not one.startswith("-")):
            neighbours[name].add(other)
            neighbours.setdefault(other, set()).add(name)
    waiting = list(gone)
    while waiting:
        new = neighbours[waiting.pop()] - gone
        gone |= new
        waiting += new
    return blocks[0] + "".join(block for name, block in zip(names, blocks[1:], strict=True) if name not in gone)
