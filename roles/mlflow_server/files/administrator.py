# Copyright 2026 the mlops.lab authors
# SPDX-License-Identifier: Apache-2.0
"""Give MLflow's administrator the password of its configuration, which MLflow itself takes on its first start alone."""

import configparser
import os
import time

import psycopg2
from werkzeug.security import check_password_hash, generate_password_hash

wanted = configparser.ConfigParser()
wanted.read(os.environ["MLFLOW_AUTH_CONFIG_PATH"])
user, password = (wanted["mlflow"][f"admin_{name}"] for name in ("username", "password"))
address = os.environ["MLFLOW_BACKEND_STORE_URI"].replace("+psycopg2", "", 1)
for left in reversed(range(60)):  # where a host starts, the database may come later than MLflow
    try:
        connection = psycopg2.connect(address)
        break
    except psycopg2.OperationalError:
        if not left:
            raise
        time.sleep(1)
with connection, connection.cursor() as cursor:
    cursor.execute("SELECT to_regclass('users')")
    there = cursor.fetchone() != (None,)  # MLflow makes its tables when it starts first
    if there:
        cursor.execute("SELECT password_hash FROM users WHERE username = %s", (user,))
        found = cursor.fetchone()
        if found and not check_password_hash(found[0], password):
            cursor.execute("UPDATE users SET password_hash = %s WHERE username = %s", (generate_password_hash(password), user))
            print(f"The password of {user} is another one now.", flush=True)
connection.close()
