"""A suite that cannot fail proves nothing: three deliberate bugs, each of which it must catch."""

import pytest

from harness import scenario as scenarios
from harness.scenario import Scenario, kill_loop, restore_behind_an_open_transaction
from harness.wait import TimedOut

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("bug", ["bug.store_before_commit", "bug.offsets_outside"])
def test_the_suite_catches(shared_broker, workspace, bug):
    events = scenarios.events_file(workspace, seed=9, count=40_000, customers=2_000)
    caught = None
    for seed in range(5):
        scenario = Scenario(shared_broker, workspace, events)
        with scenario.live() as live:
            try:
                kill_loop(scenario, seed=seed, kills=10, extra=f"{bug}=return")
                scenario.finish()
                scenario.judge(live)
                scenario.states_agree()
            except TimedOut:
                raise  # a run that hangs has caught nothing
            except AssertionError as error:
                caught = error
                break
            finally:
                scenario.app.close()
    assert caught is not None, f"{bug} went through 5 runs of 10 kills unseen"
    print(f"{bug}: {caught}")


def test_the_suite_catches_a_restore_that_ends_at_the_last_stable_offset(shared_broker, workspace):
    # Kills of one instance never show it: a restarted instance ends its own open transactions first.
    scenario = Scenario(shared_broker, workspace, scenarios.events_file(workspace, seed=9, count=40_000, customers=2_000))
    with pytest.raises(AssertionError, match="ready while a committed changelog record was still unreadable"):
        restore_behind_an_open_transaction(scenario, extra="bug.restore_to_lso=return")
