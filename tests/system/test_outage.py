"""What an outage must not do: speak from the past (CK-1), or say in one breath what was meant for days."""

import json

from confluent_kafka import Producer

from conftest import SOAK
from harness import reader, shop, wait
from harness.scenario import Scenario


def test_an_order_that_came_during_the_outage_holds_the_reminder_back(shared_broker, workspace):
    # Cart at 10:00, down, order at 11:00, up again at 15:00, in seconds; and so much unread before each order that who fires timers first gets it wrong.
    shop_now = shop.Live(shared_broker, workspace, after="3s")
    buyers, others = [f"buyer-{n}" for n in range(30)], [f"other-{n}" for n in range(10)]
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify(buyers + others)
        shop_now.leave_carts(buyers + others)
        shop_now.wait_read()
        process.kill()
        shop_now.browse(customers=200, count=20_000)
        shop_now.order(buyers)
        shop_now.after_left(5.0)
        process = shop_now.app.start("a").ready()
        shop_now.wait_read()
        wait.until("the others are reminded", lambda: len(shop_now.sent(live)) >= len(others), 20)
        shop_now.after_left(9.0)
        assert sorted(v["customer_id"] for v in shop_now.sent(live)) == sorted(others), "nobody who ordered is reminded, everybody else is"
        shop_now.stop()


def test_after_a_long_outage_a_cascade_does_not_run_in_fast_motion(shared_broker, workspace):
    # 36 hours down, in seconds: the first step was due long ago, and by the book every step would be.
    shop_now = shop.Live(shared_broker, workspace, after="2s", within="1m", expires="1h")
    late = [f"late-{n}" for n in range(10)]
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify(late)
        shop_now.leave_carts(late)
        shop_now.wait_read()
        process.kill()
        shop_now.after_left(10.0)
        started = shop_now.now()
        process = shop_now.app.start("a").ready()
        wait.until("one contact each", lambda: len(shop_now.sent(live)) >= len(late), 20)
        shop_now.after_left(18.0 if not SOAK else 90.0)
        for customer in late:
            found = [v for v in shop_now.sent(live) if v["customer_id"] == customer]
            assert found[0]["decided_at"] >= started, "decided at wall time, not at a time that has passed"
            assert [v["step"] for v in found] == ([1, 2] if SOAK else [1])
            if SOAK:
                assert shop.seconds_between(found[0]["decided_at"], found[1]["decided_at"]) >= 60.0
        shop_now.stop()


def test_after_a_longer_outage_an_instance_expires_instead_of_speaking(shared_broker, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="2s", within=None, expires="5s")
    customers = [f"gone-{n}" for n in range(10)]
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify(customers)
        shop_now.leave_carts(customers)
        shop_now.wait_read()
        process.kill()
        shop_now.after_left(8.0)
        shop_now.app.start("a").ready()
        wait.until("each instance expires", lambda: len(shop_now.verdicts(live, "expire")) >= len(customers), 20)
        assert shop_now.sent(live) == []
        shop_now.stop()


def test_an_order_that_was_acknowledged_behind_an_open_transaction_holds_the_reminder_back(shared_broker, workspace):
    # A dead producer's transaction makes unreadable what others append behind it; the order is there all the same.
    shop_now = shop.Live(shared_broker, workspace, after="3s")
    buyers = [f"buyer-{n}" for n in range(20)]
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify(buyers)
        shop_now.leave_carts(buyers)
        shop_now.wait_read()
        dead = Producer(
            {"bootstrap.servers": shared_broker.address, "transactional.id": f"{shop_now.name}-dead", "transaction.timeout.ms": 60000, "log_level": 0}
        )
        dead.init_transactions(30)
        dead.begin_transaction()
        for number in range(shop_now.partitions):
            dead.produce(shop_now.topics["purchases"], value=b"never committed", partition=number)
        dead.flush(30)
        shop_now.order(buyers)
        shop_now.feeder.flush()
        shop_now.after_left(8.0)
        assert shop_now.sent(live) == [] and process.metric("tidegate_tasks", state="behind") == shop_now.partitions
        dead.abort_transaction(30)
        shop_now.each_order_answered(live)
        assert shop_now.sent(live) == [], "nobody who ordered is reminded"
        # With the transaction gone, others are reminded again.
        others = [f"other-{n}" for n in range(5)]
        shop_now.identify(others)
        shop_now.leave_carts(others)
        wait.until("the others are reminded", lambda: len(shop_now.sent(live)) >= len(others), 20)
        shop_now.stop()


def test_what_one_mark_makes_due_leaves_in_many_batches(shared_broker, workspace):
    # On the records' clock the end of a log may make every timer of a partition due at once: memory and transactions stay bounded.
    customers, batch = 2_000, 200
    path = workspace / "carts.jsonl"
    with open(path, "w", encoding="utf-8") as out:
        for number in range(customers):
            line = {"cart_id": f"k-{number}", "product_id": "p", "quantity": 1, "price": "50.00", "currency": "EUR"}
            event = {"event_id": f"e-{number}", "type": "product_added", "customer_id": f"c-{number}", "source": "test", "properties": line}
            out.write(json.dumps({**event, "event_time": "2026-03-02T10:00:00Z"}) + "\n")
    scenario = Scenario(shared_broker, workspace, path, partitions=1, commit={"max_records": batch})
    process = scenario.app.start("a").ready()
    reader.wait_read(shared_broker.address, scenario.name, scenario.inputs, 120)
    committed = process.metric("tidegate_transactions_total", outcome="committed")
    scenario.finish()
    # Reading them is half of it, firing their timers the other.
    assert committed >= 2 * customers / batch, f"{committed} transactions"
    scenario.judge()
    scenario.states_agree()
