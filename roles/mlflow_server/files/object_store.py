"""Try the object store that MLflow's files go to, or copy there what lies in MLflow's volume. It runs in MLflow's image, with the settings that MLflow has.

It ends with 1 and one line of JSON where the store does not answer as it has to: `kind` says what is to be put right, `words` are the store's.

Usage: python - [folder of the volume that is to be copied]
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from mimetypes import guess_type
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import boto3
import botocore.exceptions
from boto3.exceptions import S3UploadFailedError
from botocore.config import Config

#: Seconds by which the clocks of the store and of this host may differ.
CLOCKS = 300
#: What a restore has in the volume beside MLflow's files.
BESIDE = {".restored", ".former", ".snapshot"}
#: The store's codes, as far as they say what is wrong, and HTTP's, for a store with codes of its own.
KINDS = {
    "InvalidAccessKeyId": "keys",
    "SignatureDoesNotMatch": "keys",
    "ExpiredToken": "keys",
    "InvalidToken": "keys",
    "RequestTimeTooSkewed": "clock",
    "AccessDenied": "rights",
    "AllAccessDisabled": "rights",
    "401": "keys",
    "403": "rights",
    "NoSuchBucket": "bucket",
    "InvalidBucketName": "bucket",
    "PermanentRedirect": "region",
    "AuthorizationHeaderMalformed": "region",
    "IllegalLocationConstraintException": "region",
    "301": "region",
}


def kind_of(error: Exception) -> str:
    """Return what is to be put right after an exception of the store's client: a key of KINDS' values, or `address`, `certificate`, `other`."""
    errors = botocore.exceptions
    if isinstance(error, errors.ClientError):
        answer = error.response
        codes = (str(answer.get("Error", {}).get("Code")), str(answer.get("ResponseMetadata", {}).get("HTTPStatusCode")))
        return next((KINDS[code] for code in codes if code in KINDS), "other")
    if isinstance(error, (errors.NoCredentialsError, errors.PartialCredentialsError)):
        return "keys"
    if isinstance(error, errors.SSLError):
        return "certificate"
    if isinstance(error, (errors.ConnectionError, errors.HTTPClientError)):
        return "address"
    return "other"


class Store:
    """The place that MLflow's environment names."""

    def __init__(self, threads: int = 8) -> None:
        place = urlsplit(os.environ["MLFLOW_ARTIFACTS_DESTINATION"])
        self.bucket, self.prefix = place.netloc, place.path.strip("/")
        config = Config(connect_timeout=10, read_timeout=60, retries={"max_attempts": 3}, max_pool_connections=2 * threads)
        self.client = boto3.client("s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL"), config=config)
        self.threads = threads

    def key(self, name: str) -> str:
        """Return the name of the object for a file of MLflow's."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def attempt(self) -> None:
        """Write an object, find it, read and remove it, which is all that MLflow does there. Raises what the client raises."""
        key, content = self.key(f".lab-{uuid4().hex}"), os.urandom(64)
        self.client.put_object(Bucket=self.bucket, Key=key, Body=content)
        try:
            found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=key, MaxKeys=1).get("Contents", [])
            read = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
            if [entry["Key"] for entry in found] != [key] or read != content:
                raise ValueError(f"the object {key} did not come back as it was written")
        finally:
            self.client.delete_object(Bucket=self.bucket, Key=key)

    def there(self) -> dict[str, tuple[int, float]]:
        """Return key -> bytes, and seconds since 1970 at which it was written, of all that is below the prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.key(""))
        return {entry["Key"]: (entry["Size"], entry["LastModified"].timestamp()) for page in pages for entry in page.get("Contents", [])}

    def put(self, file: Path, key: str) -> int:
        """Upload a file; returns its bytes."""
        self.client.upload_file(str(file), self.bucket, key, ExtraArgs={"ContentType": guess_type(file.name)[0] or "application/octet-stream"})
        return file.stat().st_size

    def copy(self, folder: Path) -> None:
        """Upload the files of a folder that are not there, or were written after their objects, and say how it goes on. Raises what the client raises.

        An object that was written after the file is newer, and stays.
        """
        files = {self.key(path.relative_to(folder).as_posix()): path for path in files_of(folder)}
        there = self.there()
        missing = {key: path for key, path in files.items() if key not in there or path.stat().st_mtime > there[key][1] - CLOCKS}
        total, sent, done, said = sum(path.stat().st_size for path in missing.values()), 0, 0, 0.0
        print(f"{len(files)} files, {len(files) - len(missing)} of them there already", flush=True)
        with ThreadPoolExecutor(self.threads) as pool:
            tasks = [pool.submit(self.put, path, key) for key, path in missing.items()]
            try:
                for task in as_completed(tasks):
                    sent, done = sent + task.result(), done + 1
                    if time.monotonic() - said > 1:
                        said = time.monotonic()
                        print(f"{done} of {len(missing)} files, {sent >> 20} of {total >> 20} MiB", flush=True)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        there = self.there()
        lost = [key for key, path in files.items() if key not in there or (key in missing and there[key][0] != path.stat().st_size)]
        if lost:
            raise ValueError(f"{len(lost)} objects are not there as they were sent, {lost[0]} for example")
        print(f"{len(files)} files are in the store", flush=True)


def files_of(folder: Path) -> Iterator[Path]:
    """Yield the files that MLflow wrote into a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.relative_to(folder).parts[0] not in BESIDE:
            yield path


def main(folder: str = "") -> int:
    """Copy the folder, or try the store where there is none; returns the exit code."""
    try:
        store = Store()
        if folder:
            store.copy(Path(folder))
        else:
            store.attempt()
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, S3UploadFailedError, OSError, ValueError) as error:
        cause: Any = error.__context__ if isinstance(error, S3UploadFailedError) else None  # which wraps the client's
        print(json.dumps({"kind": kind_of(cause or error), "words": " ".join(str(error).split())}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
