"""The independent reader: what a consumer of another make sees on the broker, from the first record or while it happens."""

import functools
import json
import struct
import threading
import time
import uuid
from collections import namedtuple

from confluent_kafka import OFFSET_BEGINNING, OFFSET_INVALID, Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition

from . import topics as topic_admin
from . import wait

Record = namedtuple("Record", "topic partition offset timestamp key value headers")


def _consumer(address, isolation, **more):
    return Consumer(
        {
            "bootstrap.servers": address,
            "group.id": f"reader-{uuid.uuid4()}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": isolation,
            "auto.offset.reset": "error",
            # A reader that waits half a second between fetches would blur every measured time.
            "fetch.wait.max.ms": 20,
            "fetch.queue.backoff.ms": 10,
            "reconnect.backoff.max.ms": 200,
            "log_level": 0,
            **more,
        }
    )


def _record(message):
    return Record(message.topic(), message.partition(), message.offset(), message.timestamp()[1], message.key(), message.value(), message.headers() or [])


def _all_partitions(address, names):
    found = topic_admin.admin(address).list_topics(timeout=10).topics
    missing = [n for n in names if n not in found]
    assert not missing, f"no such topics: {missing}"
    return [(name, number) for name in names for number in found[name].partitions]


@functools.cache
def _asker(address, isolation):
    """One client per broker for the whole session: ends are asked for ten times a second."""
    return _consumer(address, isolation)


def ends(address, partitions, isolation="read_uncommitted"):
    """High watermark of each (topic, partition); with read_committed the last stable offset instead."""

    def end(partition):
        try:
            return _asker(address, isolation).get_watermark_offsets(TopicPartition(*partition), timeout=15)
        except KafkaException as error:
            # One that met a broker's pause or end may keep to what it knew of leaders: the next question is another client's.
            _asker.cache_clear()
            # A topic that was just made: the brokers have not all heard who leads it. One that has grown: the client has not.
            if error.args[0].code() in (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError._UNKNOWN_PARTITION):
                return None
            raise

    return {p: wait.until(f"the end of {p}", lambda p=p: end(p), 15)[1] for p in partitions}


def read(address, names, isolation="read_committed", seconds=60):
    """Every record of whole topics, in the order of each partition.

    Ends only when all that stood there at the call has been passed: an open transaction makes it wait, never stop early.
    """
    wanted = ends(address, _all_partitions(address, names))
    missing = {p for p, end in wanted.items() if end > 0}
    client = _consumer(address, isolation)
    records = []
    try:
        client.assign([TopicPartition(*p, OFFSET_BEGINNING) for p in wanted])
        deadline = time.monotonic() + seconds
        while missing:
            assert time.monotonic() < deadline, f"{isolation} reader stands before the end of {sorted(missing)} after {seconds} s"
            for message in client.consume(2000, 0.2):
                if message.error() is None:
                    records.append(_record(message))
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    # Says where it stands, behind markers and aborted records too; `position` would not.
                    here = (message.topic(), message.partition())
                    if message.offset() >= wanted[here]:
                        missing.discard(here)
                elif not message.error().retriable():
                    raise AssertionError(f"read {names}: {message.error()}")
    finally:
        client.close()
    return records


class Live:
    """A reader that runs beside the test from now on; `records` grows as records become readable, `times` says when (monotonic seconds)."""

    def __init__(self, address, names, isolation="read_committed", from_end=False):
        self.records, self.times, self.failure = [], [], None
        self._ended = threading.Event()
        self._client = _consumer(address, isolation)
        found = _all_partitions(address, names)
        start = ends(address, found, isolation) if from_end else {}
        self._client.assign([TopicPartition(*p, start.get(p, OFFSET_BEGINNING)) for p in found])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            while not self._ended.is_set():
                for message in self._client.consume(1000, 0.01):
                    if message.error() is None:
                        self.times.append(time.monotonic())
                        self.records.append(_record(message))
        except Exception as error:  # shown by stop(), in the test's own thread
            self.failure = error

    def stop(self):
        """End it and return its records."""
        self._ended.set()
        self._thread.join(30)
        self._client.close()
        if self.failure:
            raise AssertionError("the live reader failed") from self.failure
        return self.records

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self._ended.is_set():
            self.stop()


def latest(records):
    """A compacted topic as its table: last value per partition and key; tombstones remove."""
    table = {}
    for record in records:
        if record.value is None:
            table.pop((record.partition, record.key), None)
        else:
            table[(record.partition, record.key)] = record.value
    return table


def values(records):
    """The JSON values of records."""
    return [json.loads(r.value) for r in records]


def committed(address, group, partitions):
    """Committed (stable) offsets of a group: (topic, partition) to offset, None where there is none."""
    asked = [ConsumerGroupTopicPartitions(group, [TopicPartition(*p) for p in partitions])]
    (future,) = topic_admin.admin(address).list_consumer_group_offsets(asked, require_stable=True, request_timeout=20).values()
    return {(p.topic, p.partition): None if p.offset == OFFSET_INVALID else p.offset for p in future.result(timeout=25).topic_partitions}


def committers(address, group, names):
    """Whoever committed each partition's offset last: the metadata that stands beside it.

    From the log of offsets: the client's own answer runs over the end of a metadata that has no zero byte behind it.
    """
    found = {}
    for commit in commits(address, group):
        if commit.topic in names:
            found[(commit.topic, commit.partition)] = commit.metadata
    return {p: found.get(p, "") for p in _all_partitions(address, names)}


def unread(address, group, names):
    """What a group has not committed yet: (topic, partition) to the number of offsets between its position and the end; empty when it is through."""
    end = ends(address, _all_partitions(address, names))
    position = committed(address, group, list(end))
    return {p: e - (position[p] or 0) for p, e in end.items() if e > (position[p] or 0)}


def wait_read(address, group, names, seconds):
    """Wait until a group has committed everything that stands in these topics."""
    left = {}

    def through():
        nonlocal left
        try:
            left = unread(address, group, names)
        except KafkaException as error:
            # A broker that has just come back has no leaders yet.
            left = f"unknown: {error}"
        return not left

    wait.until(lambda: f"group {group} still has to read {left}", through, seconds, every=0.1)


# One committed offset as it stands in the log of __consumer_offsets.
Commit = namedtuple("Commit", "log_offset timestamp topic partition offset metadata")


def commits(address, group):
    """Every offset that was ever durably committed for a group, in the broker's own order (all of a group's stand in one partition).

    Parsed from the log itself: key version 0/1 = group, topic, partition; value versions 0–4 = offset, (3 up: leader epoch), metadata …
    """
    found = []
    for record in read(address, ["__consumer_offsets"]):
        (version,) = struct.unpack_from(">h", record.key, 0)
        if version > 1 or record.value is None:
            continue  # group membership, or a removed offset
        its_group, at = _string(record.key, 2)
        if its_group != group:
            continue
        topic, at = _string(record.key, at)
        (partition,) = struct.unpack_from(">i", record.key, at)
        value_version, offset = struct.unpack_from(">hq", record.value, 0)
        at = 14 if value_version >= 3 else 10
        if value_version >= 4:
            # Compact string: its length plus one as a varint, of one byte for anything this short.
            size = record.value[at] - 1
            metadata = record.value[at + 1 : at + 1 + size].decode()
        else:
            metadata, _ = _string(record.value, at)
        found.append(Commit(record.offset, record.timestamp, topic, partition, offset, metadata))
    return found


def _string(data, at):
    (size,) = struct.unpack_from(">h", data, at)
    at += 2
    return data[at : at + size].decode(), at + size
