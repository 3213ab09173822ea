"""Deployments of MLflow models: checked, proven by a prediction, recorded. ``docs/targets.md`` tells how a target is written."""
