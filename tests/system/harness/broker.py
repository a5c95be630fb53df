"""One real broker, private to a test session or to one test: what deploy/local/kafka starts, and what can befall it."""

import os
import signal
import subprocess
import time
from pathlib import Path

from . import wait

SCRIPT = Path(__file__).resolve().parents[3] / "deploy" / "local" / "kafka"


class Broker:
    """A broker whose data, port, pid and log live in `directory`."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.address = None
        self.extra = {}  # further variables of the script

    def _script(self, verb):
        # A port of its own: a person's broker on 9092 is left alone.
        env = dict(os.environ, TIDEGATE_KAFKA_DIR=str(self.directory), TIDEGATE_KAFKA_HEAP="512m", **self.extra)
        if not (self.directory / "port").exists() and verb == "up":
            env["TIDEGATE_KAFKA_PORT"] = env.get("TIDEGATE_TEST_KAFKA_PORT") or str(_free_port())
        else:
            env.pop("TIDEGATE_KAFKA_PORT", None)
        done = subprocess.run([str(SCRIPT), verb], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"deploy/local/kafka {verb}: {done.stderr}"
        return done.stdout.strip()

    def up(self):
        """Start it (again, with the same data and port) and return its address once it answers."""
        self.address = self._script("up")
        return self.address

    def down(self):
        """Stop it in good order; data stays."""
        self._script("down")

    def reset(self):
        """Stop it and delete its data."""
        self._script("reset")

    @property
    def pid(self):
        return int((self.directory / "pid").read_text())

    def kill(self):
        """kill -9: no goodbye, nothing flushed."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        wait.until("the killed broker is gone", lambda: not Path(f"/proc/{pid}").exists() or _zombie(pid), 10)

    def pause(self):
        """SIGSTOP: it neither answers nor closes a connection."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self):
        os.kill(self.pid, signal.SIGCONT)

    def pause_for(self, seconds):
        """SIGSTOP, and SIGCONT so long after."""
        self.pause()
        end = time.monotonic() + seconds
        wait.until(f"{seconds} s are over", lambda: time.monotonic() >= end, seconds + 5)
        self.resume()

    def resume_quietly(self):
        """For the end of a test that may have failed anywhere."""
        try:
            self.resume()
        except OSError:
            pass


def _zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def _free_port():
    import random
    import socket

    for _ in range(200):
        # Below the range that the kernel hands to outgoing connections, so that none of those takes it between stop and start.
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port between 20000 and 32000")


free_port = _free_port
