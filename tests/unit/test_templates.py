"""The templates of all roles over versions, parts and options: what is in them, and that no secret is."""

from __future__ import annotations

import base64
import netrc
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from tests.conftest import ROOT, run_tool
from tests.unit.rendering import CANARY, COMPOSE_FILES, DOCKERFILES, INDEX, OTHERS, PARTS, STACK, Case, stacks

compose_files = pytest.mark.parametrize("case", COMPOSE_FILES, ids=str)
dockerfiles = pytest.mark.parametrize("case", DOCKERFILES, ids=str)
airflow = pytest.mark.parametrize("case", stacks(), ids=str)


def refuse_duplicates(node: yaml.Node | None) -> None:
    """Refuse a key that stands twice in a mapping, as Compose does; PyYAML takes the last."""
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _value in node.value]
        assert len(keys) == len(set(keys)), f"a key stands twice: {keys}"
    for part in node.value if isinstance(node, yaml.CollectionNode) else []:
        for child in part if isinstance(part, tuple) else (part,):
            refuse_duplicates(child)


def document(case: Case) -> dict[str, Any]:
    """Return a rendered compose file as data, with the merges done."""
    text = case.render()
    refuse_duplicates(yaml.compose(text, yaml.SafeLoader))
    return dict(yaml.safe_load(text))


def stack(parts: str, **more: Any) -> dict[str, Any]:
    """Return Airflow's compose file for a host with these parts."""
    return document(Case(parts, "airflow_stack", "compose.yml.j2", {**STACK, **PARTS[parts], **more}))


def sources(service: dict[str, Any]) -> set[str]:
    """Return the names of the secrets that a service sees."""
    return {secret if isinstance(secret, str) else secret["source"] for secret in service.get("secrets", [])}


def instructions(text: str) -> list[str]:
    """Return the instructions of a Dockerfile, each in one line."""
    joined = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    return [line for line in joined.splitlines() if line.strip()]


# -------------------------------------------------------------------- all of them


@pytest.mark.parametrize("case", [*COMPOSE_FILES, *DOCKERFILES, *OTHERS], ids=str)
def test_no_secret_is_in_what_is_rendered(case: Case) -> None:
    text = case.render()
    for shown in ("canary", quote(CANARY, safe=""), base64.b64encode(CANARY.encode()).decode()):
        assert shown not in text
    assert "{{" not in text and "{%" not in text
    assert text.endswith("\n")


def test_every_template_is_rendered_here() -> None:
    rendered = {f"{case.role}/templates/{case.template}" for case in [*COMPOSE_FILES, *DOCKERFILES, *OTHERS]}
    missing = {path.relative_to(ROOT / "roles").as_posix() for path in ROOT.glob("roles/*/templates/*")} - rendered
    # test_package_index.py, test_verdict.py, test_firewall.py, test_host_clock.py and test_gateway.py render these.
    assert missing == {
        *("package_index/templates/htpasswd.j2", "verdict/templates/report.html.j2"),
        *("firewall/templates/rules.nft.j2", "firewall/templates/firewall.service.j2"),
        *("gateway/templates/index.html.j2", "gateway/templates/status.conf.j2"),
        "host_clock/templates/servers.j2",
    }


# -------------------------------------------------------------------- compose files


