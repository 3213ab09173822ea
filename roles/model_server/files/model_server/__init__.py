"""Serve the models of an MLflow registry by alias, over MLflow's own scoring protocol, changing versions without dropping a request.

Runs in the project's environment (MLflow 2.19 or later), since models are loaded into the process; ``python -m model_server`` starts it.
"""
