"""An S3 server on this machine: Versity Gateway over a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow.fs import S3FileSystem

from ..cluster.tools import build_module
from ..ports import free_port
from .local_servers import listening

ACCESS_KEY = "reader"
SECRET_KEY = "secret-of-reader"
REGION = "eu-central-1"


@dataclass(frozen=True)
class S3Server:
    """A running server."""

    port: int
    metadata: Path

    @property
    def endpoint(self) -> str:
        """Its address, as a manifest names it."""
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Any:
        """The server with all rights."""
        return S3FileSystem(
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
            region=REGION,
            scheme="http",
            endpoint_override=f"127.0.0.1:{self.port}",
            allow_bucket_creation=True,
        )

    def put(self, path: str, content: bytes) -> None:
        """Write an object ``bucket/key``; the bucket is made."""
        client = self.client()
        client.create_dir(path.partition("/")[0])
        with client.open_output_stream(path, compression=None) as stream:
            stream.write(content)

    def publish(self, bucket: str) -> None:
        """Let anybody read a bucket: its policy, where the server keeps it."""
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": "*",
                    "Action": ["s3:GetObject", "s3:ListBucket"],
                    "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
                }
            ],
        }
        (self.metadata / bucket / "meta" / "policy").write_text(json.dumps(policy))


@contextmanager
def running(folder: Path) -> Iterator[S3Server]:
    """A server whose data lies in ``folder``."""
    program = build_module("s3") / "versitygw"
    data, metadata = folder / "data", folder / "metadata"
    data.mkdir()
    metadata.mkdir()
    server = S3Server(free_port(), metadata)
    command: list[str | Path] = [
        *(program, "--quiet", "--port", f"127.0.0.1:{server.port}", "--region", REGION),
        # Metadata in files of their own: not every file system keeps extended attributes.
        *("posix", "--sidecar", metadata, data),
    ]
    keys = {"ROOT_ACCESS_KEY_ID": ACCESS_KEY, "ROOT_SECRET_ACCESS_KEY": SECRET_KEY}
    with listening(command, ("127.0.0.1", server.port), folder / "log", {**os.environ, **keys}):
        yield server
