"""Keep copies of backups in an object store. It runs in MLflow's container, with the settings and the keys that MLflow has.

Usage: python -c ... list URL              complete backups, a line for each: name, bytes
       python -c ... put URL NAME KEEP     a tar archive of the backup from standard input; removes all but the newest KEEP, 0: none
       python -c ... get URL NAME          a tar archive of the backup to standard output

It ends with 1 and one line on standard error where the store does not answer as it has to.
"""

from __future__ import annotations

import os
import re
import sys
import tarfile
from typing import IO, Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

#: Written last: a backup without it is not complete.
SEAL = "manifest.hmac"
NAME = re.compile(r"\d{8}T\d{6}Z")
MIB = 1 << 20


class Stream:
    """What is read once, from its beginning to its end: boto3 would go back in a member of an archive that comes through a pipe."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read = file.read


class Store:
    """The backups below an address, s3://bucket/prefix."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self.bucket, self.prefix = place.netloc, place.path.strip("/") + "/" if place.path.strip("/") else ""
        config = Config(connect_timeout=10, read_timeout=60, retries={"max_attempts": 3})
        self.client: Any = boto3.client("s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL"), config=config)

    def backups(self) -> dict[str, dict[str, int]]:
        """Return name -> file -> bytes of all backups, complete or not, the oldest first."""
        found: dict[str, dict[str, int]] = {}
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix):
            for entry in page.get("Contents", []):
                name, _slash, file = entry["Key"][len(self.prefix) :].partition("/")
                if NAME.fullmatch(name) and file and "/" not in file:
                    found.setdefault(name, {})[file] = entry["Size"]
        return dict(sorted(found.items()))

    def put(self, name: str, keep: int) -> None:
        """Send the files of the archive, then remove older backups, and those that an interrupted copy left."""
        sent = {}
        with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
            for member in archive:
                if member.isfile() and (content := archive.extractfile(member)):
                    file_name = member.name.removeprefix("./")
                    # A store takes 10,000 parts of a file, and one part after the other is in memory.
                    parts = TransferConfig(multipart_chunksize=max(8 * MIB, member.size // 9_000 + 1), max_concurrency=2)
                    self.client.upload_fileobj(Stream(content), self.bucket, f"{self.prefix}{name}/{file_name}", Config=parts)
                    sent[file_name] = member.size
        found = self.backups()
        if SEAL not in sent or found.get(name) != sent:
            raise ValueError(f"the files of {name} are not there as they were sent")
        complete = [one for one, files in found.items() if SEAL in files]
        stay = complete[-keep:] if keep else complete
        for one, files in found.items():
            for file in sorted(files, key=lambda file: file != SEAL) if one not in stay else []:  # first what makes it complete
                self.client.delete_object(Bucket=self.bucket, Key=f"{self.prefix}{one}/{file}")

    def get(self, name: str) -> None:
        """Write the archive."""
        with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
            for file, size in self.backups()[name].items():
                member = tarfile.TarInfo(file)
                member.size, member.mode = size, 0o600
                archive.addfile(member, self.client.get_object(Bucket=self.bucket, Key=f"{self.prefix}{name}/{file}")["Body"])


def main(verb: str, url: str, name: str = "", keep: str = "0") -> int:
    """Do what is asked for; returns the exit code."""
    try:
        store = Store(url)
        if verb == "put":
            store.put(name, int(keep))
        elif verb == "get":
            store.get(name)
        else:
            for one, files in store.backups().items():
                if SEAL in files:
                    print(one, sum(files.values()))
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, Boto3Error, tarfile.TarError, OSError, ValueError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
