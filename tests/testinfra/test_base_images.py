"""The base images keep one contract, whether they were built from packages or pulled from a registry: containers are started and asked."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest
from testinfra.host import Host

PASSWORD = 'it\'s a "pass word" with $HOME: % and \\'
FOLDER = "/run/base-images-test"

# Source of the images -> first part of their names. The test host of scenario `images` has both.
PREFIXES = {"packages": "mlops-lab", "registry": "from-registry"}


@pytest.fixture(scope="module", params=["packages", pytest.param("registry", marks=pytest.mark.deep)])
def prefix(request: pytest.FixtureRequest, host: Host) -> str:
    """The first part of the images' names."""
    found = PREFIXES[str(request.param)]
    if not host.check_output(f"docker image ls --quiet {found}/postgres:17"):
        pytest.skip(f"This host has no images {found}/*.")
    return found


@pytest.fixture(scope="module")
def airflows(host: Host, prefix: str) -> list[str]:
    """The names of the Airflow images, one for each version."""
    tags = host.check_output(f"docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' {prefix}/airflow-base").split()
    found = [tag for tag in tags if "-" not in tag.rsplit(":", 1)[1]]
    assert found
    return found


def in_container(image: str, script: str, *options: str) -> str:
    """Return the command that runs a bash script as the first word of an image."""
    return shlex.join(["docker", "run", "--rm", "--network", "none", *options, image, "bash", "-c", script])


# -------------------------------------------------------------------- Airflow


def test_airflow_has_its_user_its_home_and_its_tools(host: Host, airflows: list[str]) -> None:
    script = """
        id -u; id -g; pwd; echo "$AIRFLOW_HOME"; cat /proc/1/comm; umask
        uv --version >&2 && command -v uv && command -v python
        cd "$AIRFLOW_HOME" && for folder in dags logs config plugins .; do touch $folder/x || echo "$folder is closed"; done
        grep -c == ~/constraints.txt
        python -c 'import celery, psycopg2, redis, flower, airflow.providers.fab, airflow.providers.celery, airflow.providers.postgres; print("imported")'
    """
    for image in airflows:
        uid, gid, folder, home, first, umask, uv, python, *rest = host.check_output(in_container(image, script)).splitlines()
        assert (uid, gid, folder, home, umask) == ("50000", "0", "/opt/airflow", "/opt/airflow", "0002"), image
        assert first == "dumb-init", "nobody would pass a stop on to Airflow"
        assert uv.startswith("/") and python.startswith("/")
        constraints, imported = rest
        assert int(constraints) > 100 and imported == "imported"


def test_the_first_word_may_be_a_subcommand_airflow_or_python(host: Host, airflows: list[str]) -> None:
    for image in airflows:
        version = image.rsplit(":", 1)[1]
        words = ["version", "airflow version", "python -c 'import airflow; print(airflow.__version__)'"]
        # Airflow takes seconds to start: all three at once.
        said = host.check_output(" ".join(f"docker run --rm --network none {image} {command} & " for command in words) + "wait").splitlines()
        assert [line for line in said if line.strip() == version] == [version] * 3, said


def test_a_subcommand_that_does_not_exist_fails(host: Host, airflows: list[str]) -> None:
    assert host.run(f"docker run --rm --network none {airflows[0]} there-is-no-such-command").rc != 0


# -------------------------------------------------------------------- Postgres


@pytest.fixture(scope="module")
def postgres(host: Host, prefix: str) -> Iterator[str]:
    """A container of the Postgres image as the lab starts it, with a script for its first start; its name."""
    name = f"base-images-test-{prefix}"
    host.check_output(f"mkdir -p {FOLDER}/init && chmod 755 {FOLDER} && printf %s {shlex.quote(PASSWORD)} >{FOLDER}/password && chmod 440 {FOLDER}/password")
    host.check_output(f"echo 'CREATE TABLE made_by_script (x int); INSERT INTO made_by_script VALUES (7);' >{FOLDER}/init/1.sql")
    options = "--env POSTGRES_USER=somebody --env POSTGRES_DB=thing --env POSTGRES_PASSWORD_FILE=/run/secrets/password"
    options += f" --volume {FOLDER}/password:/run/secrets/password:ro"
    mounts = f"--volume {name}:/var/lib/postgresql/data --volume {FOLDER}/init:/docker-entrypoint-initdb.d:ro"
    host.check_output(f"docker run --detach --name {name} --user 999:0 {options} {mounts} {prefix}/postgres:17")
    try:
        wait_for_postgres(host, name)
        yield name
    finally:
        host.run(f"docker rm --force --volumes {name}; docker volume rm {name}; rm -rf {FOLDER}")


