"""Records as producers of all kinds write them: every compression, tombstones, empty values, headers, and topics that are compacted."""

import json

from confluent_kafka import Producer

from harness import feed, reader, shop, topics, wait
from harness.murmur2 import partition

COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")


def produce(shop_now, records, **settings):
    """Records (topic, key, value, headers), each to the partition of its key, by a producer with these settings."""
    failed = []
    producer = Producer({"bootstrap.servers": shop_now.broker.address, "log_level": 0, "linger.ms": 50, **settings})
    for topic, key, value, headers in records:
        number = partition(key, shop_now.partitions)
        producer.produce(topic, key=key, value=value, headers=headers, partition=number, on_delivery=lambda e, _: e and failed.append(e))
    assert producer.flush(30) == 0 and not failed, failed


def order(shop_now, customer, number=0):
    """An order that has to be answered."""
    line = {"product_id": f"p-{customer}", "category": "shoes", "quantity": 1, "price": "50.00", "currency": "EUR"}
    event = {
        "event_id": f"shape-{number}-{customer}", "type": "order_completed", "event_time": feed.now_text(), "customer_id": customer, "source": "test",
        "properties": {"order_id": f"o-{number}-{customer}", "currency": "EUR", "total": "50.00", "products": [line]},
    }  # fmt: skip
    shop_now.fed[event["event_id"]] = 0.0
    return json.dumps(event).encode()


def test_every_compression_and_any_header_is_read_and_what_has_no_value_is_a_dead_letter(shared_broker, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="1h")
    bought = shop_now.topics["purchases"]
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        for kind in COMPRESSIONS:
            customers = [f"{kind}-{n}" for n in range(50)]
            shop_now.identify(customers)
            headers = [("traceparent", b"00-af-01"), ("traceparent", b"00-b0-01"), ("empty", b""), ("null", None), ("bytes", b"\xff\x00")]
            records = [(bought, customer.encode(), order(shop_now, customer), headers) for customer in customers]
            produce(shop_now, records, **{"compression.type": kind, "batch.num.messages": 20})
        produce(shop_now, [(bought, b"gone", None, []), (bought, b"empty", b"", [("why", b"not")])])
        shop_now.wait_read()
        shop_now.each_order_answered(live)
        letters = {r.key: (r.value, dict(r.headers)) for r in reader.read(shared_broker.address, [f"{shop_now.name}-dlq"])}
        assert letters.keys() == {b"gone", b"empty"}
        assert letters[b"gone"][1]["__connect.errors.exception.class.name"] == b"tidegate.event.NoValue"
        assert letters[b"empty"][1]["__connect.errors.exception.class.name"] == b"tidegate.event.Malformed"
        assert letters[b"empty"][1]["why"] == b"not", "a dead letter keeps its own headers"
        assert process.metric("tidegate_records_dead_lettered_total", code="no_value") == 1
        shop_now.stop()


def test_a_compacted_input_is_read_over_its_gaps(shared_broker, workspace):
    eager = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "100", "delete.retention.ms": "100", "max.compaction.lag.ms": "100"}
    shop_now = shop.Live(shared_broker, workspace, after="1h", partitions=1, topic_settings=eager)
    bought = shop_now.topics["purchases"]
    customers = [f"c-{n}" for n in range(20)]
    rounds = 30
    for number in range(rounds):
        shop_now.fed.clear()
        produce(shop_now, [(bought, customer.encode(), order(shop_now, customer, number), []) for customer in customers])
    end = rounds * len(customers)

    def kept():
        # A new record closes the segment before it, so that the cleaner may look at that.
        produce(shop_now, [(bought, customers[0].encode(), order(shop_now, customers[0], rounds), [])])
        return [record.offset for record in reader.read(shared_broker.address, [bought])]

    offsets = wait.until("the topic is compacted", lambda: (found := kept()) and len(found) < end / 2 and found, 90, every=0.5)
    assert offsets[-1] >= end and len(offsets) < offsets[-1], "there are gaps"
    assert topics.settings(shared_broker.address, bought)["cleanup.policy"] == "compact"
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.wait_read()
        wait.until("each customer's order is decided", lambda: {v["customer_id"] for v in shop_now.verdicts(live, "suppress")} == set(customers), 30)
        consumed = process.metric("tidegate_records_consumed_total", topic=bought)
        assert len(customers) <= consumed <= len(offsets), "what the cleaner left, and nothing else"
        assert reader.read(shared_broker.address, [f"{shop_now.name}-dlq"]) == []
        shop_now.stop()
