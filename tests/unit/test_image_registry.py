"""Role image_registry: its files, and its decisions about a push, a pull and what is old, with a stand-in for Docker and for the registry."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, environment, forms, run_tool
from tests.unit.plays import Done
from tests.unit.rendering import Case

ROLE = ROOT / "roles/image_registry"
ADDRESS, NAME = "registry.example.com:5001/team", "lab/airflow:3.3.2"
REPOSITORY = f"{ADDRESS}/lab/airflow"
PASSWORD = "canary-@:/%41+&=?#$x'\"{{"
OLD, NEW = ({"Id": f"sha256:{digit * 64}", "Created": f"2026-11-2{digit}T08:09:10.123456789Z", "Architecture": "amd64"} for digit in "12")
NEW_TAG, NEW_DIGEST, OLD_DIGEST = f"3.3.2-20261122080910-{'2' * 12}", f"sha256:{'b' * 64}", f"sha256:{'a' * 64}"

# An engine as far as the role asks one. Each host has a file with its images, by id, with their names; the registry is a file that all share.
# Like the real one, it forgets the digests of a repository with the last tag in it, and does not remove what a container uses.
DOCKER = """#!{python}
import json, os, pathlib, sys
state = pathlib.Path({state!r})
host, words = os.environ["HOST_OF_TEST"], sys.argv[1:]
login = None
with (state / "calls").open("a") as calls:
    if words[0] == "--config":
        folder, words = pathlib.Path(words[1]), words[2:]
        if words[0] != "login":
            login = [(folder / "config.json").read_text(), oct((folder / "config.json").stat().st_mode)[-3:], oct(folder.stat().st_mode)[-3:]]
    calls.write(json.dumps([host, words, login]) + "\\n")
file, registry = state / f"{{host}}.json", state / "registry.json"
engine, there = json.loads(file.read_text()), json.loads(registry.read_text())
images = engine["images"]

def find(name):
    for image in images:
        if name == image["Id"] or name in image["RepoTags"] + image["RepoDigests"]:
            return image
    print(f"Error response from daemon: No such image: {{name}}", file=sys.stderr)
    sys.exit(1)

def breaks():
    for process in pathlib.Path("/proc").glob("[0-9]*/cmdline") if engine.get("kills") else ():
        try:
            if str(state / "play.yml").encode() in process.read_bytes():  # Ansible
                os.kill(int(process.parent.name), 9)
        except OSError:  # it ended meanwhile
            pass
    if engine.get("breaks"):
        print(engine["breaks"], file=sys.stderr)
        sys.exit(1)

if words[:2] == ["image", "inspect"]:
    image = find(words[-1])
    print(image["Id"] if "--format" in words else json.dumps([image]))
elif words[:2] == ["image", "ls"]:
    for image in images:
        tags = [name for name in image["RepoTags"] if name.rpartition(":")[0] == words[-1]]
        digests = [name.rpartition("@")[2] for name in image["RepoDigests"] if name.rpartition("@")[0] == words[-1]]
        for tag in tags:
            print(image["Id"], words[-1], tag.rpartition(":")[2], (digests or ["<none>"])[0])
        for digest in digests if not tags else []:
            print(image["Id"], words[-1], "<none>", digest)
elif words[:2] == ["image", "rm"]:
    image = find(words[2])
    if len(image["RepoTags"] + [name for name in image["RepoDigests"] if words[2] != name]) <= 1 and image.get("used"):
        print("conflict: unable to remove repository reference", file=sys.stderr)
        sys.exit(1)
    repository = words[2].rpartition("@" if "@" in words[2] else ":")[0]
    image["RepoTags"] = [name for name in image["RepoTags"] if name != words[2]]
    if not any(name.rpartition(":")[0] == repository for name in image["RepoTags"]):
        image["RepoDigests"] = [name for name in image["RepoDigests"] if name.rpartition("@")[0] != repository]
    if not image["RepoTags"] + image["RepoDigests"]:
        images.remove(image)
elif words[0] == "tag":
    image = find(words[1])
    for other in images:
        other["RepoTags"] = [name for name in other["RepoTags"] if name != words[2]]
    image["RepoTags"].append(words[2])
elif words[0] == "version":
    print(engine.get("arch", "amd64"))
elif words[:2] == ["manifest", "inspect"]:
    breaks()
    sys.exit(0 if words[2].rpartition("@")[2] in there else 1)
