"""One real schema registry, private to a test session or to one test: what deploy/local/registry starts, and writers of other makes than ours."""

import io
import json
import os
import struct
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import fastavro

from .broker import free_port

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "deploy" / "local" / "registry"


class Registry:
    """A registry whose schemas, port, pid and log live in `directory`."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.address = None

    def _script(self, verb):
        env = dict(os.environ, TIDEGATE_REGISTRY_DIR=str(self.directory))
        if not (self.directory / "port").exists():
            env["TIDEGATE_REGISTRY_PORT"] = str(free_port())
        done = subprocess.run([str(SCRIPT), verb], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, f"deploy/local/registry {verb}: {done.stderr}"
        return done.stdout.strip()

    def up(self):
        """Start it (again, with the same schemas and port) and return its address once it answers."""
        self.address = self._script("up")
        return self.address

    def down(self):
        """Stop it in good order; schemas stay."""
        self._script("down")

    def reset(self):
        """Stop it and delete its schemas."""
        self._script("reset")

    def call(self, method, path, body=None):
        """One of Confluent's calls; returns the answer's JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}{path}", data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from None

    def register(self, subject, schema):
        """Register a schema (an object); returns its id."""
        return self.call("POST", f"/subjects/{subject}/versions", {"schema": json.dumps(schema)})["id"]

    def value(self, record):
        """The value of a record, read as any consumer reads it: by the schema whose id stands in front."""
        magic, number = struct.unpack_from(">bI", record.value)
        assert magic == 0, record.value[:5]
        schema = json.loads(self.call("GET", f"/schemas/ids/{number}")["schema"])
        return fastavro.schemaless_reader(io.BytesIO(record.value[5:]), fastavro.parse_schema(schema), None)

    def compatibility(self, subject, level):
        """What new versions of a subject must be to older ones."""
        self.call("PUT", f"/config/{subject}", {"compatibility": level})


def shipped(stream):
    """Our own schema of a stream."""
    return json.loads((ROOT / "schemas" / f"{stream}.avsc").read_text())


def framed(number, schema, record):
    """The record in Avro, under the schema's id, as a Confluent serializer writes it."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(json.dumps(schema))), record)
    return struct.pack(">bI", 0, number) + out.getvalue()
