"""The action image_build: an image is built once for each content, and its secrets are seen by BuildKit alone.

Docker is a stand-in here that keeps a record of what it was asked; real builds are what the lab's own images are tested by.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.lab.plugins.action.image_build import content_digest, context_archive, failure, step_lines

from tests.conftest import ROOT, environment, processes
from tests.unit.plays import Done, play

CANARY = "canary@of:image/build"
LOG = """\
#0 building with "default" instance using docker driver
#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 2.01kB done
#5 [base 1/2] FROM mlops-lab/base
#5 CACHED
#6 [base 2/2] RUN install
#6 0.312 Collecting six
#6 0.800 no matching distribution for six
#6 ERROR: process "/bin/sh -c install" did not complete successfully: exit code: 1
"""

# The images that exist are the lines of the file "images"; when a file "breaks" is there, the build fails with its content.
DOCKER = """\
#!/usr/bin/env python3
import json, os, pathlib, sys
state, words = pathlib.Path(__file__).parent.parent, sys.argv[1:]
images = state / "images"
known = dict(line.split() for line in images.read_text().splitlines())
if words[:2] == ["image", "inspect"]:
    names = words[4:]
    print("".join(known[name] + "\\n" for name in names if name in known), end="")
    sys.exit(any(name not in known for name in names))
elif words[:2] == ["image", "ls"]:
    print("\\n".join(name for name in reversed(known) if name.startswith(words[-1] + ":")))
elif words[:2] == ["image", "rm"]:
    if words[2] in (state / "used").read_text(): sys.exit("conflict: a container uses it")
    images.write_text("".join(f"{name} {known[name]}\\n" for name in known if name != words[2]))
elif words[0] == "run":
    image = next(word for word in words[1:] if not word.startswith("--"))
    (state / f"asked-{known[image][7:]}").write_text(json.dumps([words, sys.stdin.read()]))
    lines = state / f"lacks-{known[image][7:]}"
    if not lines.exists(): sys.exit(125)
    print(lines.read_text(), end="")
elif words[0] == "tag":
    images.write_text(images.read_text() + f"{words[2]} {known[words[1]]}\\n")
elif words[:2] == ["buildx", "build"]:
    staged = pathlib.Path(words[-1]).parent
    seen = {path.relative_to(staged).as_posix(): [path.read_text(), oct(path.stat().st_mode)[-3:]] for path in staged.rglob("*") if path.is_file()}
    (state / "build.json").write_text(json.dumps({"pid": os.getpid(), "words": words, "files": seen, "closed": oct(staged.stat().st_mode)[-3:]}))
    print("#5 [base 1/2] RUN something\\n#6 0.1 its output", flush=True)
    import time; time.sleep(2.5)
    if (state / "breaks").exists():
        print("#6 0.2 " + (state / "breaks").read_text()); sys.exit(1)
    if "--tag" in words:
        images.write_text(images.read_text() + f"{words[words.index('--tag') + 1]} sha256:{len(known)}\\n")
"""


def member_times(archive: bytes) -> dict[str, tuple[int, float]]:
    """Return name -> size and time of the files in an archive."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {member.name: (member.size, member.mtime) for member in opened.getmembers()}


def test_two_contents_of_one_size_differ_in_time_and_one_content_never_does() -> None:
    """BuildKit takes a file of the same name, size and time for the same file: a changed password hash, say, would not be seen."""
    first, second, third = (member_times(context_archive({"lock.txt": text}, {}))["context/lock.txt"] for text in ("six==1.16", "six==1.17", "six==1.16"))
    assert first[0] == second[0] and first[1] != second[1]
    assert first == third


def test_an_archive_keeps_secrets_apart_from_the_context() -> None:
    with tarfile.open(fileobj=io.BytesIO(context_archive({"Dockerfile": "FROM x", "a": "ä"}, {"index_password": CANARY}))) as opened:
        content = {member.name: (opened.extractfile(member) or io.BytesIO()).read().decode() for member in opened.getmembers()}
        modes = {member.name: member.mode for member in opened.getmembers()}
    assert content == {"context/Dockerfile": "FROM x", "context/a": "ä", "secrets/index_password": CANARY}
    assert modes["secrets/index_password"] == 0o600


def test_the_digest_knows_content_and_not_order() -> None:
    assert content_digest(["FROM x", {"a": "1", "b": "2"}]) == content_digest(["FROM x", {"b": "2", "a": "1"}])
    variants = [
        ["FROM x", {"a": "1"}, [["base", "id1"]], None],
        ["FROM x", {"a": "2"}, [["base", "id1"]], None],
        ["FROM x", {"a": "1"}, [["base", "id2"]], None],
    ]
    digests = {content_digest(variant) for variant in variants}
    assert len(digests) == 3
    assert all(len(digest) == 12 and int(digest, 16) for digest in digests)


