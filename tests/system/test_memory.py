"""Memory is bounded by configuration, however many customers there are."""

import pytest

from harness import scenario as scenarios
from harness import shop, wait
from harness.scenario import Scenario

pytestmark = pytest.mark.soak

BUDGET = 512 << 20


def peak(process):
    """Largest resident size so far, in bytes."""
    for line in open(f"/proc/{process.pid}/status", encoding="ascii"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def test_five_million_events_of_a_million_customers_stay_within_the_budget(shared_broker, workspace, capsys):
    events = scenarios.events_file(workspace, seed=11, count=5_000_000, customers=1_000_000)
    scenario = Scenario(shared_broker, workspace, events, commit={}, state={"memory_budget_bytes": BUDGET})
    process = scenario.app.start("a").ready()
    largest = [0]

    def through():
        largest[0] = max(largest[0], peak(process))
        assert largest[0] <= BUDGET, f"{largest[0] >> 20} MiB"
        return not scenario.unread()

    wait.until("5 million events are decided", through, 3600, every=1.0)
    with capsys.disabled():
        print(f"\n  peak resident size {largest[0] >> 20} MiB with a budget of {BUDGET >> 20} MiB")
    process.stop()
