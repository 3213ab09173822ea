"""Models in MLflow: their addresses, their files, and what is written at them about deployments. Needs MLflow's client."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab_deployment import environments, processes, workspace
from lab_deployment.target import SCORING
from lab_deployment.workspace import Workspace
from lab_experiment.failures import Failure, Mistakes

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # MLflow looks for git, which a worker need not have
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a lab calls nobody it was not told to call
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")  # gives up after a minute instead of four; Airflow tries again later
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "false")  # a worker need not reach the store that MLflow has its files in
os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")

import mlflow
import mlflow.artifacts
from mlflow.exceptions import MlflowException
from mlflow.models import Model as Metadata

FORMS = "models:/<name>/<version>, models:/<name>@<alias>, models:/m-<id>, runs:/<run id>/<path> or mlflow-artifacts:/<path>"
NAME = r"(?P<name>[^/@:]+)"
REGISTERED = re.compile(rf"models:/{NAME}/(?P<version>[1-9][0-9]*|latest)")
ALIASED = re.compile(rf"models:/{NAME}@(?P<alias>[\w.-]+)")
LOGGED = re.compile(r"models:/(?P<model_id>m-[0-9a-f]{32})")
IN_RUN = re.compile(r"runs:/(?P<run_id>[0-9a-f]{32})/(?P<path>.+)")
STORED = re.compile(r"mlflow-artifacts:/.+")


def client() -> Any:
    """MLflow's client."""
    return mlflow.MlflowClient()


def find(uri: Any) -> dict[str, Any]:
    """Find a model in MLflow; its alias, or ``latest``, is resolved, so that all that follows is about one version.

    Raises:
        Mistakes: The address is none, nothing is there, or what is there cannot be deployed.
        Failure: MLflow cannot be asked.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise Failure("MLFLOW_TRACKING_URI is not set in the worker's environment; it must hold the address of MLflow")
    uri = uri.strip() if isinstance(uri, str) else uri
    if not uri:
        raise Mistakes([f"model_uri is empty; allowed: {FORMS}."])
    matches = {form: form.fullmatch(uri) for form in (LOGGED, REGISTERED, ALIASED, IN_RUN, STORED)} if isinstance(uri, str) else {}
    match = next((found for found in matches.values() if found), None)
    if match is None:
        raise Mistakes([f"model_uri has {uri!r}; allowed: {FORMS}."])
    parts = match.groupdict()
    name, version = parts.get("name"), None
    if name:
        version = _version(client(), uri, parts)
        uri = f"models:/{name}/{version}"
    with asking(f"model_uri has {uri!r}, but MLflow at {os.environ['MLFLOW_TRACKING_URI']} has no model there"):
        try:
            metadata = Metadata.load(uri)
        except OSError as error:  # what is there has no file MLmodel
            raise Mistakes([f"model_uri has {uri!r}, but what MLflow has there is no model: {error}."]) from None
    sentences = []
    if metadata.signature is None:
        sentences.append(f"{uri} has no signature, so nobody can tell what it takes; log the model with signature=infer_signature(<input>, <predictions>).")
    if metadata.saved_input_example_info is None:
        sentences.append(f"{uri} has no input example, so there is nothing to prove a deployment with; log the model with input_example=<a few rows>.")
    if sentences:
        raise Mistakes(sentences)
    model_id = parts.get("model_id") or getattr(metadata, "model_id", None)
    return {"uri": uri, "name": name, "version": version, "model_id": model_id, "run_id": parts.get("run_id") or metadata.run_id}


def _version(registry: Any, uri: str, parts: Mapping[str, Any]) -> int:
    """The number of the version that an address means."""
    name, alias = parts["name"], parts.get("alias")
    with asking(f"model_uri has {uri!r}, but MLflow has no registered model {name!r}"):
        registered = registry.get_registered_model(name)
    if alias:
        aliases = dict(registered.aliases)
        if alias not in aliases:
            raise Mistakes([f"model_uri has {uri!r}; the aliases of {name} are {', '.join(sorted(aliases)) or 'none'}."])
        return int(aliases[alias])
    with asking(f"model_uri has {uri!r}, but {name} has no such version"):
        there = sorted(int(found.version) for found in registry.search_model_versions(f"name = '{name}'"))
    if not there:
        raise Mistakes([f"model_uri has {uri!r}, but {name} has no version."])
    if parts["version"] == "latest":
        return there[-1]
    if int(parts["version"]) not in there:
        shown = ", ".join(map(str, there[-10:]))
        raise Mistakes([f"model_uri has {uri!r}; the versions of {name} are {'..., ' if len(there) > 10 else ''}{shown}."])
    return int(parts["version"])


@contextmanager
def asking(absent: str = "") -> Iterator[None]:
    """Turn MLflow's exceptions into sentences: what is not there into a mistake with the words of ``absent``, the rest into a failure."""
    try:
        yield
    except MlflowException as error:
        lines = str(error).strip().splitlines()
        missing = next((line.strip() for line in lines if re.search(r"\b404\b|No such (artifact|file)", line)), None)  # a file store's own words
        words = missing or lines[0]
        if absent and (missing or error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND")):
            raise Mistakes([f"{absent} ({words})."]) from None
        raise Failure(f"MLflow at {os.environ.get('MLFLOW_TRACKING_URI')} failed: {words}") from None


def fetch(plan: Mapping[str, Any], space: Workspace) -> dict[str, Any]:
    """Bring a model to this host, and check it: it is loaded by a new process, and predicts its input example as its signature promises.

    Does nothing when it is here already.

    Returns:
        ``digest``, ``bytes``, ``files``, ``rows``, ``python`` and ``interpreter``.

    Raises:
        Mistakes: The model demands what is not here.
        Failure: It cannot be fetched, loaded or used.
    """
    found = space.fetched(plan)
    if found is None:
        shutil.rmtree(space.folder, ignore_errors=True)
        space.folder.mkdir(parents=True)
        uri = plan["model"]["uri"]
        print(f"[fetch] {uri} from MLflow at {os.environ.get('MLFLOW_TRACKING_URI')}", flush=True)
        with asking():
            path = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(_made(space.folder / "download"))))
        path.rename(space.model)
        (space.model / "registered_model_meta").unlink(missing_ok=True)  # MLflow's client notes there by which name it came; it is no part of the model
        listed = workspace.files(space.model)
        print(f"[fetch] {len(listed)} files, {sum(size for _, size in listed.values())} bytes", flush=True)
        python = sys.executable if plan["environment"] == "project" else environments.of_model(space.model, or_this=plan["environment"] == "fitting")
        answer = space.folder / "predictions.json"
        processes.run([python, str(SCORING), "predict", str(space.model), str(answer)])
        found = {**json.loads(answer.read_text(encoding="utf-8")), "digest": workspace.digest(listed), "files": len(listed), "interpreter": python}
        found |= {"uri": uri, "environment": plan["environment"]}
        found["bytes"] = sum(size for _, size in listed.values())
        space.complete(found)
        print(f"[fetch] the model predicts its input example of {found['rows']} rows in Python {found['python']} with MLflow {found['mlflow']}", flush=True)
    return {name: found[name] for name in ("digest", "bytes", "files", "rows", "python", "interpreter")}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def registered(model: Mapping[str, Any], name: str) -> tuple[str, int]:
    """The name and version of a model in the registry; it is registered as ``name`` when it is not yet.

    Raises:
        Failure: MLflow refuses.
    """
    if model["name"]:
        return model["name"], model["version"]
    with asking():
        source = f"models:/{model['model_id']}" if model["model_id"] else model["uri"]
        for version in client().search_model_versions(f"name = '{name}'"):
            if source in (version.source, f"models:/{getattr(version, 'model_id', None)}"):
                return name, int(version.version)
        return name, int(mlflow.register_model(source, name).version)


