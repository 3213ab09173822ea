"""The templates of the roles, rendered by Ansible's own templating over the versions, parts and options that they are made for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.conftest import AIRFLOWS, ROOT

INDEX = "https://nexus.example.com/repository/pypi-all/simple/"
# In every secret, with characters that break what does not quote them.
CANARY = "canary-@:/%41+&=?#$x'\"{{"
VERSIONS = list(AIRFLOWS.items())


@dataclass(frozen=True)
class Case:
    """One template of one role with one set of values."""

    name: str
    role: str
    template: str
    values: dict[str, Any] = field(default_factory=dict)

    def render(self) -> str:
        """Return what Ansible would write."""
        text = (ROOT / "roles" / self.role / "templates" / self.template).read_text(encoding="utf-8")
        return str(self.template_of(text))

    def value(self, name: str) -> Any:
        """Return what a variable of the role is."""
        return self.template_of(f"{{{{ {name} }}}}")

    def template_of(self, text: str) -> Any:
        """Return what Ansible makes of a text."""
        folder = ROOT / "roles" / self.role
        loader = DataLoader()
        variables: dict[str, Any] = {}
        for part in ("defaults", "vars"):
            file = folder / part / "main.yml"
            variables.update(loader.load_from_file(str(file), trusted_as_template=True) if file.exists() else {})
        variables.update(
            ansible_managed="Ansible managed",
            ansible_check_mode=False,
            ansible_search_path=[str(folder)],
            inventory_hostname="lab1",
            ansible_facts={"distribution": "Debian", "distribution_major_version": "12", "distribution_release": "bookworm"},
        )
        return Templar(loader=loader, variables={**variables, **self.values}).template(trust_as_template(text))

    def __str__(self) -> str:
        """Name the case in a test's id."""
        return f"{self.role}/{Path(self.template).stem}: {self.name}"


def airflow_images() -> list[Case]:
    """Return the Dockerfile of the lab's image."""
    credentials = {"airflow_image_index_url": INDEX, "airflow_image_index_user": "reader", "airflow_image_index_password": CANARY}
    options = {
        "plain": {},
        "with environments": {"airflow_image_environments": ["churn", "Wine_2"]},
        "with providers and packages": {
            "airflow_image_providers": ["apache-airflow-providers-http"],
            "airflow_image_apt_packages": ["libgomp1", "git"],
            "airflow_image_pythons": ["3.11"],
        },
    }
    return [
        Case(
            f"{version}, {name}",
            "airflow_image",
            "Dockerfile.j2",
            {**credentials, **more, "airflow_image_airflow_version": version, "airflow_image_base": f"mlops-lab/airflow-base:{version}"},
        )
        for version, _python in VERSIONS
        for name, more in options.items()
    ]


def base_images() -> list[Case]:
    """Return the Dockerfiles of the base images."""
    indexes = {
        "default index": {},
        "index": {"base_images_index_url": INDEX},
        "index with credentials": {"base_images_index_url": INDEX, "base_images_index_user": "reader", "base_images_index_password": CANARY},
    }
    airflow = [
        Case(
            f"{version}, {name}",
            "base_images",
            "Dockerfile.airflow.j2",
            {"base_images_airflow_version": version, "base_images_python_version": python, **more},
        )
        for version, python in VERSIONS
        for name, more in indexes.items()
    ]
    return [*airflow, *(Case("17 and 8", "base_images", f"Dockerfile.{name}.j2") for name in ("postgres", "redis"))]


