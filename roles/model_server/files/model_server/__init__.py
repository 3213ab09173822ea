"""Serve the models of an MLflow registry by alias, over MLflow's own scoring protocol, each in the environment that it was logged with.

Two processes, in two containers:

- ``python -m model_server``, the front: has the secrets, follows the registry, downloads models, has their environments made, and passes requests on.
- ``python -m model_server.runner``, the runner: has no secret, and starts a process for each model when the front says so.
"""
