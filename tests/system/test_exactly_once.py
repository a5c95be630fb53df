"""Killed, paused and cut off: not one decision is lost, repeated or invented (EO-1, EO-2, EO-3, ST-1)."""

import pytest

from conftest import SOAK
from harness import scenario as scenarios
from harness.scenario import Scenario, kill_loop

KILLS = 50 if SOAK else 10


@pytest.fixture(scope="module")
def log_of_a_shop(workspace):
    """rees46_a, where it is at hand, and generated events."""
    return scenarios.events_file(workspace, seed=20260301, count=100_000, customers=4_000, real=True)


@pytest.mark.parametrize("instances", [("a",), ("a", "b")], ids=["one instance", "two instances"])
def test_kills_inside_batches_lose_repeat_and_invent_nothing(shared_broker, workspace, log_of_a_shop, instances):
    scenario = Scenario(shared_broker, workspace, log_of_a_shop)
    with scenario.live() as live:
        points = kill_loop(scenario, seed=len(instances), kills=KILLS, instances=instances)
        assert len(points) == KILLS
        scenario.finish()
        scenario.judge(live)
    scenario.states_agree(instances)


def test_an_instance_stopped_past_its_session_and_continued_decides_nothing_twice(shared_broker, workspace, log_of_a_shop):
    scenario = Scenario(shared_broker, workspace, log_of_a_shop)
    slow = "commit.after_store=sleep(40)"  # so that the run is still on its way when the stopped one comes back
    with scenario.live() as live:
        first, second = scenario.app.start("a", failpoints=slow), scenario.app.start("b", failpoints=slow)
        first.ready(), second.ready()
        scenario.decided(live, 200)
        first.pause()
        # Past the session's time-out the other one decides for its partitions too.
        scenario.taken_over("b", seconds=30)
        first.resume()
        scenario.finish(180)
        scenario.judge(live)
    scenario.states_agree(("a", "b"))


def test_a_broker_stopped_and_started_costs_time_only(own_broker, workspace, log_of_a_shop):
    scenario = Scenario(own_broker, workspace, log_of_a_shop)
    with scenario.live() as live:
        process = scenario.app.start("a", failpoints="commit.after_store=sleep(20)").ready()
        scenario.decided(live, 200)
        own_broker.down()
        own_broker.up()
        scenario.finish(180)
        assert process.child.returncode == 0, "the process that saw the broker go is the one that finished"
        scenario.judge(live)
    scenario.states_agree()