SECRETS = {
    f"airflow_stack_{name}": CANARY
    for name in (
        "fernet_key",
        "jwt_secret",
        "secret_key",
        "db_password",
        "celery_db_password",
        "optuna_db_password",
        "models_password",
        "redis_password",
        "flower_password",
        "mlflow_password",
    )
}
STACK: dict[str, Any] = {
    **SECRETS,
    "airflow_stack_flower_user": "admin",
    "airflow_stack_environments_volume": "mlops-lab-environments",
    "airflow_stack_models_url": "http://models:8000",
    "airflow_stack_mlflow_public_url": "https://mlflow.example.com",
    "airflow_stack_models_public_url": "https://models.example.com",
    "airflow_stack_models_user": "admin",
    "airflow_stack_dags": "/srv/dags",
    "airflow_stack_experiments": "/srv/experiments",
    "airflow_stack_users": [{"username": "admin", "password": CANARY, "email": "admin@example.com"}],
    "airflow_stack_connections": {"warehouse": {"conn_type": "postgres", "password": CANARY}},
    "airflow_stack_variables": {"token": CANARY},
}
PARTS: dict[str, dict[str, Any]] = {
    "one host": {"airflow_stack_parts": ["control", "worker"]},
    "control alone": {
        "airflow_stack_parts": ["control"],
        "airflow_stack_behind_proxy": True,
        "airflow_stack_control_address": "10.0.0.5",
        "airflow_stack_bind_address": "10.0.0.5",
        "airflow_stack_certificates_dir": "/opt/mlops-lab/certificates",
        "airflow_stack_share_in_mlflow": True,
    },
    "worker alone": {
        "airflow_stack_parts": ["worker"],
        "airflow_stack_control_address": "10.0.0.5",
        "airflow_stack_worker_hostname": "10.0.0.6",
        "airflow_stack_certificates_dir": "/opt/mlops-lab/certificates",
        "airflow_stack_share_in_mlflow": True,
    },
}


def stacks() -> list[Case]:
    """Return the compose file of Airflow."""
    options = {
        "": {},
        " with options": {
            "airflow_stack_data_dir": "/srv/data",
            "airflow_stack_environment": {"AIRFLOW__CORE__PARALLELISM": 16, "AIRFLOW__LOGGING__LOG_FORMAT": '"%(x)s" $HOME: #'},
        },
    }
    return [
        Case(f"{version}, {parts}{name}", "airflow_stack", "compose.yml.j2", {**STACK, **values, **more, "airflow_stack_image": f"mlops-lab/airflow:{version}"})
        for version, _python in VERSIONS
        for parts, values in PARTS.items()
        for name, more in options.items()
    ]


MLFLOW: dict[str, Any] = {
    "mlflow_server_index_url": INDEX,
    "mlflow_server_index_user": "reader",
    "mlflow_server_index_password": CANARY,
    "mlflow_server_admin_password": CANARY,
    "mlflow_server_db_password": CANARY,
    "mlflow_server_secret_key": CANARY,
    "__mlflow_server_built": {"image": "mlops-lab/mlflow:3.17.2-0123456789ab"},
}
STORE: dict[str, Any] = {
    **MLFLOW,
    "mlflow_server_artifacts_url": "s3://lab-artifacts/churn/",
    "mlflow_server_artifacts_access_key": CANARY,
    "mlflow_server_artifacts_secret_key": CANARY,
}
MODEL_SERVER: dict[str, Any] = {
    "model_server_index_url": INDEX,
    "model_server_index_user": "reader",
    "model_server_index_password": CANARY,
    "model_server_password": CANARY,
    "model_server_mlflow_password": CANARY,
    "__model_server_built": {"image": "mlops-lab/models:1.0.0-0123456789ab"},
}
WORKBENCH: dict[str, Any] = {
    "workbench_index_url": INDEX,
    "workbench_index_user": "reader",
    "workbench_index_password": CANARY,
    "workbench_password": CANARY,
    "workbench_mlflow_password": CANARY,
    "workbench_optuna_password": CANARY,
    "__workbench_built": {"image": "mlops-lab/workbench:1.0.0-0123456789ab"},
}
ENVIRONMENTS: dict[str, Any] = {"environments_index_url": INDEX, "environments_index_user": "reader", "environments_index_password": CANARY}
PACKAGE_INDEX: dict[str, Any] = {
    "package_index_user": "reader",
    "package_index_password": CANARY,
    "package_index_publisher_user": "publisher",
    "package_index_publisher_password": CANARY,
    "__package_index_image": {"image": "mlops-lab/index:6.20.3-0123456789ab"},
}

