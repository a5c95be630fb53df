"""What an outage must not do: speak from the past (CK-1), or say in one breath what was meant for days."""

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
    # 36 hours down, in seconds: the first step was due long ago, the second one too by the book.
    shop_now = shop.Live(shared_broker, workspace, after="2s", within="4s", expires="60s")
    late, stale = [f"late-{n}" for n in range(10)], []
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify(late + stale)
        shop_now.leave_carts(late + stale)
        shop_now.wait_read()
        process.kill()
        shop_now.after_left(12.0)
        process = shop_now.app.start("a").ready()
        started = shop_now.now()
        wait.until("one contact each", lambda: len(shop_now.sent(live)) >= len(late), 20)
        first = shop_now.sent(live)
        assert all(v["step"] == 1 for v in first[: len(late)])
        assert all(v["decided_at"] >= started for v in first), "decided at wall time, not at a time that has passed"
        wait.until("the second step, no sooner than its wait", lambda: len(shop_now.sent(live)) >= 2 * len(late), 30)
        for customer in late:
            steps = [v for v in shop_now.sent(live) if v["customer_id"] == customer]
            assert [v["step"] for v in steps] == [1, 2]
            assert shop.seconds_between(steps[0]["decided_at"], steps[1]["decided_at"]) >= 4.0
        shop_now.stop()


def test_after_a_longer_outage_an_instance_expires_instead_of_speaking(shared_broker, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="2s", within="2s", expires="5s")
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
