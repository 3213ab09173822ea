"""The model: fitted, and kept in MLflow."""

from __future__ import annotations

import mlflow
import mlflow.sklearn
from sklearn.linear_model import ElasticNet
from sklearn.metrics import root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from diabetes_progression.data import load


def fit(train_csv: str, tracking_uri: str, alpha: float = 0.1, l1_ratio: float = 0.5) -> None:
    """Fit an elastic net on a CSV file and log it to MLflow's experiment ``diabetes-progression``."""
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_experiment("diabetes-progression")
    features, progression = load(train_csv)
    with mlflow.start_run(run_name="elastic net"):
        mlflow.log_params({"alpha": alpha, "l1_ratio": l1_ratio})
        model = make_pipeline(StandardScaler(), ElasticNet(alpha=alpha, l1_ratio=l1_ratio)).fit(features, progression)
        mlflow.log_metric("train_rmse", root_mean_squared_error(progression, model.predict(features)))
        mlflow.sklearn.log_model(model, "model", input_example=features.head(3))
