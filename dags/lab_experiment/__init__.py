"""Runs an experiment file: its steps, its training, its tracking.

Plain Python without Airflow. It runs in the interpreter of the *project* (the environment that holds the callables, MLflow's client and PyYAML) as
``python dags/lab_experiment <command> <request.json> <result.json>``; the modules ``document`` and ``references`` need nothing but PyYAML.
"""