def record(plan: Mapping[str, Any], deployed: Mapping[str, Any], by: str, url: str, alias: str | None) -> dict[str, Any]:
    """Write at the model in MLflow what was deployed where, when and by which run: the tag ``lab.deployed.<target>``, and the target's alias.

    Args:
        plan: What :func:`lab_deployment.planning.plan` returned.
        deployed: What the deployment returned: ``where``, ``when``, ``digest``, perhaps ``name`` and ``version`` under which the target registered it.
        by: Who deployed: ``deploy/<id of the DAG run>``.
        url: The address of that run's page.
        alias: The alias in the registry of what the target has, if it has one.
    """
    registry = client()
    model = {**plan["model"], **{key: deployed[key] for key in ("name", "version") if deployed.get(key)}}
    tag = f"lab.deployed.{plan['target']}"
    value = json.dumps({"where": deployed["where"], "when": deployed["when"], "by": by, "digest": deployed["digest"], "log": url})
    places = []
    with asking():
        if model["name"]:
            registry.set_model_version_tag(model["name"], str(model["version"]), tag, value)
            places.append(f"{model['name']} {model['version']}")
            if alias:
                registry.set_registered_model_alias(model["name"], alias, str(model["version"]))
                places.append(f"alias {alias}")
        elif model["model_id"] and hasattr(registry, "set_logged_model_tags"):
            registry.set_logged_model_tags(model["model_id"], {tag: value})
            places.append(model["model_id"])
        elif model["run_id"]:
            registry.set_tag(model["run_id"], tag, value)
            places.append(f"run {model['run_id']}")
    print(f"[record] {tag} at {', '.join(places) or 'nothing: MLflow knows neither version nor run of this model'}: {value}", flush=True)
    return {"tag": tag, "places": places}
