"""Flows, policy and channel modes change while the program runs: the new set for whoever enters, the old one for whoever is under way; a broken
file changes nothing and raises an alarm."""

import json
import signal

from harness import app, shop, wait

AFTER = 8  # seconds from the cart to its reminder: time enough for a change in between


def flow_file(shop_now):
    return shop_now.app.directory / "flows" / "abandoned_cart.yaml"


def change(path, edit):
    """Rewrite a JSON file."""
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content, indent=1))


def taken(process):
    return process.metric("tidegate_reloads_total", outcome="taken")


def await_taken(process, before):
    wait.until("the change is taken", lambda: taken(process) > before, 15)


def reminders(shop_now, live, customers):
    """The first trigger of each of these customers."""

    def all_there():
        found = {v["customer_id"]: v for v in reversed(shop_now.sent(live))}
        return found if set(customers) <= set(found) else None

    return wait.until(f"reminders of {customers}", all_there, AFTER + 30)


def test_whoever_is_under_way_ends_with_the_old_flow_and_whoever_enters_gets_the_new_one_over_a_restart(shared_broker, workspace):
    shop_now = shop.Live(shared_broker, workspace, after=f"{AFTER}s")
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify(["old", "new"])
        shop_now.leave_carts(["old"])
        shop_now.wait_read()
        before = taken(process)
        change(flow_file(shop_now), lambda flow: flow["steps"][0].update(template="another_reminder"))
        await_taken(process, before)
        shop_now.leave_carts(["new"])
        shop_now.wait_read()
        process.stop()
        assert not shop_now.sent(live), "the reminder came before the restart: this would prove less"
        # Not by `start`, which would write the first flow again.
        process = app.Process(shop_now.app, "a", shop_now.app.directory / "a.yaml", {}, app.PLAIN)
        shop_now.app.processes.append(process)
        process.ready()
        found = reminders(shop_now, live, ["old", "new"])
        assert found["old"]["template"] == "cart_reminder"
        assert found["new"]["template"] == "another_reminder"
        assert found["old"]["flow_version"] != found["new"]["flow_version"]
        shop_now.stop()


def test_a_broken_file_leaves_the_old_set_in_force_until_it_is_mended(shared_broker, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="2s")
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify(["c1", "c2"])
        assert process.metric("tidegate_reload_failed") == 0
        good = flow_file(shop_now).read_text()
        change(flow_file(shop_now), lambda flow: flow["steps"][0].update(channel="e-mail"))
        wait.until("the alarm rises", lambda: process.metric("tidegate_reload_failed") == 1, 15)
        assert "abandoned_cart.yaml" in process.text and "did you mean `email`?" in process.text
        shop_now.leave_carts(["c1"])
        assert reminders(shop_now, live, ["c1"])["c1"]["template"] == "cart_reminder"
        flow_file(shop_now).write_text(good)
        wait.until("the alarm falls", lambda: process.metric("tidegate_reload_failed") == 0, 15)
        before = taken(process)
        process.child.send_signal(signal.SIGHUP)
        await_taken(process, before)
        shop_now.leave_carts(["c2"])
        assert reminders(shop_now, live, ["c2"])["c2"]["template"] == "cart_reminder"
        shop_now.stop()


def test_a_channel_that_is_stopped_is_passed_over_by_what_waits_and_the_rest_of_the_change_waits_for_a_restart(shared_broker, workspace):
    shop_now = shop.Live(shared_broker, workspace, after=f"{AFTER}s")

    def stop_email(config):
        config["channels"]["email"]["mode"] = "stopped"
        config["policy"]["conversion_window"] = "1d"
        config["commit"]["max_records"] = 77

    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify(["c1"])
        shop_now.leave_carts(["c1"])
        shop_now.wait_read()
        before = taken(process)
        change(shop_now.app.directory / "a.yaml", stop_email)
        await_taken(process, before)
        assert "commit.max_records" in process.text, "what waits for a restart is named"
        assert "channels.email.mode" not in process.text and "conversion_window" not in process.text
        assert reminders(shop_now, live, ["c1"])["c1"]["channel"] == "push"
        skipped = shop_now.verdicts(live, "skip")
        assert ("email", "channel_stopped") in {(v.get("channel"), v["reason"]) for v in skipped}
        shop_now.stop()