def test_only_steps_are_shown() -> None:
    assert step_lines(LOG) == [
        "[base 1/2] FROM mlops-lab/base",
        "CACHED",
        "[base 2/2] RUN install",
        'ERROR: process "/bin/sh -c install" did not complete successfully: exit code: 1',
    ]


def test_a_failure_is_what_the_step_said() -> None:
    assert failure(LOG, {}) == "Collecting six\nno matching distribution for six"
    assert failure("ERROR: buildx is not there\n", {}) == "ERROR: buildx is not there"


@pytest.mark.parametrize("shown", [CANARY, "canary%40of%3Aimage%2Fbuild", "canary%40of%3Aimage/build"])
def test_a_failure_masks_secrets_also_as_an_url_has_them(shown: str) -> None:
    text = failure(f"#6 0.1 401 for http://reader:{shown}@index/simple/\n", {"index_user": "reader", "index_password": CANARY, "empty": ""})
    assert text == "401 for http://********:********@index/simple/"


class Builder:
    """A host with a stand-in for Docker."""

    def __init__(self, path: Path) -> None:
        self.path, self.staging = path, path / "staging"
        (path / "bin").mkdir()
        (path / "bin" / "docker").write_text(DOCKER, encoding="utf-8")
        (path / "bin" / "docker").chmod(0o755)
        (path / "images").write_text("base:1 sha256:base\n", encoding="utf-8")

    @classmethod
    def again(cls, path: Path) -> Builder:
        """Return a builder that is there already."""
        builder = cls.__new__(cls)
        builder.path, builder.staging = path, path / "staging"
        return builder

    def run(self, *options: str, **arguments: Any) -> Done:
        """Build an image and return what the play did."""
        task = {
            "repository": "lab/thing",
            "version": "1.0",
            "dockerfile": "FROM base:1\n",
            "files": {"requirements.txt": "six\n"},
            "base_images": ["base:1"],
            "secrets": {"index_user": "reader", "index_password": "{{ lookup('ansible.builtin.env', 'THE_SECRET') }}"},
            "secret_files": {"ca_bundle": "/etc/hostname"},
            "staging_dir": str(self.staging),
        }
        path = f"{self.path}/bin{os.pathsep}{environment()['PATH']}"
        return play(self.path, [{"mlops.lab.image_build": {**task, **arguments}, "register": "result"}], *options, PATH=path, THE_SECRET=CANARY)

    @property
    def build(self) -> dict[str, Any] | None:
        """What Docker was asked to build, since this was last looked at."""
        record = self.path / "build.json"
        if not record.exists():
            return None
        text = record.read_text(encoding="utf-8")
        record.unlink()
        return dict(json.loads(text))

    def staged(self) -> list[str]:
        """Return what lies in the staging directory."""
        return [str(path) for path in self.staging.rglob("*")]


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path)


def test_an_image_is_built_once_for_each_content(builder: Builder) -> None:
    predicted = builder.run("--check")
    assert predicted.result["changed"] and builder.build is None and builder.staged() == []

    done = builder.run("-vvv", alias="lab/thing:current")
    assert done.returncode == 0, done.output
    assert done.result["changed"] and done.result["image"] == predicted.result["image"]
    assert "[base 1/2] RUN something" in done.output
    build = builder.build
    assert build is not None
    assert build["files"]["secrets/index_password"] == [CANARY, "600"] and build["closed"] == "700"
    assert build["files"]["context/requirements.txt"][0] == "six\n"
    assert "id=ca_bundle,src=/etc/hostname" in build["words"]
    assert CANARY not in " ".join(build["words"]), "argument of a process"
    assert CANARY not in done.output
    assert builder.staged() == [] and done.left() == []

    again = builder.run(alias="lab/thing:current")
    assert again.result["changed"] is False and again.result["image_id"] == done.result["image_id"]
    assert builder.build is None

    other = builder.run(files={"requirements.txt": "six==1.17.0\n"})
    assert other.result["changed"] and other.result["image"] != done.result["image"]
    # Another base image under the same name is another content, although no text changed.
    (builder.path / "images").write_text("base:1 sha256:newer\n", encoding="utf-8")
    assert builder.run().result["image"] != done.result["image"]