def wait_for_postgres(host: Host, name: str) -> None:
    """Wait until Postgres takes connections from the network, which it does after its scripts."""
    ready = f'docker exec {name} bash -c "pg_isready --quiet --host $(hostname -i)"'.replace("$(", "\\$(")
    assert host.run(f"for i in $(seq 240); do {ready} && exit 0; sleep 0.5; done; docker logs --tail 20 {name} >&2; exit 1").rc == 0


def query(host: Host, name: str, password: str, sql: str) -> tuple[int, str]:
    """Ask Postgres as somebody who comes over the network; return exit code and output."""
    script = f'psql --host "$(hostname -i)" --username somebody --dbname thing --no-align --tuples-only --command {shlex.quote(sql)}'
    done = host.run(f"docker exec --env PGPASSWORD={shlex.quote(password)} {name} bash -c {shlex.quote(script)}")
    return done.rc, (done.stdout + done.stderr).strip()


def test_postgres_makes_user_and_database_and_asks_for_the_password_of_the_file(host: Host, postgres: str) -> None:
    assert query(host, postgres, PASSWORD, "SELECT current_user, current_database()") == (0, "somebody|thing")
    code, said = query(host, postgres, "wrong", "SELECT 1")
    assert code != 0 and "password authentication failed" in said


def test_postgres_keeps_its_data_and_runs_scripts_once(host: Host, postgres: str) -> None:
    assert query(host, postgres, PASSWORD, "INSERT INTO made_by_script VALUES (8)")[0] == 0
    host.check_output(f"docker restart {postgres}")
    wait_for_postgres(host, postgres)
    assert query(host, postgres, PASSWORD, "SELECT x FROM made_by_script ORDER BY x") == (0, "7\n8")


def test_postgres_stops_cleanly(host: Host, postgres: str) -> None:
    """One that ignored the signal would be killed after ten seconds (exit code 137), and recover at its next start."""
    host.check_output(f"docker stop --time 10 {postgres}")
    assert host.check_output(f"docker inspect --format '{{{{.State.ExitCode}}}}' {postgres}") == "0"
    host.check_output(f"docker start {postgres}")


def test_postgres_starts_with_no_password_not_at_all(host: Host, prefix: str) -> None:
    done = host.run(f"docker run --rm --network none {prefix}/postgres:17")
    assert done.rc != 0 and "POSTGRES_PASSWORD" in done.stdout + done.stderr


# -------------------------------------------------------------------- Redis


@pytest.fixture(scope="module")
def redis(host: Host, prefix: str) -> Iterator[str]:
    """A container of the Redis image that got options; its name."""
    name = f"base-images-test-redis-{prefix}"
    host.check_output(f"docker run --detach --name {name} --network none {prefix}/redis:8 --requirepass {shlex.quote(PASSWORD)} --appendonly yes")
    yield name
    host.run(f"docker rm --force --volumes {name}")


def test_redis_asks_for_the_password_of_its_options(host: Host, redis: str) -> None:
    ping = f"for i in $(seq 200); do docker exec {redis} redis-cli ping 2>&1 | grep -q NOAUTH && break; sleep 0.3; done; docker exec {redis} redis-cli ping"
    assert "NOAUTH" in host.check_output(f"{ping} 2>&1")
    assert host.check_output(f"docker exec --env REDISCLI_AUTH={shlex.quote(PASSWORD)} {redis} redis-cli ping") == "PONG"


def test_redis_is_not_root_and_keeps_what_it_has(host: Host, redis: str) -> None:
    call = f"docker exec --env REDISCLI_AUTH={shlex.quote(PASSWORD)} {redis} redis-cli"
    host.check_output(f"{call} set kept yes")
    host.check_output(f"docker restart {redis}")
    assert host.check_output(f"for i in $(seq 200); do {call} get kept 2>/dev/null | grep . && break; sleep 0.3; done") == "yes"
    assert host.check_output(f"docker exec {redis} grep ^Uid /proc/1/status").split()[1] == "999"


def test_redis_takes_a_configuration_file_and_another_user(host: Host, prefix: str) -> None:
    """As the lab starts it: the password is in a file, not in an argument."""
    script = 'printf "port 0\\nunixsocket /tmp/s\\nrequirepass fromfile\\n" >/tmp/c; /usr/local/bin/docker-entrypoint.sh redis-server /tmp/c >/dev/null & '
    script += "for i in $(seq 200); do test -S /tmp/s && break; sleep 0.3; done; REDISCLI_AUTH=fromfile redis-cli -s /tmp/s ping; redis-cli -s /tmp/s ping"
    said = host.check_output(in_container(f"{prefix}/redis:8", script, "--user", "999:0"))
    assert said.splitlines()[0] == "PONG" and "NOAUTH" in said


def test_debian_has_apt_and_certificates(host: Host, prefix: str) -> None:
    said = host.check_output(in_container(f"{prefix}/debian:trixie", "apt-get --version | head -n 1; . /etc/os-release; echo $VERSION_CODENAME"))
    assert said.startswith("apt ") and said.endswith("trixie")
