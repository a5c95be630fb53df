"""What the program stands on is taken away: topics deleted, made anew, grown, set to expire; the broker gone for a while under several workers."""

import shutil

import pytest
from confluent_kafka.admin import NewPartitions

from conftest import SOAK
from harness import feed, shop, topics, wait
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


def test_an_old_state_directory_is_not_mixed_with_a_changelog_made_anew(a_shop_with_a_past):
    shop_now = a_shop_with_a_past
    address, name = shop_now.broker.address, shop_now.name
    # Begun anew, as our own texts say, but on one machine the state directory was forgotten.
    internal = [f"{name}-{of}" for of in ("events", "profiles-changelog", "blocks", "decisions", "dlq")]
    topics.delete(address, [*internal, *shop_now.topics.values()])
    wait.until("the group has forgotten the stopped member", lambda: topics.delete_group(address, name), 20)
    topics.create(address, shop_now.topics.values(), shop_now.partitions)
    command("topics", "apply", "--config", shop_now.app.config())
    wait.until("the past is older than clocks may differ", shop_now.later(11.0), 15)
    customers = [f"new-{n}" for n in range(400)]
    other = shop_now.app.start("b").ready()
    shop_now.identify(customers)
    shop_now.order(customers)
    shop_now.wait_read()
    other.stop()
    process = shop_now.app.start("a").ready(60)
    assert shop.rebuilt(process) == shop_now.partitions, process.text[-3000:]
    process.stop()
    shop.states_agree(shop_now, ("a",))


def test_a_lost_offset_is_not_read_as_the_beginning_although_the_disk_is_new(a_shop_with_a_past):
    shop_now = a_shop_with_a_past
    clicks = shop_now.topics["clickstream"]
    # With a topic the group's offsets of it go.
    topics.delete(shop_now.broker.address, [clicks])
    topics.create(shop_now.broker.address, [clicks], shop_now.partitions)
    shop.lose_disk(shop_now.app, "a")
    refused(shop_now, 70, clicks, "the group has no committed offset for it")


def test_a_channel_that_does_not_take_our_records_is_refused_at_start_and_stops_a_running_program(a_shop_with_a_past):
    shop_now = a_shop_with_a_past
    email = shop_now.channels[0]
    process = shop_now.app.start("a").ready()
    topics.alter(shop_now.broker.address, email, max_message_bytes=300)
    shop_now.order(["c-1"])
    shop_now.feeder.flush()
    assert process.ended(30) == 70, process.text[-3000:]
    assert email in process.text and "raise `max.message.bytes`" in process.text
    refused(shop_now, 78, f"topic {email}: max.message.bytes is 300, wanted 1048588")
    topics.alter(shop_now.broker.address, email, max_message_bytes=1048588)
    with shop_now.read() as live:
        shop_now.app.start("a").ready()
        shop_now.each_order_answered(live)
        shop_now.stop()


def test_a_store_that_is_damaged_is_built_anew_while_the_program_runs(shared_broker, workspace):
    # So little memory and so many visitors that the store writes table files.
    shop_now = shop.Live(shared_broker, workspace, after="1h", partitions=1, state={"memory_budget_bytes": 272 << 20})
    customers = [f"c-{n}" for n in range(40)]
    process = shop_now.app.start("a").ready()
    shop_now.identify(customers)
    shop_now.browse(customers=30_000, count=60_000)
    shop_now.wait_read()
    process.stop()
    tables = sorted(shop_now.app.state_of("a").rglob("*.sst"))
    assert tables, "nothing was written to table files: this would prove nothing"
    for table in tables:
        content = bytearray(table.read_bytes())
        # The file's end, its index and filters, stays: what is read first is sound.
        for at in range(0, len(content) * 3 // 4, 97):
            content[at] ^= 0xFF
        table.write_bytes(content)
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.order(customers)
        shop_now.each_order_answered(live)
        assert shop.rebuilt(process) > 0, process.text[-3000:]
        process.stop()
    shop.states_agree(shop_now, ("a",))


# With more than there were the old positions lie within the new log, and what is before them would never be read; with less, beyond it.
@pytest.mark.parametrize("key, count", [("customer_id", 400), ("any", 400), ("customer_id", 4)])
def test_an_input_that_is_made_anew_under_the_running_program_is_not_read_on_from_the_old_place(shared_broker, workspace, key, count):
    shop_now = shop.Live(shared_broker, workspace, after="1h", intake=topics.STREAMS if key == "any" else ())
    orders = shop_now.topics["purchases"]
    process = shop_now.app.start("a").ready()
    shop_now.order([f"old-{n}" for n in range(40)])
    shop_now.wait_read()
    topics.delete(shared_broker.address, [orders])
    topics.create(shared_broker.address, [orders], shop_now.partitions)
    shop_now.feeder = feed.Feeder(shared_broker.address, shop_now.topics, shop_now.partitions)
    shop_now.order([f"new-{n}" for n in range(count)])
    shop_now.feeder.flush()
    assert process.ended(30) == 70, process.text[-3000:]
    assert orders in process.text and "re-created" in process.text, process.text[-3000:]
    refused(shop_now, 70, orders, "the group has no committed offset for it")


def test_a_changelog_that_is_made_anew_under_the_running_program_is_not_written_on(shared_broker, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="1h")
    changelog = f"{shop_now.name}-profiles-changelog"
    customers = [f"c-{n}" for n in range(40)]
    process = shop_now.app.start("a").ready()
    shop_now.identify(customers)
    shop_now.order(customers)
    shop_now.wait_read()
    topics.delete(shared_broker.address, [changelog])
    command("topics", "apply", "--config", shop_now.app.config())
    shop_now.order(customers)
    shop_now.feeder.flush()
    assert process.ended(60) == 70, process.text[-3000:]
    assert "the changelog of task" in process.text and "re-created while this ran" in process.text, process.text[-3000:]
    shop.lose_disk(shop_now.app, "a")
    refused(shop_now, 70, "the changelog and the state directory of this partition are empty")


def test_state_that_is_carried_to_another_machine_goes_on_there_and_is_not_built_anew(shared_broker, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="1h")
    customers = [f"c-{n}" for n in range(400)]
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify(customers)
        shop_now.order(customers)
        shop_now.each_order_answered(live)
        shop_now.wait_read()
        shop.leave_for_good(process)
        # As the README says: the partitions' directories, while nobody runs on them.
        shutil.copytree(shop_now.app.state_of("a") / shop_now.name, shop_now.app.state_of("b") / shop_now.name)
        command("state", "verify", "--config", shop_now.app.config("b"))
        other = shop_now.app.start("b").ready()
        assert other.metric("tidegate_restore_records_total") == 0, "it read again what it was given"
        assert shop.rebuilt(other) == 0, other.text[-3000:]
        shop_now.order(customers)
        shop_now.each_order_answered(live)
        shop_now.stop()
    shop.states_agree(shop_now, ("b",))


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