elif words[0] == "login":
    breaks()
    (folder / "config.json").write_text(sys.stdin.read())
elif words[0] == "push":
    breaks()
    image = find(words[1])
    digest = "sha256:" + chr(ord("a") + int(image["Id"][7]) - 1) * 64
    there[digest] = image
    image["RepoDigests"].append(words[1].rpartition(":")[0] + "@" + digest)
    print(f"5f70bf18a086: Preparing\\n5f70bf18a086: Pushed\\n{{words[1].rpartition(':')[2]}}: digest: {{digest}} size: 1234")
elif words[0] == "pull":
    breaks()
    digest = words[1].rpartition("@")[2]
    if digest not in there:
        print(f"Error response from daemon: manifest for {{words[1]}} not found: manifest unknown: manifest unknown", file=sys.stderr)
        sys.exit(1)
    image = {{**there[digest], "RepoTags": [], "RepoDigests": [words[1]]}}
    if not any(one["Id"] == image["Id"] for one in images):
        images.append(image)
    print("4f4fb700ef54: Already exists\\n5f70bf18a086: Pulling fs layer\\n5f70bf18a086: Download complete\\n5f70bf18a086: Pull complete")
for path, now in ((file, engine), (registry, there)):
    if json.loads(path.read_text()) != now:  # what only asks may run beside what changes something
        path.with_suffix(".new").write_text(json.dumps(now))
        path.with_suffix(".new").replace(path)
