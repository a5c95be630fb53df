"""The ground itself: a generator that repeats itself, a reader that waits, checks that can fail."""

import json
import time

import pytest
from confluent_kafka import Producer

from harness import checks, generate, reader, topics, wait
from harness.murmur2 import murmur2
from harness.reader import Commit, Record


def test_the_same_seed_gives_the_same_events_and_another_one_others():
    made = [list(generate.Shop(seed, customers=50, events=500).events(500)) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]
    times = [event["event_time"] for event in made[0]]
    assert times == sorted(times)
    first = {}
    for event in made[0]:
        first.setdefault(event["customer_id"], event["type"])
    assert set(first.values()) == {"identified"}


def test_murmur2_is_javas():
    # From Kafka's own UtilsTest.
    for text, expected in (("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536)):
        assert murmur2(text.encode()) == expected & 0xFFFFFFFF


def verdict(number, profile="c:1", kind="send"):
    return {"decision_id": f"{number:032x}", "verdict": kind, "profile": profile, "channel": "email", "cause": {"event_id": f"e{number}", "topic": "t", "partition": 0, "offset": number}}


def log_of(verdicts):
    return [Record("log", 0, n, 0, b"", json.dumps(v).encode(), []) for n, v in enumerate(verdicts)]


def test_a_loss_a_repeat_an_invention_and_a_wrong_order_are_each_called_by_name():
    replayed = [verdict(1), verdict(2), verdict(3)]
    checks.nothing_lost_repeated_or_invented(log_of(replayed), replayed)
    for found, word in (
        ([verdict(1), verdict(2)], "lost"),
        ([verdict(1), verdict(2), verdict(3), verdict(3)], "repeated"),
        ([*replayed, verdict(4)], "invented"),
        ([verdict(1), verdict(3), verdict(2)], "differs"),
        ([verdict(1), verdict(2), {**verdict(3), "channel": "sms"}], "differs"),
    ):
        with pytest.raises(AssertionError, match=word):
            checks.nothing_lost_repeated_or_invented(log_of(found), replayed)
    with pytest.raises(AssertionError, match="prove nothing"):
        checks.nothing_lost_repeated_or_invented([], [])
    with pytest.raises(AssertionError, match="twice"):
        checks.channels_say_what_the_log_says(log_of([verdict(1), verdict(1)]), log_of([verdict(1)]))


def test_two_owners_of_one_partition_number_and_offsets_that_go_back_are_seen():
    def commit(at, topic, offset, owner):
        return Commit(at, 0, topic, 3, offset, owner)

    sound = [commit(1, "x", 1, "a-0"), commit(2, "y", 1, "a-0"), commit(3, "x", 2, "b-0"), commit(4, "y", 2, "b-0")]
    assert checks.one_owner_for_all_inputs(sound, ["x", "y"]) == {3: ["a-0", "b-0"]}
    split = [commit(1, "x", 1, "a-0"), commit(2, "y", 1, "b-0"), commit(3, "x", 2, "a-0")]
    with pytest.raises(AssertionError, match="without ever having had"):
        checks.one_owner_for_all_inputs(split, ["x", "y"])
    with pytest.raises(AssertionError, match="followed by"):
        checks.offsets_never_go_back([commit(1, "x", 2, "a-0"), commit(2, "x", 1, "a-0")])


def test_the_reader_sees_no_aborted_record_and_waits_for_an_open_transaction(shared_broker):
    name = f"reader-{time.time_ns()}"
    topics.create(shared_broker.address, [name], 2)
    producer = Producer({"bootstrap.servers": shared_broker.address, "transactional.id": name, "log_level": 0})
    producer.init_transactions(30)
    with reader.Live(shared_broker.address, [name]) as live:
        for value, end in (("aborted", producer.abort_transaction), ("committed", producer.commit_transaction)):
            producer.begin_transaction()
            producer.produce(name, value=value, partition=1)
            producer.flush(10)
            end(10)
        wait.until("the live reader sees it", lambda: live.records, 10)
    assert [r.value for r in live.records] == [b"committed"]
    assert [r.value for r in reader.read(shared_broker.address, [name])] == [b"committed"]
    producer.begin_transaction()
    producer.produce(name, value="open", partition=1)
    producer.flush(10)
    assert reader.ends(shared_broker.address, [(name, 1)]) != reader.ends(shared_broker.address, [(name, 1)], "read_committed")
    with pytest.raises(AssertionError, match="stands before the end"):
        reader.read(shared_broker.address, [name], seconds=1)
    producer.commit_transaction(10)
    assert [r.value for r in reader.read(shared_broker.address, [name])] == [b"committed", b"open"]