@pytest.mark.usefixtures("compose_plugin")
@compose_files
def test_compose_accepts_the_file(case: Case, tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text(case.render(), encoding="utf-8")
    done = run_tool(["docker", "compose", "--project-directory", tmp_path, "--profile", "*", "config", "--quiet"], cwd=tmp_path)
    assert done.returncode == 0 and done.stdout == "", done.stdout


@compose_files
def test_every_service_comes_back_says_how_it_is_and_rotates_its_log(case: Case) -> None:
    services = document(case)["services"]
    assert services
    for name, service in services.items():
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name
        if service.get("profiles"):
            assert service["restart"] == "no", f"{name} runs once"
            continue
        assert service["restart"] == "unless-stopped", name
        probe = service["healthcheck"]
        assert probe["start_interval"] == "1s" and probe["start_period"].endswith("s"), f"{name} would be found ready late"
        assert not re.search(r"\b(?:python|airflow (?:jobs|db)|celery)\b", " ".join(probe["test"])), (
            f"{name} would start an interpreter every {probe['interval']}"
        )


@compose_files
def test_what_runs_once_is_waited_for_by_nobody(case: Case) -> None:
    """`docker compose up --wait` fails when a container that it started has ended, even well."""
    services = document(case)["services"]
    once = {name for name, service in services.items() if service.get("profiles")}
    for name, service in services.items():
        waits = service.get("depends_on", {})
        assert not once & waits.keys(), f"{name} waits for {once & waits.keys()}"
        assert waits.keys() <= services.keys()
        started = {"airflow-apiserver"} if name == "airflow-worker" else set()  # for the order of stopping alone
        assert all(wait == {"condition": "service_started" if other in started else "service_healthy"} for other, wait in waits.items())


@compose_files
def test_every_secret_and_volume_that_is_used_is_declared_and_the_other_way_round(case: Case) -> None:
    content = document(case)
    used = set().union(*(sources(service) for service in content["services"].values()))
    assert used == set(content.get("secrets", {}))
    assert all(secret == {"file": f"/opt/mlops-lab/{case.role}/secrets/{name}"} for name, secret in content.get("secrets", {}).items())
    named = {volume.split(":")[0] for service in content["services"].values() for volume in service.get("volumes", []) if not volume.startswith("/")}
    assert named == set(content.get("volumes", {}))


@compose_files
def test_no_service_gets_the_docker_socket_or_more_rights(case: Case) -> None:
    for service in document(case)["services"].values():
        assert not any("docker.sock" in volume for volume in service.get("volumes", []))
        assert not {"privileged", "cap_add", "network_mode", "pid"} & service.keys()


@airflow
def test_ports_are_published_where_they_are_meant_to_be_and_nowhere_else(case: Case) -> None:
    ports = {name: service["ports"] for name, service in document(case)["services"].items() if "ports" in service}
    address, parts = case.values.get("airflow_stack_control_address"), case.values["airflow_stack_parts"]
    expected: dict[str, list[str]] = {}
    if "control" in parts:
        web = case.values.get("airflow_stack_bind_address", "127.0.0.1")
        expected |= {"airflow-apiserver": [f"{web}:8080:8080"], "flower": [f"{web}:5555:5555"]}
        expected |= {"postgres": [f"{address}:5432:5432"], "redis": [f"{address}:6379:6379"]} if address else {}
    else:
        expected = {"airflow-worker": [f"{case.values['airflow_stack_worker_hostname']}:8793:8793"]}
    assert ports == expected


@airflow
def test_what_leaves_a_host_is_encrypted_and_who_answers_is_verified(case: Case) -> None:
    """Whoever has an address for other hosts has certificates; what stays in one host needs none."""
    several = "airflow_stack_control_address" in case.values
    services = document(case)["services"]
    for name in {"postgres", "redis", "airflow-worker"} & services.keys() if several else set():
        assert "/opt/mlops-lab/certificates:/certificates:ro" in services[name]["volumes"]
    if "redis" in services:
        assert ("--tls --cacert" in services["redis"]["healthcheck"]["test"][-1]) == several
    if "postgres" in services:
        assert ("ssl=on" in services["postgres"].get("command", [])) == several
    for name, service in services.items():
        if name.startswith("airflow-") or name == "flower":
            assert any(volume.split(":")[1] in ("/certificates", "/certificates/ca.pem") for volume in service["volumes"]) == several, name


def test_another_authority_makes_all_anew() -> None:
    before, after = (stack("one host", __airflow_stack_authority={"stat": {"checksum": checksum}})["services"] for checksum in "ab")
    assert {name for name in after if after[name] != before[name]} == set(after)


def test_a_host_runs_its_parts_and_no_more() -> None:
    control = {"postgres", "redis", "airflow-init", "airflow-apiserver", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer", "flower"}
    assert {parts: set(stack(parts)["services"]) for parts in PARTS} == {
        "one host": control | {"airflow-worker"},
        "control alone": control,
        "worker alone": {"airflow-worker"},
    }


@pytest.mark.parametrize("parts", ["one host", "worker alone"])
def test_a_worker_knows_no_key_of_the_control_host(parts: str) -> None:
    worker = stack(parts)["services"]["airflow-worker"]
    assert sources(worker) == {"broker_url", "result_backend", "secret_key", "optuna_url", "models_credentials", "mlflow_credentials"}
    assert not re.search(r"FERNET|JWT|SQL_ALCHEMY", " ".join(worker["environment"]))
    public = {name: worker["environment"][name] for name in ("LAB_MLFLOW_PUBLIC_URL", "LAB_MODELS_PUBLIC_URL")}
    assert public == {"LAB_MLFLOW_PUBLIC_URL": "https://mlflow.example.com", "LAB_MODELS_PUBLIC_URL": "https://models.example.com"}
    mounted = {volume.split(":")[0] for volume in worker["volumes"]}
    assert not any("secrets" in volume or volume.endswith("/airflow_stack") for volume in mounted)


@pytest.mark.parametrize(
    ("more", "queues"),
    [
        ({}, "default"),
        ({"airflow_stack_worker_queues": ["default", "gpu"]}, "default,gpu"),
        ({"airflow_stack_worker_queues": ["default", "gpu"], "airflow_stack_worker_own_queue": "host.vm2"}, "default,gpu,host.vm2"),
    ],
)
def test_a_worker_consumes_the_queues_that_it_is_given(more: dict[str, Any], queues: str) -> None:
    services = stack("one host", **more)["services"]
    assert services["airflow-worker"]["command"] == ["celery", "worker", f"--queues={queues}"], "one that begins with - is no option"
    for name in ("airflow-worker", "airflow-scheduler", "airflow-apiserver"):  # who runs tasks, and who places them
        assert services[name]["environment"]["LAB_FACTS_FILE"] == "/opt/airflow/facts/lab.json", name
        assert services[name]["environment"]["LAB_QUEUES_FILE"] == "/opt/airflow/facts/queues.json", name


@pytest.mark.parametrize("parts", ["one host", "worker alone"])
def test_a_worker_that_is_stopped_has_time_to_end_its_tasks(parts: str) -> None:
    """Docker's ten seconds would kill a training; the signal goes to the main process alone, which lets its processes end."""
    worker = stack(parts)["services"]["airflow-worker"]
    assert worker["stop_grace_period"] == "600s" and worker["environment"]["DUMB_INIT_SETSID"] == "0"
    # Compose stops what others depend on after them: a task that ends has to say so.
    assert parts != "one host" or {"redis", "postgres", "airflow-apiserver"} <= set(worker["depends_on"])


def test_a_worker_reads_data_and_writes_results_and_nobody_else_sees_them() -> None:
    services = stack("one host")["services"]
    assert {"/opt/mlops-lab/airflow_stack/data:/opt/data:ro", "/opt/mlops-lab/airflow_stack/output:/opt/output"} <= set(services["airflow-worker"]["volumes"])
    assert not any("/opt/data" in volume for name, service in services.items() if name != "airflow-worker" for volume in service.get("volumes", []))
    mounts = stack("worker alone", airflow_stack_data_dir="/srv/data", airflow_stack_output_dir="/srv/out")["services"]["airflow-worker"]["volumes"]
    assert {"/srv/data:/opt/data:ro", "/srv/out:/opt/output"} <= set(mounts)


def test_the_scheduler_finds_the_plugin_of_the_notes_beside_those_of_an_image() -> None:
    services = stack("one host")["services"]
    assert "/opt/mlops-lab/airflow_stack/plugins:/opt/airflow/plugins/lab:ro" in services["airflow-scheduler"]["volumes"]
    assert not any("plugins" in volume for volume in services["airflow-worker"]["volumes"])


def test_a_host_of_workers_has_no_file_of_the_control_host() -> None:
    assert set(stack("worker alone")["secrets"]) == {
        "broker_url",
        "result_backend",
        "secret_key",
        "optuna_url",
        "models_credentials",
        "mlflow_credentials",
    }


def test_logs_are_read_from_mlflow_by_whom_people_ask_and_brought_there_by_who_runs_tasks() -> None:
    """The api-server and the triggerer have MLflow's password where logs are in MLflow, nobody else of the control host; on one host none has."""
    services = stack("control alone")["services"]
    holders = {name for name, service in services.items() if "mlflow_credentials" in sources(service)}
    assert holders == {"airflow-apiserver", "airflow-triggerer"}
    own = sources(services["airflow-scheduler"])
    assert all(sources(services[name]) == own | {"mlflow_credentials"} for name in holders)
    for service in (services["airflow-apiserver"], services["airflow-triggerer"], stack("worker alone")["services"]["airflow-worker"]):
        environment = service["environment"]
        assert (
            environment["AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS"] == "logs_in_mlflow.LOGGING_CONFIG" and environment["LAB_LOGS_STORE"] == "http://mlflow:5000"
        )
    one = stack("one host")["services"]
    assert {name for name, service in one.items() if "mlflow_credentials" in sources(service)} == {"airflow-worker"}
    assert not any("LAB_LOGS_STORE" in service.get("environment", {}) for service in one.values())


def test_flower_knows_broker_and_its_own_users_alone() -> None:
    flower = stack("one host")["services"]["flower"]
    assert sources(flower) == {"broker_url", "result_backend", "secret_key", "flower_basic_auth"}
    assert flower["environment"]["AIRFLOW__CELERY__FLOWER_BASIC_AUTH_CMD"] == "cat /run/secrets/flower_basic_auth"


@airflow
def test_no_secret_of_airflow_is_a_value_of_its_environment(case: Case) -> None:
    """Every option that Airflow calls sensitive is read from a file that the service has."""
    secret = re.compile(r"SQL_ALCHEMY_CONN|FERNET_KEY|JWT_SECRET|SECRET_KEY|BROKER_URL|RESULT_BACKEND|BASIC_AUTH")
    for service in document(case)["services"].values():
        for name, value in service.get("environment", {}).items():
            if secret.search(name):
                assert name.endswith("_CMD") and value.startswith("cat /run/secrets/"), name
                assert value.rsplit("/", 1)[1] in sources(service), name


@airflow
def test_tasks_reach_the_api_server_at_an_address_that_their_host_knows(case: Case) -> None:
    services = document(case)["services"]
    host = "airflow-apiserver" if "airflow-apiserver" in services else case.values["airflow_stack_control_address"]
    urls = {service["environment"]["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] for name, service in services.items() if name.startswith("airflow-")}
    assert urls == {f"{'http' if host == 'airflow-apiserver' else 'https'}://{host}:8080/execution/"}


def test_an_option_of_the_user_counts_in_every_service_of_airflow_whatever_is_in_it() -> None:
    options = {"AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": 7, "AIRFLOW__API__WORKERS": "2", "AIRFLOW__LOGGING__LOG_FORMAT": '"%(x)s" $HOME: # \\'}
    for parts in PARTS:
        for name, service in stack(parts, airflow_stack_environment=options)["services"].items():
            if name not in ("postgres", "redis"):
                found = {option: service["environment"][option] for option in options}
                # Compose takes two dollars for one.
                assert found == {**options, "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "7", "AIRFLOW__LOGGING__LOG_FORMAT": '"%(x)s" $$HOME: # \\'}, name


@compose_files
def test_containers_are_made_anew_when_a_secret_that_they_read_changes(case: Case) -> None:
    """By the digest that compose_up writes in the place of this word."""
    for name, service in document(case)["services"].items():
        assert not service.get("secrets") or service["labels"]["lab.mlops.files"] == "FILES_DIGEST", name


def test_mlflow_answers_to_the_names_of_the_lab_with_and_without_a_port() -> None:
    case = next(case for case in COMPOSE_FILES if case.name == "more names")
    names = document(case)["services"]["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert set(names) == {f"{name}{port}" for name in ("mlflow", "localhost", "127.0.0.1", "10.0.0.5", "mlflow.example.com") for port in ("", ":*")}


# -------------------------------------------------------------------- Dockerfiles


@dockerfiles
def test_no_credential_is_an_argument_or_a_variable_of_an_image(case: Case) -> None:
    for line in instructions(case.render()):
        if line.split()[0] in ("ARG", "ENV", "LABEL", "COPY", "ADD"):
            assert not re.search(r"pass|user|token|secret|netrc|nexus", line, re.IGNORECASE), line


@dockerfiles
def test_what_is_installed_from_an_index_with_a_login_requires_both_secrets(case: Case) -> None:
    """A secret that is not required and missing lets the build go on without a login."""
    names = ("index_user", "index_password") if f"{case.role}_index_user" in case.values else ()
    tools = r"\b(?:uv pip (?:install|compile)|pip install|environments_server\.py --in-image)\b"
    installing = [line for line in instructions(case.render()) if line.startswith("RUN") and re.search(tools, line)]
    assert (
        installing or case.template in ("Dockerfile.postgres.j2", "Dockerfile.redis.j2") or case.role in ("gateway", "image_registry")
    )  # Debian's packages alone
    for line in installing:
        mounts = re.findall(r"--mount=(\S+)", line)
        for name in names:
            assert any(f"id={name}," in mount and "type=secret" in mount and "required=true" in mount for mount in mounts), f"{name}: {line}"
        in_memory = [mount.removeprefix("type=tmpfs,target=") for mount in mounts if mount.startswith("type=tmpfs,")]
        assert all(mount.startswith(("type=secret,", "type=tmpfs,")) for mount in mounts), "a cache would outlive the build"
        assert "--no-cache" in line or "UV_NO_CACHE=1" in line or any(f"UV_CACHE_DIR={place} " in line for place in in_memory), (
            "what pip and uv keep would be in the layer"
        )
        assert not re.search(r"://[^/\s'\"]*@", line), "credentials in an URL"


@dockerfiles
def test_secrets_are_readable_by_the_user_who_installs(case: Case) -> None:
    user = "0"
    for line in instructions(case.render()):
        if line.startswith("FROM"):
            user = "0"
        elif line.startswith("USER"):
            user = line.split()[1].split(":")[0]
        for mount in re.findall(r"--mount=(type=secret\S+)", line):
            assert user == "0" or f"uid={user}" in mount, f"{mount} is not readable by {user}"


def test_credentials_go_to_the_index_alone() -> None:
    """An entry `default` in a netrc would send them to any host that a page or a redirect names."""
    written = [line for case in DOCKERFILES for line in instructions(case.render()) if "netrc" in line]
    assert len(written) == 3, "pip's, which brings uv, and no other"
    for line in written:
        assert re.search(r"printf 'machine (nexus\.example\.com)\\n", line) and "default login" not in line


@pytest.mark.parametrize("case", [case for case in DOCKERFILES if f"{case.role}_index_user" in case.values], ids=str)
def test_uv_and_pip_are_given_the_login_whatever_is_in_it(case: Case, tmp_path: Path) -> None:
    """What a RUN does before it installs, done here: uv reads its variables, and pip a netrc, which no other tool is told of."""
    for name, content in (("index_user", "reader"), ("index_password", CANARY), ("pip.conf", f"[global]\nindex-url = {INDEX}\n")):
        (tmp_path / name).write_text(content, encoding="utf-8")
    installing = [line for line in instructions(case.render()) if line.startswith("RUN") and "/run/secrets/index_user" in line]
    for line in installing:
        prepare = re.split(r"&& (?:uv|python3|find) |&& export LAB_", re.sub(r"^RUN (?:\s*--mount=\S+)*", "", line))[0]
        for folder in ("/run/secrets/", "/dev/shm/", "/opt/project/"):
            prepare = prepare.replace(folder, f"{tmp_path}/")
        done = run_tool(["sh", "-ec", f"{prepare} && env -0"], cwd=tmp_path)
        assert done.returncode == 0, done.stdout
        given = dict(entry.split("=", 1) for entry in done.stdout.split("\0") if "=" in entry)
        assert (given["UV_DEFAULT_INDEX"], given["UV_INDEX_LAB_USERNAME"], given["UV_INDEX_LAB_PASSWORD"]) == (f"lab={INDEX}", "reader", CANARY)
        assert "NETRC" not in given and ("/bin/pip install" in line) is (" NETRC=/dev/shm/netrc " in line) is (tmp_path / "netrc").exists()
        if (tmp_path / "netrc").exists():
            hosts = netrc.netrc(tmp_path / "netrc").hosts
            assert {host: (user, password) for host, (user, _, password) in hosts.items()} == {"nexus.example.com": ("reader", CANARY)}
            assert (tmp_path / "netrc").stat().st_mode & 0o777 == 0o600
    assert installing


@dockerfiles
def test_lists_of_packages_do_not_stay_in_the_layer_that_ships(case: Case) -> None:
    stages = re.split(r"^FROM ", case.render(), flags=re.MULTILINE)
    for stage in stages[1:]:
        if "AS environment" not in stage.splitlines()[0]:
            for layer in re.split(r"^(?=[A-Z]+ )", stage, flags=re.MULTILINE):
                assert ("apt-get update" in layer) == ("rm -rf /var/lib/apt/lists/*" in layer), layer


def test_requested_providers_and_packages_are_installed_under_airflow_s_constraints() -> None:
    for case in DOCKERFILES:
        if case.role == "airflow_image":
            text = case.render()
            wanted = "with providers" in case.name
            assert ("apt-get install -y --no-install-recommends libgomp1 git" in text) is wanted
            assert ('--constraint "$HOME/constraints.txt" -r /tmp/providers.txt' in text) is wanted


def test_nothing_of_a_package_runs_beside_the_credential_of_the_index() -> None:
    """Its .pth files would, in whatever compiles it and in a Python that uv asks for its version."""
    for case in DOCKERFILES:
        if case.role == "airflow_image":
            lines = instructions(case.render())
            compiling = [line for line in lines if "compileall" in line]
            assert len(compiling) >= 2 and not any("--mount" in line or "python3 -I -S -m compileall" not in line for line in compiling)
            assert not any("--compile-bytecode" in line for line in lines)
            assert all("python3 -I -S /opt/project/sha256_lock.py" in line for line in lines if "RUN" in line and "sha256_lock.py" in line)
            [last] = [line for line in lines if "-r /opt/project/project.txt" in line]
            aside, install, back = (last.index(words) for words in ("{}.aside ';'", "uv pip install", 'mv "$1" "${1%.aside}"'))
            assert aside < install < back


def test_other_packages_of_the_lab_s_own_leave_the_public_layer_as_it_is() -> None:
    """What it is made from has the pins, and nothing of the lines by which a lock tells what it was resolved from."""
    tasks = yaml.safe_load((ROOT / "roles/airflow_image/tasks/build.yml").read_text(encoding="utf-8"))
    [files] = [task["vars"]["__airflow_image_files"] for task in tasks if "__airflow_image_files" in task.get("vars", {})]
    pins = "pandas==2.3.3 \\\n    --hash=sha256:0\n    # via -r requirements.in\n"
    for asked in ("pandas", "pandas; churn==1.0"):
        lock = f"# Resolved from requirements 0123; remove this file to resolve again.\n# Asked for: {asked}\n{pins}"
        case = Case("a lock", "airflow_image", "Dockerfile.j2", {"__airflow_image_lock": {"public.txt": lock, "project.txt": lock}})
        assert case.template_of(files["public.txt"]) == pins
        assert case.template_of(files["project.txt"]) == lock


def test_each_environment_in_the_image_has_a_stage_and_a_layer_and_without_any_the_image_stays_as_it_was() -> None:
    cases = {case.name.partition(", ")[2]: case for case in DOCKERFILES if case.role == "airflow_image" and case.name.startswith("3.3.2")}
    found = instructions(cases["with environments"].render())
    last = max(number for number, line in enumerate(found) if line.startswith("FROM"))
    assert [line for line in found if line.startswith("FROM")][-3:] == ["FROM base AS in-image-1", "FROM base AS in-image-2", "FROM base"]
    assert [line for line in found if "--in-image" in line and "--in-image churn /tmp/environments/churn.lock" in line] == [
        found[found.index("FROM base AS in-image-1") + 5]
    ]
    copies = [line for line in found[last:] if line.startswith("COPY --from")]
    assert copies == [f"COPY --from=in-image-{number} /opt/environments-in-image /opt/environments-in-image" for number in (1, 2)]
    assert not re.search(r"in-image|environments_server", cases["plain"].render())
