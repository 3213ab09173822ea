#!/usr/bin/env bash
# MLflow takes these two from its environment only; read here, they are in no definition of the container and in no argument.
set -euo pipefail
MLFLOW_BACKEND_STORE_URI="$(</run/secrets/backend_store_uri)"
MLFLOW_FLASK_SERVER_SECRET_KEY="$(</run/secrets/secret_key)"
export MLFLOW_BACKEND_STORE_URI MLFLOW_FLASK_SERVER_SECRET_KEY
python /usr/local/bin/administrator.py
exec mlflow server --app-name basic-auth
