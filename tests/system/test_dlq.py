"""`dlq`: what could not be understood is listed by kind, and handed on once its cause is mended, each once."""

import json
import os

from harness import shop, topics, wait
from harness.app import KILLABLE, command

MAPPING = {
    "type": {"path": "kind", "table": {"sale": "order_completed"}, "otherwise": "refuse"},
    "fields": {
        "event_id": "number", "event_time": "when", "customer_id": "buyer", "source": {"const": "till"}, "order_id": "number", "total": "sum",
        "products": {"list": "lines", "fields": {"product_id": "article", "price": "price", "quantity": "pieces", "name": {"const": "n" * 400}}},
    },
}  # fmt: skip


def sale(number, lines=1):
    """A sale as a till tells it, which is none of our events before somebody maps it."""
    line = {"article": "p-1", "price": "10.00", "pieces": 1}
    return {"kind": "sale", "number": f"till-{number}", "when": "2026-11-01T10:00:00Z", "buyer": f"c-{number}", "sum": "10.00", "lines": [line] * lines}


def mend(shop_now):
    """From now on its sales are mapped."""
    written = shop_now.app.settings

    def mended(app, instance):
        found = written(app, instance)
        for each in found["inputs"]:
            if each["topic"] == shop_now.topics["purchases"]:
                each["mapping"] = MAPPING
        return found

    shop_now.app.settings = mended


def answered(shop_now, live):
    """The sales that were heard of, by what they suppressed; one that was heard of twice stands there twice."""
    found = (json.loads(record.value) for record in list(live.records) if record.topic in shop_now.channels)
    return sorted(v["cause"]["event_id"] for v in found if v["kind"] == "suppress" and v["channel"] == "email" and v["reason"] == "purchased_relevant")


def forget_positions(shop_now):
    """Brokers drop what a group without members has committed; stands for the days after which they do."""
    groups = topics.admin(shop_now.broker.address).list_consumer_groups().result(20).valid
    for group in (group.group_id for group in groups if group.group_id.startswith(f"{shop_now.name}-")):
        assert topics.delete_group(shop_now.broker.address, group), group


def test_letters_are_handed_on_once_when_their_cause_is_mended(shared_broker, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="1h")
    buyers = [f"c-{n}" for n in range(20)]
    process = shop_now.app.start("a").ready()
    for n, buyer in enumerate(buyers):
        shop_now.feeder.raw("purchases", buyer.encode(), json.dumps(sale(n)).encode())
    shop_now.feeder.raw("purchases", b"c-0", b"\x00 not json")
    # Written in our shape it is larger than what `<app>-events` takes.
    shop_now.feeder.raw("purchases", b"c-99", json.dumps(sale(99, lines=5_000)).encode())
    shop_now.wait_read()
    process.leave()
    config = shop_now.app.config()
    letters = [json.loads(line) for line in command("dlq", "list", "--json", "--config", config).stdout.splitlines()]
    assert len(letters) == 22 and {letter["topic"] for letter in letters} == {shop_now.topics["purchases"]}
    listed = command("dlq", "list", "--config", config).stdout
    assert "22 dead letters" in listed and "c-0" not in listed, listed

    # Nothing is mended yet: all stay, and none is doubled.
    assert "0 handed on" in command("dlq", "replay", "--config", config).stdout
    assert len(command("dlq", "list", "--json", "--config", config).stdout.splitlines()) == 22

    mend(shop_now)
    config = shop_now.app.config()
    with shop_now.read() as live:
        shop_now.app.start("a").ready()
        done = command("dlq", "replay", "--config", config).stdout
        assert "20 handed on" in done and "1 stay" in done and "larger than the limit" in done, done

        wanted = sorted(f"till-{n}" for n in range(20))
        wait.until("every sale is answered", lambda: len(answered(shop_now, live)) >= len(wanted), 30)
        assert "0 handed on" in command("dlq", "replay", "--config", config).stdout
        shop_now.wait_read()
        assert answered(shop_now, live) == wanted, "each once"
        shop_now.stop()
    left = command("dlq", "list", "--json", "--config", config).stdout.splitlines()
    assert len(left) == 2 and "Malformed" in {json.loads(line)["reason"] for line in left}


def test_killed_anywhere_and_with_every_position_forgotten_each_letter_is_handed_on_once(shared_broker, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="1h")
    set_up = shop_now.app.settings
    shop_now.app.settings = lambda *of: {**set_up(*of), "dead_letters": {"max_ratio": "100%"}}
    process = shop_now.app.start("a").ready()
    # All in one partition: two transactions of 500 letters, and one of the rest.
    for n in range(1_100):
        shop_now.feeder.raw("purchases", b"till", json.dumps(sale(n)).encode())
    shop_now.wait_read()
    process.leave()
    mend(shop_now)
    config = shop_now.app.config()

    def listed():
        return len(command("dlq", "list", "--json", "--config", config).stdout.splitlines())

    assert listed() == 1_100
    for point, left in (("before_begin=return", 1_100), ("after_drain=return", 1_100), ("after_commit=return", 600), ("after_drain=1*off->return", 100)):
        environment = {**os.environ, "FAILPOINTS": f"dlq.{point}"}
        done = command("dlq", "replay", "--config", config, binary=KILLABLE, check=False, env=environment)
        assert done.returncode < 0, f"{point}: {done.stdout}{done.stderr}"
        forget_positions(shop_now)
        # What was killed in its transaction: the next replay ends it, or the broker in its own time.
        wait.until(f"{left} are left after {point}", lambda left=left: listed() == left, 30)
    assert "100 handed on" in command("dlq", "replay", "--config", config).stdout
    forget_positions(shop_now)
    assert listed() == 0
    assert "0 handed on" in command("dlq", "replay", "--config", config).stdout
    with shop_now.read() as live:
        shop_now.app.start("a").ready()
        wanted = sorted(f"till-{n}" for n in range(1_100))
        wait.until("every sale is answered", lambda: len(answered(shop_now, live)) >= len(wanted), 60)
        shop_now.wait_read()
        assert answered(shop_now, live) == wanted, "each once"
        shop_now.stop()
