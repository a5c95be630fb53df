"""What an outage must not do: speak from the past (CK-1), or say in one breath what was meant for days."""

from conftest import SOAK
from harness import shop, wait


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