"""


class Lab:
    """A builder and a worker, both this machine, each with an engine that is a stand-in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "bin").mkdir()
        self._program("bin/docker", DOCKER.format(python=sys.executable, state=str(path)))
        for host in ("builder", "worker"):
            # What a module starts on a host, also on one that a task is delegated to, sees whose engine to ask.
            self._program(f"{host}-python", f'#!/bin/sh\nHOST_OF_TEST={host} exec /usr/bin/python3 "$@"\n')
            self.engine(host)
        self.registry()

    def _program(self, name: str, text: str) -> None:
        (self.path / name).write_text(text, encoding="utf-8")
        (self.path / name).chmod(0o755)

    def engine(self, host: str, *images: dict[str, Any], **more: Any) -> None:
        """Give a host these images, and its engine other properties."""
        whole = [{"RepoTags": [], "RepoDigests": [], **image} for image in images]
        (self.path / f"{host}.json").write_text(json.dumps({"images": whole, **more}), encoding="utf-8")

    def registry(self, **images: dict[str, Any]) -> None:
        """Let the registry hold these images, by digest."""
        (self.path / "registry.json").write_text(json.dumps(images), encoding="utf-8")

    def images(self, host: str) -> dict[str, list[str]]:
        """Return the names of the images of a host, by the first digit of the id."""
        found = json.loads((self.path / f"{host}.json").read_text(encoding="utf-8"))["images"]
        return {image["Id"][7]: sorted(image["RepoTags"] + image["RepoDigests"]) for image in found}

    def run(self, *steps: tuple[str, str] | tuple[str, str, dict[str, Any]], options: Sequence[str] = (), **values: Any) -> Done:
        """Run task files of the role, each for one host, in one playbook; what it changed on each host is its `result`."""
        known = {
            "image_registry_address": ADDRESS,
            "image_registry_builder": "builder",
            "image_registry_images": [NAME],
            "image_registry_user": "robot",
            "image_registry_password": "{{ lookup('ansible.builtin.env', 'THE_SECRET') }}",
            "image_registry_staging_dir": f"{self.path}/staging",
        }
        hosts = {name: {"ansible_connection": "local", "ansible_python_interpreter": f"{self.path}/{name}-python"} for name in ("builder", "worker")}
        paths = {"ansible_remote_tmp": f"{self.path}/remote", "ansible_async_dir": f"{self.path}/async"}
        (self.path / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": paths}}), encoding="utf-8")
        book = []
        for host, verb, *more in steps:
            role = {"name": "Run it", "ansible.builtin.import_role": {"name": "mlops.lab.image_registry", "tasks_from": verb}}
            book.append({"hosts": host, "gather_facts": False, "vars": {**known, **values, **(more[0] if more else {})}, "tasks": [role]})
        (self.path / "play.yml").write_text(yaml.safe_dump(book), encoding="utf-8")
        (self.path / "calls").write_text("", encoding="utf-8")
        # What this machine's own engine trusts stays as it is: nothing but an extra variable wins over a role's own.
        trust = ["-e", json.dumps({"__image_registry_trust_dir": f"{self.path}/trust"})]
        command: list[str | Path] = ["ansible-playbook", self.path / "play.yml", "-i", self.path / "hosts.json", *trust, *options]
        path = f"{self.path}/bin{os.pathsep}{environment()['PATH']}"
        done = run_tool(command, ROOT, PATH=path, THE_SECRET=PASSWORD, ANSIBLE_CALLBACK_RESULT_FORMAT="yaml")
        until = time.monotonic() + (60 if done.returncode == -signal.SIGKILL else 0)
        while left := list((self.path / "staging").rglob("*")):
            assert time.monotonic() < until, f"a login is left: {left}"
            time.sleep(0.05)
        assert not [form for form in forms(PASSWORD) if form in done.stdout]
        changed = {host: int(number) for host, number in re.findall(r"^(\w+) +: .* changed=(\d+)", done.stdout, re.M)}
        return Done(done.returncode, " ".join(done.stdout.split()), changed, self.path)

    def calls(self, *verbs: str) -> list[tuple[str, list[str]]]:
        """Return which host's engine was asked what by the last run, of these verbs alone; each that has to do with a registry had the login."""
        found = [json.loads(line) for line in (self.path / "calls").read_text(encoding="utf-8").splitlines()]
        for _, words, login in found:
            assert not [form for form in forms(PASSWORD) if form in " ".join(words)]
            assert (login is not None) == (words[0] in ("push", "pull", "manifest"))
            if login:
                text, *modes = login
                assert modes == ["600", "700"]
                assert json.loads(text) == {"auths": {ADDRESS.split("/")[0]: {"auth": base64.b64encode(f"robot:{PASSWORD}".encode()).decode()}}}
        return [(host, words) for host, words, _ in found if words[0] in verbs]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """The two hosts; the builder has built the new image, the registry is empty."""
    made = Lab(tmp_path)
    made.engine("builder", {**NEW, "RepoTags": [NAME]})
    return made


# -------------------------------------------------------------------- push and pull


@pytest.mark.parametrize(("host", "verb"), [("builder", "push"), ("worker", "pull")])
def test_when_ansible_is_killed_the_login_goes_with_the_transfer(lab: Lab, host: str, verb: str) -> None:
    if verb == "pull":
        assert lab.run(("builder", "push")).returncode == 0
    file = lab.path / f"{host}.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), "kills": True}), encoding="utf-8")
    assert lab.run((host, verb)).returncode == -signal.SIGKILL
    assert lab.calls(verb)


def test_an_image_travels_once_by_its_digest_and_former_ones_go(lab: Lab) -> None:
    (lab.path / "ca.pem").write_text("a certificate\n", encoding="utf-8")
    authority = {"image_registry_ca_file": f"{lab.path}/ca.pem"}
    former = {**OLD, "RepoDigests": [f"{REPOSITORY}@{OLD_DIGEST}"]}
    stranger = {**OLD, "Id": "sha256:9", "RepoTags": ["other:1"]}
    lab.engine("worker", {**former, "RepoTags": [NAME]}, stranger)
    done = lab.run(("builder", "push"), ("worker", "pull"), **authority)
    # The builder pushed; its directory and certificate are this machine's, and so the worker's, too. That pulled, named and removed.
    assert (done.returncode, done.result) == (0, {"builder": 3, "worker": 3}), done.output
    assert lab.calls("push", "pull", "tag", "manifest") == [
        ("builder", ["tag", NAME, f"{REPOSITORY}:{NEW_TAG}"]),
        ("builder", ["push", f"{REPOSITORY}:{NEW_TAG}"]),
        ("worker", ["pull", f"{REPOSITORY}@{NEW_DIGEST}"]),
        ("worker", ["tag", f"{REPOSITORY}@{NEW_DIGEST}", NAME]),
    ]
    assert lab.images("builder") == {"2": sorted([NAME, f"{REPOSITORY}:{NEW_TAG}", f"{REPOSITORY}@{NEW_DIGEST}"])}
    assert lab.images("worker") == {"2": [NAME, f"{REPOSITORY}@{NEW_DIGEST}"], "9": ["other:1"]}
    assert "1 layers were pulled, 1 were here already." in done.output
    place = lab.path / "trust/registry.example.com:5001/ca.crt"
    assert place.read_text(encoding="utf-8") == "a certificate\n" and oct(place.stat().st_mode)[-3:] == "644"

    # The worker's engine keeps images in another way, which gives the same one another id; and a container ended that used a former one.
    lab.engine("worker", {**NEW, "Id": NEW_DIGEST, "RepoTags": [NAME], "RepoDigests": [f"{REPOSITORY}@{NEW_DIGEST}"]}, former)
    done = lab.run(("builder", "push"), ("builder", "pull"), ("worker", "pull"), ("worker", "pull"), **authority)
    assert (done.returncode, done.result) == (0, {"builder": 0, "worker": 1}), done.output
    assert lab.images("worker").keys() == {"b"}
    assert lab.calls("push", "pull", "tag", "manifest", "version") == [("builder", ["manifest", "inspect", f"{REPOSITORY}@{NEW_DIGEST}"])]


def test_what_the_registry_lost_is_pushed_again_and_the_builder_keeps_former_images_under_its_own_names(lab: Lab) -> None:
    former = {**OLD, "RepoTags": ["lab/airflow:3.3.2-former", f"{REPOSITORY}:3.3.2-x"], "RepoDigests": [f"{REPOSITORY}@{OLD_DIGEST}"], "used": True}
    lab.engine("builder", {**NEW, "RepoTags": [NAME, f"{REPOSITORY}:{NEW_TAG}"], "RepoDigests": [f"{REPOSITORY}@{NEW_DIGEST}"]}, former)
    done = lab.run(("builder", "push"))
    assert (done.returncode, done.result) == (0, {"builder": 2}), done.output
    assert [words[0] for _, words in lab.calls("manifest", "push")] == ["manifest", "push"]
    assert lab.images("builder")["1"] == ["lab/airflow:3.3.2-former"]


@pytest.mark.deep
def test_a_former_image_that_a_container_uses_stays(lab: Lab) -> None:
    lab.run(("builder", "push"))
    lab.engine("worker", {**OLD, "RepoTags": [NAME], "RepoDigests": [f"{REPOSITORY}@{OLD_DIGEST}"], "used": True})
    done = lab.run(("worker", "pull"))
    assert (done.returncode, done.result) == (0, {"worker": 2}), done.output
    assert lab.images("worker")["1"] == [f"{REPOSITORY}@{OLD_DIGEST}"]


def test_check_mode_says_what_would_be_pushed_and_pulled_and_does_nothing(lab: Lab) -> None:
    done = lab.run(("builder", "push"), ("worker", "pull"), options=["--check", "--diff"])
    assert (done.returncode, done.result) == (0, {"builder": 1, "worker": 1}), done.output
    assert f"{NAME} would be pushed to {REPOSITORY}." in done.output and f"{NAME} would be pulled from {REPOSITORY}." in done.output
    assert {words[1] for _, words in lab.calls("image")} == {"inspect"}
    assert lab.calls("push", "pull", "tag", "manifest", "version") == []


def test_check_mode_of_bare_hosts_does_not_fail(lab: Lab) -> None:
    (lab.path / "bin/docker").write_text("#!/bin/sh\necho Cannot connect to the Docker daemon >&2; exit 1\n", encoding="utf-8")
    values = {"image_registry_ca_file": "/nowhere/ca.pem"}
    done = lab.run(("worker", "push"), ("worker", "pull"), ("worker", "prune"), options=["--check", "--diff"], **values)
    assert done.returncode == 0, done.output


def test_what_is_not_built_not_pushed_or_for_another_machine_is_a_sentence_before_a_pull(lab: Lab) -> None:
    done = lab.run(("worker", "pull"))
    assert done.returncode and f"builder has built {NAME}, and has not brought it to {ADDRESS}" in done.output
    lab.run(("builder", "push"))
    lab.engine("worker", arch="arm64")
    done = lab.run(("worker", "pull"))
    sentence = f"worker is a machine of architecture arm64, and {NAME}, built on builder, runs on amd64 alone: take a machine of that architecture instead."
    assert done.returncode and sentence in done.output
    assert lab.calls("pull") == []
    lab.engine("builder")
    done = lab.run(("worker", "pull"))
    assert done.returncode and f"builder has no image {NAME}, which is to be built there first" in done.output


# -------------------------------------------------------------------- what goes wrong

DIAL = 'Error response from daemon: Get "https://registry.example.com:5001/v2/": '
WRONG = {
    f"{DIAL}dial tcp 10.0.0.5:5001: connect: connection refused": "does not reach the registry",
    f"{DIAL}net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)": "does not reach the registry",
    f"{DIAL}x509: certificate signed by unknown authority": "worker does not trust the TLS certificate",
    f"{DIAL}tls: failed to verify certificate: x509: certificate is valid for 10.0.0.6, not 10.0.0.5": "valid for 10.0.0.6, not 10.0.0.5",
    f"{DIAL}http: server gave HTTP response to HTTPS client": "speaks no TLS",
    f"{DIAL}unauthorized: authentication required": "refuses the user 'robot' with the password it was given (401): write the right",
    "error parsing HTTP 401 response body: invalid character '<' looking for beginning of value": "(401)",
    "denied: requested access to the resource is denied": "(403)",
    "error parsing HTTP 413 response body: invalid character '<'": "(413)",
    "received unexpected HTTP status: 502 Bad Gateway": "docker compose -p mlops-lab-registry logs",
    "failed to register layer: write /usr/lib/libx.so: no space left on device": "There is no space left on worker",
    "something new": "Docker said: something new",
}


def test_a_push_or_a_pull_that_fails_ends_with_a_sentence_and_leaves_no_login(lab: Lab) -> None:
    said, sentence = next(iter(WRONG.items()))
    lab.engine("builder", {**NEW, "RepoTags": [NAME]}, breaks=said)
    done = lab.run(("builder", "push"))
    assert done.returncode and f"builder {sentence}" in done.output and len(lab.calls("push")) == 1
    lab.engine("builder", {**NEW, "RepoTags": [NAME], "RepoDigests": [f"{REPOSITORY}@{NEW_DIGEST}"]})
    done = lab.run(("worker", "pull"))
    assert done.returncode and f"has no {NAME} as builder built it" in done.output and len(lab.calls("pull")) == 1


def test_a_registry_that_is_there_is_asked_before_the_image_is_built_whether_it_lets_the_lab_in(lab: Lab) -> None:
    """With the password over standard input, and nothing stays of it."""
    done = lab.run(("builder", "main"), image_registry_own=False)
    assert done.returncode == 0, done.output
    assert lab.calls("login") == [("builder", ["login", "--username", "robot", "--password-stdin", "registry.example.com:5001"])]
    lab.engine("builder", breaks="Error response from daemon: login attempt to https://registry.example.com:5001/v2/ failed with status: 401 Unauthorized")
    done = lab.run(("builder", "main"), image_registry_own=False)
    assert done.returncode and "refuses the user 'robot' with the password it was given (401)" in done.output
    for case in ({"image_registry_user": ""}, {}):  # nobody to ask for, and a run that changes nothing
        done = lab.run(("builder", "main"), options=[] if case else ["--check"], image_registry_own=False, **case)
        assert done.returncode == 0 and lab.calls("login") == []


@pytest.mark.parametrize("said", WRONG)
def test_each_of_docker_s_words_has_its_sentence(said: str) -> None:
    values = {
        "image_registry_address": ADDRESS,
        "image_registry_builder": "builder",
        "image_registry_user": "robot",
        "inventory_hostname": "worker",
        "__image_registry_name": NAME,
        "__image_registry_original": {"rc": 1},
        "__image_registry_transfer": {"rc": 1, "stderr": said},
    }
    problem = sentence_of(values)
    assert WRONG[said] in problem and "{{" not in problem


def sentence_of(values: dict[str, Any]) -> str:
    """Return what the role says of a transfer that failed."""
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar, trust_as_template

    loader = DataLoader()
    known: dict[str, Any] = {}
    for part in ("defaults", "vars"):
        known.update(loader.load_from_file(str(ROLE / part / "main.yml"), trusted_as_template=True))
    return str(Templar(loader=loader, variables={**known, **values}).template(trust_as_template("{{ __image_registry_problem }}")))


# -------------------------------------------------------------------- prune


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, dict[str, str]]]:
    """A registry's API over TLS with basic authentication; gives its address, its authority, and its tags with their digests."""
    folder = tmp_path_factory.mktemp("served")
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    pair: list[str | Path] = ["-keyout", folder / "key.pem", "-out", folder / "ca.pem"]
    command: list[str | Path] = ["openssl", "req", "-x509", *kind, *pair, *subject]
    subprocess.run(command, check=True, capture_output=True)
    tags: dict[str, str] = {}
    login = "Basic " + base64.b64encode(f"robot:{PASSWORD}".encode()).decode()

    class Api(BaseHTTPRequestHandler):
        def answer(self, status: int, body: Any = None, **headers: str) -> None:
            self.send_response(status if self.headers["Authorization"] == login else 401)
            data = json.dumps(body).encode() if body else b""
            for name, value in {"Content-Length": str(len(data)), "Content-Type": "application/json", **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            known = self.path == "/v2/lab/airflow/tags/list"
            self.answer(200 if known else 404, {"name": "lab/airflow", "tags": list(tags)} if known else {"errors": []})

        def do_HEAD(self) -> None:
            assert "application/vnd.docker.distribution.manifest.v2+json" in self.headers["Accept"]
            self.answer(200, Docker_Content_Digest=tags[self.path.rpartition("/")[2]])

        def do_DELETE(self) -> None:
            digest = self.path.rpartition("/")[2]
            for tag in [tag for tag, of in tags.items() if of == digest]:
                del tags[tag]
            self.answer(202)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", folder / "ca.pem", tags
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.deep
def test_the_newest_versions_stay_in_the_registry_with_the_present_one_and_what_others_pushed(lab: Lab, served: tuple[str, Path, dict[str, str]]) -> None:
    address, authority, tags = served
    # The present one is the oldest: an earlier build was brought back.
    former = [f"3.3.2-2026112{day}080910-{str(day) * 12}" for day in (6, 7, 8)] + [f"3.1.8-20261125080910-{'5' * 12}"]
    for number, tag in enumerate([NEW_TAG, *former, "by-hand"]):
        tags[tag] = f"sha256:{number:064x}"
    lab.engine("builder", {**NEW, "RepoTags": [NAME, "lab/other:1"]})
    values: dict[str, Any] = {
        "image_registry_address": address,
        "image_registry_ca_file": str(authority),
        "image_registry_images": [NAME, "lab/other:1"],
        "image_registry_keep": 2,
        "image_registry_project": "lab-registry",
    }
    given = ("builder", "prune", {"image_registry_own": False, "image_registry_keep": 0})
    done = lab.run(("builder", "prune"), ("builder", "prune"), given, **values)
    assert (done.returncode, done.result) == (0, {"builder": 2}), done.output
    assert set(tags) == {NEW_TAG, "by-hand", former[1], former[2]}
    collect = ["compose", "-p", "lab-registry", "exec", "-T", "registry", "docker-registry", "garbage-collect", "/etc/docker/registry/config.yml"]
    assert lab.calls("compose") == [("builder", collect)]
    done = lab.run(("builder", "prune"), **{**values, "image_registry_user": "stranger"})
    assert done.returncode and "(status 401)" in done.output


# -------------------------------------------------------------------- its files


def test_the_registry_has_no_port_and_one_network_and_few_rights() -> None:
    built = {"__image_registry_built": {"image": "mlops-lab/registry:2.8-0123456789ab"}}
    file = yaml.safe_load(Case("default", "image_registry", "compose.yml.j2", built).render())
    assert file["services"].keys() == {"registry"} and file["volumes"].keys() == {"data"}
    service = file["services"]["registry"]
    assert "ports" not in service and "environment" not in service and service["networks"] == ["mlops-lab-registry"]
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["restart"] == "unless-stopped"
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}


def test_nothing_remembers_layers_that_are_gone() -> None:
    config = yaml.safe_load((ROLE / "files/config.yml").read_text(encoding="utf-8"))
    assert "cache" not in config["storage"] and config["storage"]["delete"] == {"enabled": True}
    assert "auth" not in config and config["http"]["addr"] == ":5000"


def test_the_image_runs_as_nobody_s_user_and_the_package_starts_nothing() -> None:
    text = Case("default", "image_registry", "Dockerfile.j2").render()
    assert "\nUSER 50082\n" in text and text.index("policy-rc.d") < text.index("apt-get install")