GATEWAY: dict[str, Any] = {
    "gateway_bind_address": "10.0.0.5",
    "gateway_certificates_dir": "/opt/mlops-lab/certificates",
    "gateway_networks": ["mlops-lab-airflow", "mlops-lab-mlflow", "mlops-lab-models", "mlops-lab-registry"],
    "__gateway_built": {"image": "mlops-lab/gateway:nginx-0123456789ab"},
}
IMAGE_REGISTRY: dict[str, Any] = {"__image_registry_built": {"image": "mlops-lab/registry:2.8-0123456789ab"}}
DOCKERFILES = [
    *airflow_images(),
    *base_images(),
    Case("default", "mlflow_server", "Dockerfile.j2", MLFLOW),
    Case("default", "gateway", "Dockerfile.j2", GATEWAY),
    Case("default", "image_registry", "Dockerfile.j2", IMAGE_REGISTRY),
    Case("default", "model_server", "Dockerfile.j2", MODEL_SERVER),
    Case("default", "workbench", "Dockerfile.j2", WORKBENCH),
    Case("two Pythons", "workbench", "Dockerfile.j2", {**WORKBENCH, "workbench_pythons": ["3.11"]}),
    Case("default index", "package_index", "Dockerfile.j2", PACKAGE_INDEX),
    Case("index", "package_index", "Dockerfile.j2", {**PACKAGE_INDEX, "package_index_upstream_url": INDEX}),
]
COMPOSE_FILES = [
    *stacks(),
    Case("default", "gateway", "compose.yml.j2", GATEWAY),
    Case("default", "image_registry", "compose.yml.j2", IMAGE_REGISTRY),
    Case("default", "mlflow_server", "compose.yml.j2", MLFLOW),
    Case(
        "more names",
        "mlflow_server",
        "compose.yml.j2",
        {**MLFLOW, "mlflow_server_allowed_hosts": ["mlflow.example.com"], "mlflow_server_bind_address": "10.0.0.5"},
    ),
    Case("object store", "mlflow_server", "compose.yml.j2", STORE),
    Case("object store of others", "mlflow_server", "compose.yml.j2", {**STORE, "mlflow_server_artifacts_endpoint": "https://s3.example.com:9000"}),
    Case("default", "model_server", "compose.yml.j2", MODEL_SERVER),
    Case("options", "model_server", "compose.yml.j2", {**MODEL_SERVER, "model_server_environment": {"OMP_NUM_THREADS": 2, "LAB_MODELS_POLL": "5$"}}),
    Case("default", "workbench", "compose.yml.j2", WORKBENCH),
    Case("options", "workbench", "compose.yml.j2", {**WORKBENCH, "workbench_environment": {"OMP_NUM_THREADS": 2, "WORDS": '"$x"'}}),
    Case("default", "package_index", "compose.yml.j2", PACKAGE_INDEX),
    Case("default index", "environments", "compose.yml.j2"),
    Case("index", "environments", "compose.yml.j2", ENVIRONMENTS),
]
OTHERS = [
    Case("default", "gateway", "nginx.conf.j2", GATEWAY),
    Case("default", "airflow_image", "pip.conf.j2", airflow_images()[0].values),
    Case("default", "package_index", "nginx.conf.j2", PACKAGE_INDEX),
    Case("trixie", "docker_engine", "mlops-lab-trixie.sources.j2", {"__docker_engine_mirror": {"stdout_lines": ["http://deb.example.com/debian"]}}),
    Case("trixie", "docker_engine", "mlops-lab-trixie.pref.j2"),
    Case("docker", "docker_engine", "mlops-lab-docker.sources.j2", {"docker_engine_repository_url": "https://docker.example.com/linux/debian"}),
]
