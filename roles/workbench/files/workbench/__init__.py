"""What the workbench adds to JupyterLab and to Optuna's dashboard."""
