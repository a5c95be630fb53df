"""What the program stands on is taken away: topics deleted, made anew, grown, set to expire; the broker gone for a while under several workers."""

import pytest
from confluent_kafka.admin import NewPartitions

from conftest import SOAK
from harness import shop, topics, wait
from harness.app import command


@pytest.fixture
def a_shop_with_a_past(shared_broker, workspace):
    """Orders are answered, the only instance is stopped."""
    shop_now = shop.Live(shared_broker, workspace, after="1h")
    customers = [f"c-{n}" for n in range(40)]
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify(customers)
        shop_now.order(customers)
        shop_now.wait_read()
        shop_now.each_order_answered(live)
        process.stop()
    return shop_now


def refused(shop_now, code, *words):
    """A start ends with this exit code and says these words; nothing new was decided."""
    before = shop_now.decided()
    process = shop_now.app.start("a")
    assert process.ended(60) == code, process.text[-3000:]
    for word in words:
        assert word in process.text, f"{word!r} is not in:\n{process.text[-3000:]}"
    assert shop_now.decided() == before


def test_a_lost_changelog_is_not_taken_for_an_empty_past(a_shop_with_a_past):
    shop_now = a_shop_with_a_past
    topics.delete(shop_now.broker.address, [f"{shop_now.name}-profiles-changelog"])
    shop.lose_disk(shop_now.app, "a")
    command("topics", "apply", "--config", shop_now.app.config())
    refused(shop_now, 70, "the changelog and the state directory of this partition are empty", "restore the changelog")


def test_an_input_that_was_made_anew_is_not_read_as_if_nothing_had_happened(a_shop_with_a_past):
    shop_now = a_shop_with_a_past
    purchases = shop_now.topics["purchases"]
    topics.delete(shop_now.broker.address, [purchases])
    topics.create(shop_now.broker.address, [purchases], shop_now.partitions)
    refused(shop_now, 70, purchases, "the topic was re-created")


def test_a_changelog_whose_records_expire_is_refused(a_shop_with_a_past):
    shop_now = a_shop_with_a_past
    changelog = f"{shop_now.name}-profiles-changelog"
    topics.alter(shop_now.broker.address, changelog, cleanup_policy="delete")
    said = f"topic {changelog}: cleanup.policy is delete, wanted compact"
    refused(shop_now, 78, said)
    applied = command("topics", "apply", "--config", shop_now.app.config(), check=False)
    assert applied.returncode == 78 and said in applied.stderr


def test_an_input_that_grows_while_it_is_read_stops_the_program_with_the_numbers(a_shop_with_a_past):
    shop_now = a_shop_with_a_past
    clicks = shop_now.topics["clickstream"]
    process = shop_now.app.start("a").ready()
    admin = topics.admin(shop_now.broker.address)
    admin.create_partitions([NewPartitions(clicks, shop_now.partitions + 2)])[clicks].result(20)
    assert process.ended(30) == 70, process.text[-3000:]
    assert f"{clicks} has 6 partitions now, 4 when this started" in process.text
    refused(shop_now, 78, f"topic {clicks}: 6 partitions found, 4 wanted")


def test_an_input_that_is_deleted_while_it_is_read_loses_nothing_of_the_others(a_shop_with_a_past):
    shop_now = a_shop_with_a_past
    clicks = shop_now.topics["clickstream"]
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        topics.delete(shop_now.broker.address, [clicks])
        shop_now.order([f"c-{n}" for n in range(40)])
        shop_now.each_order_answered(live)
        # What is due is held back, visibly, for an order might be unread there.
        wait.until("it says that it holds back", lambda: process.metric("tidegate_tasks", state="behind") > 0, 30)
        assert process.alive(), process.text[-3000:]
        process.stop()
    refused(shop_now, 78, f"topic {clicks}: not found")


def test_several_workers_come_through_a_brokers_pauses(own_broker, workspace):
    shop_now = shop.Live(own_broker, workspace, after="1h", partitions=8, workers=4)
    customers = [f"c-{n}" for n in range(200)]
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify(customers)
        for seconds in (9.0, 13.0, 7.0) if SOAK else (9.0, 13.0):
            shop_now.order(customers)
            own_broker.pause_for(seconds)
            shop_now.order(customers)
            shop_now.each_order_answered(live, seconds=60)
            wait.until("it is ready again", lambda: process.get("/readyz")[0] == 200, 60)
        assert process.alive(), process.text[-3000:]
        process.stop()
    shop.states_agree(shop_now, ("a",))
