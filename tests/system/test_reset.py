"""`reset`: shows what would go, refuses while somebody runs, and then the application begins anew with the ids that it had."""

import json

from harness import reader, shop, topics
from harness.app import command

CUSTOMERS = [f"c-{n}" for n in range(12)]


def suppressions(shop_now):
    """They depend on the orders alone; what depends on the order between two inputs may come out otherwise when all is read at once."""
    found = (json.loads(record.value) for record in reader.read(shop_now.broker.address, [shop_now.log]))
    return sorted((v["customer_id"], v["verdict"], v["reason"], v["channel"], v["decision_id"]) for v in found if v["verdict"] == "suppress")


def test_a_reset_application_decides_the_same_again(shared_broker, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="1h")
    config = shop_now.app.config()
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify(CUSTOMERS)
        shop_now.order(CUSTOMERS)
        shop_now.each_order_answered(live)
        refused = command("reset", "--yes", "--config", config, check=False)
        assert refused.returncode == 75 and "runs: 1 of its workers" in refused.stderr, refused.stderr
        process.leave()
    before = suppressions(shop_now)
    shown = command("reset", "--config", config).stdout
    assert f"topic {shop_now.name}-profiles-changelog" in shown and str(shop_now.app.state_of("a")) in shown and "Nothing was deleted" in shown
    command("state", "verify", "--config", config)
    command("reset", "--yes", "--config", config)
    left = topics.names(shared_broker.address)
    assert f"{shop_now.name}-profiles-changelog" not in left and {shop_now.log, *shop_now.channels, *shop_now.topics.values()} <= left
    assert not list(shop_now.app.state_of("a").glob("*/*/db")), "a state directory is left"
    shop_now.app.start("a").ready()
    shop_now.wait_read()
    assert suppressions(shop_now) == sorted(before + before), "another decision, or another id"
    shop_now.stop()