@pytest.mark.deep
def test_older_images_go_after_a_build_and_those_in_use_stay(builder: Builder) -> None:
    (builder.path / "used").write_text("nexus:5000/thing:1.0-in-use\n", encoding="utf-8")
    strangers = ["nexus:5000/thing:2.0-other-version", "nexus:5000/thing:1.0", "nexus:5000/thing-more:1.0-other-name"]
    present = ["base:1", *strangers, "nexus:5000/thing:1.0-in-use", *(f"nexus:5000/thing:1.0-{number}" for number in range(4))]
    (builder.path / "images").write_text("".join(f"{name} sha256:{name}\n" for name in present), encoding="utf-8")

    def images() -> list[str]:
        return [line.split()[0] for line in (builder.path / "images").read_text(encoding="utf-8").splitlines()]

    done = builder.run(repository="nexus:5000/thing")
    assert done.returncode == 0, done.output
    assert images() == ["base:1", *strangers, "nexus:5000/thing:1.0-in-use", "nexus:5000/thing:1.0-2", "nexus:5000/thing:1.0-3", done.result["image"]]
    assert builder.run(repository="nexus:5000/thing").result["changed"] is False
    everything = images()
    done = builder.run(repository="nexus:5000/thing", files={}, keep=0)
    assert images() == [*everything, done.result["image"]]


def test_a_moved_alias_is_a_change_without_a_build(builder: Builder) -> None:
    builder.run()
    assert builder.build is not None
    done = builder.run(alias="lab/thing:current")
    assert done.result["changed"] and builder.build is None
    assert builder.run(alias="lab/thing:current").result["changed"] is False


def test_an_image_that_lacks_what_the_present_one_has_does_not_take_its_place(builder: Builder) -> None:
    compare: dict[str, Any] = {"alias": "lab/thing:current", "compare": ["python", "-c", "x 'y'"], "compare_input": '{"wine.yml": "z"}'}
    assert builder.run(**compare).returncode == 0, "without a present image nothing is compared"
    assert not list(builder.path.glob("asked-*"))
    (builder.path / "lacks-1").write_text("draft.yml a:b\tdraft.yml never worked\n", encoding="utf-8")
    done = builder.run(**compare, files={})
    assert done.returncode and "can load was not found out: exit code 125" in done.output, "what cannot be looked at does not take its place"
    (builder.path / "lacks-3").write_text("draft.yml a:b\tdraft.yml never worked so\nwine.yml wine:x\twine.yml calls wine:x\n", encoding="utf-8")
    for moment in ("built", "there already"):
        done = builder.run(**compare, files={})
        assert done.returncode, moment
        assert "1 to put right before lab/thing:1.0-" in done.output and "- wine.yml calls wine:x" in done.output and "never worked" not in done.output
        assert dict(line.split() for line in (builder.path / "images").read_text(encoding="utf-8").splitlines())["lab/thing:current"] == "sha256:1", moment
    words, data = json.loads((builder.path / "asked-3").read_text(encoding="utf-8"))
    assert "--network=none" in words and words[-2:] == ["-c", "x 'y'"] and data.strip() == '{"wine.yml": "z"}'
    (builder.path / "lacks-3").write_text("draft.yml a:b\tdraft.yml never worked so\n", encoding="utf-8")
    done = builder.run(**compare, files={})
    assert done.returncode == 0 and done.result["changed"], done.output


def test_experiments_name_what_the_environment_cannot_load(tmp_path: Path) -> None:
    modules = {
        "noisy": "print('hello')\ndef fit(): ...\nclass Reader:\n    def read(self): ...\n",
        "changed": "def fit(): ...\n",
        "broken": "import nothing_of_this_name\n",
        "deadly": "import os\nos._exit(0)\n",
        "slow": "import os, time\nos.fork()\ntime.sleep(8)\n",
    }
    for name, text in modules.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    experiments = {
        "wine.yml": "steps: [{name: a, call: 'gone.data:read', with: {x: 'json:no'}}, {name: b, call: 'gone:write'}]\ntrain: {call: 'noisy:Reader.read'}\n",
        "own.yml": "environment: own\ntrain: {call: 'gone:fit'}\n",
        "named.yml": "steps: [{name: a, call: 'noisy:fit'}, {name: b, call: 'changed:split'}]\ntrain: {evaluate: {data: {call: 'lost.deep.er:read'}}}\n",
        "imports.yml": "environment: project\ntrain: {call: 'broken:fit'}\n",
        "dies.yml": "steps: [{name: a, call: 'noisy:fit'}]\ntrain: {call: 'deadly:fit'}\n",
        "waits.yml": "train: {call: 'slow:fit'}\n",
        "unread.yml": "train: {call: 'gone:fit'\n",
        "empty.yml": "",
        "quiet.yml": "# call: gone:x\ntrain: {call: 'json:dumps'}\n",
    }
    script = (ROOT / "roles" / "airflow_image" / "files" / "unloadable.py").read_text(encoding="utf-8").replace("SECONDS = 60", "SECONDS = 2")
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, input=json.dumps(experiments), text=True, capture_output=True, check=True, env={"PYTHONPATH": str(tmp_path)})
    found = dict(line.split("\t") for line in done.stdout.splitlines())
    reasons = {
        "dies.yml deadly:fit": "importing it ends the process",
        "imports.yml broken:fit": "ModuleNotFoundError: No module named 'nothing_of_this_name'",
        "named.yml changed:split": "AttributeError: module 'changed' has no attribute 'split'",
        "named.yml lost.deep.er:read": "no package there has this module",
        "waits.yml slow:fit": "importing it takes longer than 2 s",
        "wine.yml gone.data:read": "no package there has this module",
        "wine.yml gone:write": "no package there has this module",
    }
    for call, reason in reasons.items():
        what = re.sub(r"((?:gone|lost)).*", r"\1", call).replace(" ", " calls ")
        assert found.pop(call).partition(": put back")[0] == f"{what}, which the project's environment cannot load any more ({reason})"
    assert not found


