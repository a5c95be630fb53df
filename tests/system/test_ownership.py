"""Who may decide for a partition, and from which state: joins, leaves, kills, zombies, open transactions, old disks (EO-4, EO-5, ST-1, ST-2)."""

import itertools
import shutil
import signal
import threading
import time

import pytest

from conftest import SOAK
from harness import checks, feed, reader, shop, topics, wait
from harness import scenario as scenarios
from harness.scenario import Scenario, restore_behind_an_open_transaction

SLOW = "commit.after_store=sleep(60)"


@pytest.fixture(scope="module")
def log_of_a_shop(workspace):
    return scenarios.events_file(workspace, seed=5, count=60_000 if SOAK else 30_000, customers=3_000)


def test_every_partition_number_has_one_owner_for_all_inputs_through_joins_leaves_and_kills(shared_broker, workspace, log_of_a_shop):
    scenario = Scenario(shared_broker, workspace, log_of_a_shop, partitions=8)
    seen = shop.Ownership(scenario)
    with scenario.live() as live, seen:
        a = scenario.app.start("a", failpoints=SLOW).ready()
        scenario.decided(live, 20)
        b = scenario.app.start("b", failpoints=SLOW).ready()
        scenario.decided(live, 20)
        c = scenario.app.start("c", failpoints=SLOW).ready()
        scenario.decided(live, 20)
        b.kill()
        scenario.decided(live, 20)
        shop.leave_for_good(a)
        scenario.decided(live, 20)
        scenario.app.start("b", failpoints=SLOW).ready()
        scenario.decided(live, 20)
        c.stop()
        scenario.app.start("c").ready()
        scenario.finish(180)
        scenario.judge(live)
    seen.check()
    owners = checks.one_owner_for_all_inputs(reader.commits(shared_broker.address, scenario.name), scenario.inputs)
    assert len(owners) == 8 and any(len(stretch) > 2 for stretch in owners.values()), f"the run moved too little: {owners}"


def test_an_owner_that_dies_while_it_gives_partitions_up_and_comes_back_leaves_none_without_an_owner(shared_broker, workspace, log_of_a_shop):
    scenario = Scenario(shared_broker, workspace, log_of_a_shop)
    with scenario.live() as live:
        a = scenario.app.start("a", failpoints=f"{SLOW};revoke.drain=return").ready()
        scenario.decided(live, 20)
        b = scenario.app.start("b")
        assert a.ended(30) == -6, "it should have died in the rebalance"
        # It comes back under its name, and the group hands it what the rebalance had left it: what it was to give up is nobody's.
        scenario.app.start("a").ready()
        scenario.finish(60)
        assert "partitions without an owner" in b.text + scenario.app.processes[-1].text, "the rebalance was complete: this showed nothing"
        scenario.judge(live)
    scenario.states_agree(("a", "b"))


def test_an_instance_that_leaves_for_good_while_it_joins_leaves_no_ghost_with_partitions(shared_broker, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="1h", workers=3, partitions=6)
    done = threading.Event()

    def traffic():
        for number in itertools.count():
            if done.wait(0.1):
                return
            shop_now.order([f"z-{number}-{n}" for n in range(8)])
            shop_now.feeder.flush()

    with shop_now.read() as live:
        shop_now.app.start("b").ready()
        orders = threading.Thread(target=traffic)
        orders.start()
        try:
            for number in range(6):
                joining = shop_now.app.start("a")
                wait.until("it is about to join", lambda: "connected" in joining.text, 30, every=0.01)
                wait.until("a moment", _after(number * 0.1), 2, every=0.01)
                left_at = time.monotonic()
                joining.child.send_signal(signal.SIGINT)
                assert joining.ended(30) == 0, joining.text[-3000:]
                # A ghost would keep what it was given until its session ends, after six seconds.
                taken_over = shop_now.all_partitions_decide(live, left_at, 30)
                assert taken_over < 5, f"leave {number + 1}: all partitions decide again only after {taken_over:.1f} s"
        finally:
            done.set()
            orders.join()
        shop_now.each_order_answered(live)
        shop_now.stop()


def test_a_zombie_whose_next_batch_holds_only_timers_is_fenced(shared_broker, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="10s")
    customers = [f"z-{n}" for n in range(40)]
    with shop_now.read() as live:
        first = shop_now.app.start("a").ready()
        shop_now.identify(customers)
        shop_now.leave_carts(customers)
        shop_now.wait_read()
        first.stop()
        # All input is read and committed: what comes next can only be the timers. It stops inside that batch, before its transaction begins …
        # (Each of its batches rests there: its first ones, which state its positions, too.)
        zombie = shop_now.app.start("a", failpoints="commit.before_begin=sleep(2500)").ready()
        wait.until("the carts' time has come", lambda: time.monotonic() > shop_now.left_at + 11.0, 20)
        zombie.pause()
        # … and another one becomes the owner and reminds these customers.
        shop_now.app.start("b").ready(60)
        wait.until("the new owner reminded everybody", lambda: len(shop_now.sent(live)) >= len(customers), 30)
        zombie.resume()
        wait.until("the zombie was refused", lambda: shop.fenced(zombie) > 0, 30)
        wait.until("the zombie is a member again", lambda: zombie.get("/readyz")[0] == 200, 30)
        assert sorted(v["customer_id"] for v in shop_now.sent(live)) == sorted(customers), "each customer is reminded once"
        shop_now.stop()
    shop.states_agree(shop_now, ("a", "b"))


def test_a_restore_that_starts_while_a_dead_peers_transaction_is_open_ends_complete(shared_broker, workspace, log_of_a_shop):
    restore_behind_an_open_transaction(Scenario(shared_broker, workspace, log_of_a_shop))


def test_a_broker_paused_beyond_the_transaction_timeout_costs_a_remade_producer_and_not_the_process(own_broker, workspace, log_of_a_shop):
    scenario = Scenario(own_broker, workspace, log_of_a_shop)
    with scenario.live() as live:
        # The worker rests inside an open transaction for longer than the broker lets one live (5 s, found within 10 s more);
        # meanwhile the broker stands still for a while too.
        process = scenario.app.start("a", failpoints="commit.after_drain=6*off->1*sleep(18000)->off").ready()
        wait.until("it rests in a transaction", lambda: shop.open_transaction(own_broker, scenario), 60)
        own_broker.pause()
        wait.until("longer than the transaction's time-out", _after(6.0), 10)
        own_broker.resume()
        reader.wait_read(own_broker.address, scenario.name, scenario.inputs, 180)
        assert process.alive(), process.text[-4000:]
        assert shop.remade(process) > 0, "no producer was made anew"
        scenario.finish()
        scenario.judge(live)
    scenario.states_agree()


def _after(seconds):
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def test_a_store_directory_older_than_the_tombstones_is_rebuilt(shared_broker, workspace, log_of_a_shop):
    scenario = Scenario(shared_broker, workspace, log_of_a_shop)
    changelog = f"{scenario.name}-profiles-changelog"
    with scenario.live() as live:
        process = scenario.app.start("a").ready()
        scenario.finish(180)
        # The store was written just now; tombstones are kept for two seconds from here on, so in a moment it is too old to be trusted.
        topics.alter(shared_broker.address, changelog, delete_retention_ms=2000)
        wait.until("the store is older than half of that", _after(1.5), 5)
        process = scenario.app.start("a").ready()
        assert shop.rebuilt(process) == scenario.partitions, process.text[-3000:]
        process.stop()
        scenario.judge(live)
    scenario.states_agree()
