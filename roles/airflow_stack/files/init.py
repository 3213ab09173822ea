"""Bring Airflow's database to the declared state: schema, users, connections, variables and pools.

Reads /run/secrets/init.json, made by role airflow_stack: `databases` (name of a database and its owner -> password), `users` (list of username, password, role,
email, first_name, last_name) and `connections`, `variables`, `pools` as the import commands of Airflow take them. Everything runs in one interpreter, since
starting Airflow costs seconds, and no password is ever an argument of a process.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from airflow.cli import cli_parser

DESIRED = Path("/run/secrets/init.json")


def airflow(*words: str) -> None:
    """Run an `airflow` command in this interpreter."""
    arguments = cli_parser.get_parser().parse_args(words)
    arguments.func(arguments)


def import_objects(kind: str, objects: dict[str, Any], *options: str) -> None:
    """Run `airflow <kind> import` on `objects`, through a file that only this process can read."""
    if not objects:
        return
    with tempfile.NamedTemporaryFile("w", suffix=".json", dir="/dev/shm") as file:
        json.dump(objects, file)
        file.flush()
        airflow(kind, "import", file.name, *options)


def declare_databases(databases: dict[str, str]) -> None:
    """Create the databases that are missing, each with an owner of its name, and set the owners' passwords."""
    import psycopg2
    from airflow.configuration import conf
    from psycopg2.extensions import encrypt_password
    from psycopg2.sql import SQL, Identifier, Literal

    connection = psycopg2.connect(conf.get_mandatory_value("database", "sql_alchemy_conn").replace("+psycopg2", "", 1))
    connection.autocommit = True  # a database cannot be created in a transaction
    with connection.cursor() as cursor:
        # Whoever has another database of this server has no business in Airflow's.
        cursor.execute("REVOKE CONNECT ON DATABASE airflow FROM PUBLIC")
        for name, password in databases.items():
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,))
            if not cursor.fetchone():
                cursor.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(name)))
            # The server never sees the password itself, so it cannot log it.
            verifier = encrypt_password(password, name, connection, "scram-sha-256")
            cursor.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(name), Literal(verifier)))
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if not cursor.fetchone():
                cursor.execute(SQL("CREATE DATABASE {0} OWNER {0}").format(Identifier(name)))
            cursor.execute(SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(Identifier(name)))
    connection.close()


def declare_users(users: list[dict[str, str]]) -> None:
    """Create the users that are missing and set role and password of those that differ."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from werkzeug.security import check_password_hash

    with get_application_builder() as builder:
        manager = builder.sm
        for user in users:
            role = manager.find_role(user.get("role", "Admin"))
            if role is None:
                sys.exit(f"airflow_stack_users: {user['username']} has the role {user['role']!r}, which Airflow does not know.")
            found = manager.find_user(username=user["username"])
            if found is None:
                created = manager.add_user(
                    user["username"],
                    user.get("first_name") or user["username"],
                    user.get("last_name") or "-",
                    user["email"],
                    role,
                    password=user["password"],
                )
                if not created:
                    sys.exit(f"airflow_stack_users: {user['username']} could not be created; is the email address in use twice?")
                continue
            if not check_password_hash(found.password, user["password"]):
                manager.reset_password(found.id, user["password"])
            if found.roles != [role]:
                found.roles = [role]
                manager.update_user(found)


def main() -> None:
    """Do it all, in the order in which one thing needs the other."""
    desired = json.loads(DESIRED.read_text())
    airflow("db", "migrate")
    declare_databases(desired["databases"])
    declare_users(desired["users"])
    import_objects("connections", desired["connections"], "--overwrite")
    import_objects("variables", desired["variables"], "--action-on-existing-key", "overwrite")
    import_objects("pools", desired["pools"])


if __name__ == "__main__":
    main()