def test_the_role_gives_the_experiments_to_the_comparison(tmp_path: Path) -> None:
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "wine.yml").write_text("train: {call: 'wine:fit'}\n", encoding="utf-8")
    role = {"name": "mlops.lab.airflow_image", "tasks_from": "environments"}
    for files, expected in ((str(folder), {"wine.yml": "train: {call: 'wine:fit'}"}), (str(tmp_path / "none"), {}), ("", {})):
        values = json.dumps({"airflow_image_experiments": files, "airflow_image_environments": []})
        done = play(tmp_path, [{"import_role": role}, {"set_fact": {"result": "{{ __airflow_image_experiments }}"}}], "-e", values)
        assert done.returncode == 0 and done.result == expected, done.output


def test_a_failed_build_says_why_and_leaves_nothing(builder: Builder) -> None:
    (builder.path / "breaks").write_text(f"401 for http://reader:{CANARY}@index/", encoding="utf-8")
    done = builder.run("-vvv", failure_hint="The requirements cannot be resolved.")
    assert done.returncode != 0
    assert "The requirements cannot be resolved." in done.output
    assert "401 for http://********:********@index/" in done.output
    assert CANARY not in done.output
    assert builder.staged() == [] and done.left() == []


def test_a_missing_base_image_is_named_before_anything_is_staged(builder: Builder) -> None:
    done = builder.run(base_images=["base:1", "base:2"])
    assert done.returncode != 0
    assert "needs base:2, which this host does not have" in done.output
    assert builder.build is None and builder.staged() == []


@pytest.mark.parametrize("moment", [pytest.param("staged", marks=pytest.mark.deep), "building"])
def test_a_build_ends_when_its_ansible_was_killed(builder: Builder, moment: str) -> None:
    """The host waits for a while, ends the build and removes its secrets; it would have gone on for minutes, and what no build had begun with, for ever."""
    docker, tar, record = builder.path / "bin/docker", builder.path / "bin/tar", builder.path / "record"
    docker.write_text(docker.read_text(encoding="utf-8").replace("time.sleep(2.5)", "time.sleep(300)"), encoding="utf-8")
    if moment == "staged":  # the last that Ansible does before it starts the build; its worker is killed, too
        script = (
            f'#!/bin/sh\n/usr/bin/tar "$@"\nfind {builder.staging} -type f >{record}.part; mv {record}.part {record}\n'
            f"cd /proc; for pid in [0-9]*; do ! grep -qs {builder.path}/play.yml $pid/cmdline || kill -KILL $pid; done\n"
        )
        tar.write_text(script, encoding="utf-8")
        tar.chmod(0o755)
    path = f"pathlib.Path({str(builder.path)!r})"
    code = f"import pathlib; import tests.conftest; from tests.unit.test_image_build import Builder; Builder.again({path}).run(patience=15)"
    ansible = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL)
    build = builder.path / "build.json"
    if moment == "building":
        until(build.exists)
        os.kill(processes(f"{builder.path}/play.yml")[0], signal.SIGKILL)  # the oldest: not its worker
    else:
        until(record.exists)
        assert "secrets/index_password" in record.read_text(encoding="utf-8")
    ansible.wait(300)
    until(lambda: builder.staged() == [])
    assert builder.staged() == []
    assert build.exists() == (moment == "building")
    if moment == "building":
        pid = json.loads(build.read_text(encoding="utf-8"))["pid"]
        until(lambda: not Path(f"/proc/{pid}").exists())
        assert not Path(f"/proc/{pid}").exists(), "the build goes on"


def until(what: Callable[[], bool], seconds: float = 300) -> None:
    """Wait until something is so, or for so many seconds."""
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.5)
