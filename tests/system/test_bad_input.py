"""What cannot be an event becomes a dead letter in the same transaction; what is all poison stops the program instead of draining the topic."""

import json

from harness import feed, reader, shop, wait
from harness.murmur2 import partition


def event(number, **changes):
    """A sound purchase, changed."""
    base = {
        "event_id": f"bad-{number}", "type": "order_completed", "event_time": feed.now_text(), "customer_id": f"b-{number}", "source": "shop",
        "properties": {"order_id": f"bo-{number}", "currency": "EUR", "total": "10.00", "products": [{"product_id": "p", "quantity": 1, "price": "10.00"}]},
    }  # fmt: skip
    properties = {**base["properties"], **changes.pop("properties", {})}
    return {**base, **changes, "properties": properties}


def text(number, **changes):
    return json.dumps(event(number, **changes)).encode()


# What comes in, by name: (stream, value).
BAD = {
    "bytes that are no JSON": ("purchases", b"\x00\xff\xfe not json"),
    "JSON cut off": ("purchases", text(1)[:-10]),
    "no object": ("purchases", b"[1,2,3]"),
    "an unknown type": ("clickstream", text(2, type="order_teleported")),
    "no type": ("purchases", b'{"event_id":"x","event_time":"2026-01-01T00:00:00Z","customer_id":"b-3"}'),
    "a number for a list": ("purchases", text(4, properties={"products": 7})),
    "a list for a name": ("purchases", text(5, customer_id=["b", 5])),
    "money that is not a number": ("purchases", text(6, properties={"total": "NaN"})),
    "money that is infinite": ("purchases", text(7, properties={"total": "Infinity"})),
    "absurd money": ("purchases", text(8, properties={"total": "1e300"})),
    "a time before 1990": ("purchases", text(9, event_time="1969-12-31T23:59:59Z")),
    "a time a year ahead": ("purchases", text(10, event_time="2099-01-01T00:00:00Z")),
    "a time that is none": ("purchases", text(11, event_time="yesterday")),
    "a record of 900 kB": ("purchases", text(12, properties={"note": "x" * 900_000})),
}


def test_bad_records_become_dead_letters_and_the_good_ones_between_them_are_decided(shared_broker, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="1h")
    good = [f"good-{n}" for n in range(len(BAD) * 3)]
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify(good)
        for number, (stream, value) in enumerate(BAD.values()):
            shop_now.order(good[3 * number : 3 * number + 3])
            shop_now.feeder.raw(stream, f"b-{number}".encode(), value)
        shop_now.feeder.flush()
        shop_now.wait_read()
        shop_now.each_order_answered(live)
        letters = reader.read(shared_broker.address, [f"{shop_now.name}-dlq"])
        assert process.alive()
        shop_now.stop()
    arrived = sorted(r.value for r in letters)
    expected = sorted(value for _, value in BAD.values())
    missing = [name for name, (_, value) in BAD.items() if value not in arrived]
    assert arrived == expected, f"missing: {missing}; {len(arrived)} letters for {len(expected)} bad records"
    for letter in letters:
        headers = {name: value.decode() for name, value in letter.headers}
        for name in ("topic", "partition", "offset", "stage", "exception.class.name", "exception.message"):
            assert f"__connect.errors.{name}" in headers, headers
        assert headers["__connect.errors.topic"] in shop_now.topics.values()
        assert letter.key and letter.key.decode() not in headers["__connect.errors.exception.message"], "an error text names no customer"


def test_a_record_of_two_megabytes_becomes_a_dead_letter_and_the_rest_is_decided(shared_broker, workspace):
    # Larger than a producer may send by default: the topics were made to take it, as a shop's may be.
    shop_now = shop.Live(shared_broker, workspace, after="1h", topic_settings={"max.message.bytes": "4000000"})
    huge = text(1, properties={"note": "x" * 2_000_000})
    good = [f"good-{n}" for n in range(20)]
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify(good)
        shop_now.feeder.raw("purchases", b"b-1", huge)
        shop_now.order(good)
        shop_now.wait_read()
        shop_now.each_order_answered(live)
        letters = reader.read(shared_broker.address, [f"{shop_now.name}-dlq"])
        assert process.alive()
        shop_now.stop()
    assert len(letters) == 1
    headers = {name: value.decode() for name, value in letters[0].headers}
    assert headers["__connect.errors.topic"] == shop_now.topics["purchases"]
    assert letters[0].value is None and int(headers["tidegate-left-out-bytes"]) == len(huge), "what does not fit is left out, and said"


def test_nothing_but_poison_stops_the_task_and_leaves_the_topic_where_it_is(shared_broker, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="1h")
    process = shop_now.app.start("a").ready()
    for number in range(5000):
        shop_now.feeder.raw("clickstream", f"b-{number}".encode(), b"\xde\xad\xbe\xef")
    shop_now.feeder.flush()
    # A person must look: the page is readiness, a metric and a line of level ERROR; the process lives, so that they can.
    wait.until("every task has stopped", lambda: process.metric("tidegate_tasks", state="poisoned") == shop_now.partitions, 60)
    code, body = process.get("/readyz")
    assert code == 503 and "poisoned" in body, body
    assert "ERROR" in process.text
    wait.until("nothing moves any more", shop.quiet_offsets(shop_now, 1.0), 20)
    left = sum(reader.unread(shared_broker.address, shop_now.name, shop_now.inputs).values())
    letters = len(reader.read(shared_broker.address, [f"{shop_now.name}-dlq"]))
    assert left + letters == 5000, "what was not put aside is still unread"
    assert left > 2500, "it stopped before most of the topic was gone"
    # The cause is mended and the shop goes on: nothing of the stop is for ever.
    process.stop()


def test_a_record_in_another_partition_than_its_key_belongs_to_becomes_a_dead_letter(shared_broker, workspace):
    # What librdkafka's default partitioner does: folded where it stands, it would be a second profile, and the first would be reminded.
    shop_now = shop.Live(shared_broker, workspace, after="1h")
    customers = [f"b-{n}" for n in range(20)]
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify(customers)
        shop_now.order(customers[10:])
        for number, customer in enumerate(customers[:10]):
            key = customer.encode()
            elsewhere = (partition(key, shop_now.partitions) + 1) % shop_now.partitions
            shop_now.feeder.raw("purchases", key, text(number, customer_id=customer), number=elsewhere)
        shop_now.wait_read()
        shop_now.each_order_answered(live)
        letters = reader.read(shared_broker.address, [f"{shop_now.name}-dlq"])
        assert sorted(letter.key.decode() for letter in letters) == sorted(customers[:10])
        assert process.metric("tidegate_records_dead_lettered_total", code="wrong_partition") == 10
        shop_now.stop()
