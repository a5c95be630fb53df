"""The program under test: processes of `tidegate`, their configuration, probes, metrics, logs, and the ways to end them."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import broker as brokers
from . import topics, wait

ROOT = Path(__file__).resolve().parents[3]
CACHE = Path(os.environ.get("TIDEGATE_CACHE", Path.home() / ".cache" / "tidegate"))
BIN = Path(os.environ.get("CARGO_TARGET_DIR", CACHE / "target")) / "bin"
PLAIN = Path(os.environ.get("TIDEGATE_BIN", BIN / "tidegate"))
KILLABLE = Path(os.environ.get("TIDEGATE_FAILPOINTS_BIN", BIN / "tidegate-failpoints"))

# A person's own settings must not reach the program under test.
for _name in [name for name in os.environ if name.startswith("TIDEGATE__")]:
    del os.environ[_name]

# Everything that any process of this session printed, for the canary.
LOGS = []
# Every application of the test that runs.
RUNNING = []


def command(*arguments, binary=PLAIN, check=True, seconds=300, **more):
    """Run a command of the program to its end; returns the finished process with its texts."""
    done = subprocess.run(
        [str(binary), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, **more
    )
    if check:
        assert done.returncode == 0, f"tidegate {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


class Process:
    """One running instance."""

    def __init__(self, application, instance, config, env, binary, verb="run"):
        self.instance = instance
        self.port = application.port(instance)
        self.log = application.directory / f"{instance}.log"
        LOGS.append(self.log)
        self._from = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as out:
            self.started = time.monotonic()
            self.child = subprocess.Popen(
                [str(binary), verb, "--config", str(config)], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, **env}
            )

    @property
    def pid(self):
        return self.child.pid

    @property
    def text(self):
        """What this process has logged so far."""
        with open(self.log, "rb") as source:
            source.seek(self._from)
            return source.read().decode(errors="replace")

    def get(self, path, seconds=2):
        """Status code and body of a GET, or (None, why) while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=seconds) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return None, str(error)

    def alive(self):
        return self.child.poll() is None

    def ready(self, seconds=40):
        """Wait until it is ready; fails at once, with its log, when the process ends instead."""

        def answered():
            assert self.alive(), f"{self.instance} ended with {self.child.returncode} instead of becoming ready:\n{self.text[-4000:]}"
            return self.get("/readyz")[0] == 200

        try:
            wait.until(f"{self.instance} is ready", answered, seconds)
        except wait.TimedOut as error:
            raise wait.TimedOut(f"{error}; /readyz says {self.get('/readyz')}\n{self.text[-4000:]}") from None
        return self

    def status(self):
        """/status as an object."""
        code, body = self.get("/status")
        assert code == 200, f"/status of {self.instance}: {code} {body}"
        return json.loads(body)

    def metrics(self):
        """/metrics as {(name, sorted labels): value}."""
        code, body = self.get("/metrics")
        assert code == 200, f"/metrics of {self.instance}: {code} {body}"
        found = {}
        for line in body.splitlines():
            parsed = re.match(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$", line)
            if parsed and not line.startswith("#"):
                labels = tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', parsed.group(2) or "")))
                found[(parsed.group(1), labels)] = float(parsed.group(3))
        return found

    def metric(self, name, **labels):
        """Sum of a metric over all series that carry these labels; 0 when there is none."""
        wanted = set(labels.items())
        return sum(v for (n, found), v in self.metrics().items() if n == name and wanted <= set(found))

    def ended(self, seconds):
        """Wait for its end and return the exit code (negative: the signal)."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise wait.TimedOut(f"{self.instance} still runs after {seconds} s:\n{self.text[-4000:]}") from None

    def kill(self):
        """kill -9."""
        if self.alive():
            self.child.send_signal(signal.SIGKILL)
        return self.child.wait(10)

    def pause(self):
        self.child.send_signal(signal.SIGSTOP)

    def resume(self):
        self.child.send_signal(signal.SIGCONT)

    def stop(self, seconds=30):
        """SIGTERM: finish the batch, commit, close; must end with 0."""
        if self.alive():
            self.child.send_signal(signal.SIGTERM)
        code = self.ended(seconds)
        assert code == 0, f"{self.instance} ended with {code} on SIGTERM:\n{self.text[-4000:]}"

    def leave(self, seconds=30):
        """SIGINT: leave the group for good, so that others take over at once."""
        self.child.send_signal(signal.SIGINT)
        code = self.ended(seconds)
        assert code == 0, f"{self.instance} ended with {code} on SIGINT:\n{self.text[-4000:]}"


class Application:
    """One application of a test: its name, its topics, its instances and where they keep their state."""

    def __init__(self, broker, directory, name, settings):
        self.broker, self.name, self.settings = broker, name, settings
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._ports, self.processes = {}, []
        RUNNING.append(self)

    def port(self, instance):
        return self._ports.setdefault(instance, brokers.free_port())

    def config(self, instance="a"):
        """Write the configuration of one instance and return its path. JSON is YAML."""
        path = self.directory / f"{instance}.yaml"
        path.write_text(json.dumps(self.settings(self, instance), indent=1))
        return path

    def start(self, instance="a", failpoints=None, env=None, binary=None):
        """Start an instance; with fail points it is the binary that has them."""
        extra = dict(env or {})
        if failpoints:
            extra["FAILPOINTS"] = failpoints if isinstance(failpoints, str) else ";".join(f"{k}={v}" for k, v in failpoints.items())
        binary = binary or (KILLABLE if failpoints else PLAIN)
        process = Process(self, instance, self.config(instance), extra, binary)
        self.processes.append(process)
        return process

    @property
    def state_dir(self):
        """One for all instances: each has its own part."""
        return self.directory / "state"

    def state_of(self, instance="a"):
        return self.state_dir / instance

    def close(self):
        """End what still runs."""
        for process in self.processes:
            if process.alive():
                process.resume()
                process.kill()
