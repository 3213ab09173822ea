"""The models' page for people: what is served, since when, by which run, and how to call it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import quote

#: the page has no script, and loads nothing
TRAINING = "?workflowType=machine_learning"
"""How MLflow is told to show model training, and not GenAI."""
PAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'", "X-Content-Type-Options": "nosniff"}
#: characters of an input example that is shown
SHOWN = 2000

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #222; }
h2 { margin: 2rem 0 .3rem; } dl { display: grid; grid-template-columns: 9rem 1fr; margin: 0; } dt { color: #666; } dd { margin: 0; overflow-wrap: anywhere; }
pre { background: #f3f3f3; padding: .8rem; overflow-x: auto; } .error { color: #a00; }
"""


def page(served: Mapping[str, Any], examples: Mapping[str, str | None], base: str, user: str, mlflow: str) -> str:
    """Return the page.

    Args:
        served: what GET /models says to programs.
        examples: the input example of what is in service, by ``<name>@<alias>``.
        base: the address that the page was asked at.
        user: name of who may ask.
        mlflow: address of MLflow's pages; empty for no links.
    """
    error = served["registry"]["error"]
    models = [_model(model, examples.get(f"{model['name']}@{model['alias']}"), base.rstrip("/"), user, mlflow.rstrip("/")) for model in served["models"]]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>Models</title><style>{STYLE}</style></head><body><h1>Models</h1>",
        f'<p class="error">The registry does not answer; what is in service stays: {escape(error)}</p>' if error else "",
        *(models or ["<p>No model is served. Give a version the alias <code>live</code> in MLflow's registry.</p>"]),
        "<p>Programs get this page as JSON.</p></body></html>",
    ]
    return "\n".join(part for part in parts if part)


def _model(model: Mapping[str, Any], example: str | None, base: str, user: str, mlflow: str) -> str:
    name, version, run = model["name"], model["version"], model["run"]
    making = ", whose environment is being made" if model["making"] else ""
    rows = {
        "version": _link(mlflow, f"/#/models/{quote(name, safe='')}/versions/{version}{TRAINING}", version) if version else "none is in service yet",
        "wanted": escape(model["wanted"] + making) if model["wanted"] not in (None, version) else "",
        "since": escape(model["since"] or ""),
        "run": _link(mlflow, f"/#/runs/{quote(run, safe='')}{TRAINING}", run) if run else "",
        "memory": ("not in memory until it is asked" if model["memory_bytes"] is None else f"{model['memory_bytes'] / 1e6:.0f} MB") if version else "",
        "requests": str(model["requests"]) if version else "",
        "environment": escape(f"Python {model['python']}, MLflow {model['mlflow']} ({model['environment']})") if version else "",
        "error": f'<span class="error">{escape(model["error"])}</span>' if model["error"] else "",
    }
    lines = "".join(f"<dt>{what}</dt><dd>{text}</dd>" for what, text in rows.items() if text)
    title = f"<h2>{escape(name)}{'' if model['alias'] == 'live' else escape('@' + model['alias'])}</h2>"
    return f"{title}<dl>{lines}</dl>{_call(model, example, base, user) if version else ''}"


def _link(mlflow: str, path: str, text: str) -> str:
    return f'<a href="{escape(mlflow + path)}">{escape(text)}</a>' if mlflow else escape(text)


def _call(model: Mapping[str, Any], example: str | None, base: str, user: str) -> str:
    """How to call a model from a terminal."""
    if example and len(example) <= SHOWN:
        body, note = example, ""
    elif example:
        body, note = "@serving_input_example.json", "<p>The file is among the model's artifacts in MLflow.</p>"
    else:
        body, note = '{"dataframe_records": [{"<column>": "<value>"}]}', "<p>The model was logged without an input example; fill in its columns.</p>"
    address = f"{base}{quote(model['path'], safe='/@')}/invocations"
    command = f"curl -u {shlex.quote(user)} -H 'Content-Type: application/json' \\\n  -d {shlex.quote(body)} \\\n  {shlex.quote(address)}"
    return f"<pre>{escape(command)}</pre>{note}"
