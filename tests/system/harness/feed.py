"""Events onto the input topics while the program runs: what a shop's own producers would do (Java's partitioner, record time = now or event time)."""

import json
import threading
import time
from datetime import datetime, timezone

from confluent_kafka import Producer

from .generate import STREAM_OF
from .murmur2 import partition


class Feeder:
    """Produces events (dicts) or raw bytes to `topics`, a map of stream to topic name."""

    def __init__(self, address, topics, partitions):
        self.topics, self.partitions = topics, partitions
        self.failures = []
        self._producer = Producer(
            {"bootstrap.servers": address, "acks": "all", "linger.ms": 0, "message.max.bytes": 4_000_000, "log_level": 0, "message.timeout.ms": 60000}
        )

    def _done(self, error, _message):
        if error is not None:
            self.failures.append(str(error))

    def event(self, event, timestamp=None):
        """One event; the record's time is the event's own unless given (ms)."""
        key = event.get("customer_id") or event.get("anonymous_id") or ""
        at = timestamp if timestamp is not None else milliseconds(event["event_time"])
        self.raw(STREAM_OF[event["type"]], key.encode(), json.dumps(event, separators=(",", ":")).encode(), at)

    def raw(self, stream, key, value, timestamp=None, number=None):
        """Any bytes, to the partition of their key or to `number`."""
        number = partition(key, self.partitions) if number is None else number
        self._producer.produce(
            self.topics[stream], key=key, value=value, partition=number, timestamp=timestamp or int(time.time() * 1000), on_delivery=self._done
        )
        self._producer.poll(0)

    def flush(self, seconds=60):
        """All of it acknowledged, or a failure."""
        left = self._producer.flush(seconds)
        assert left == 0 and not self.failures, f"{left} records unsent, {self.failures[:3]}"


class Stream:
    """Calls `each(n)` `rate` times a second on a thread of its own until stopped: steady traffic beside what a test does."""

    def __init__(self, rate, each):
        self._ended = threading.Event()
        self.count, self.failure = 0, None

        def run():
            begun = time.monotonic()
            try:
                while not self._ended.wait(max(0.0, begun + self.count / rate - time.monotonic())):
                    each(self.count)
                    self.count += 1
            except Exception as error:  # shown by stop(), in the test's own thread
                self.failure = error

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def stop(self):
        self._ended.set()
        self._thread.join(30)
        if self.failure:
            raise AssertionError("the stream of events failed") from self.failure
        return self.count

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join(30)


def milliseconds(text):
    """RFC 3339 to Unix milliseconds."""
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def now_text(shift=0.0):
    """The present, shifted by seconds, as an event time."""
    moment = datetime.fromtimestamp(time.time() + shift, tz=timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
