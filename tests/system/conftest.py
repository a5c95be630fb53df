"""One broker for the whole suite, a fresh application per test; what a failed test leaves behind is kept and named."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from harness import app
from harness.broker import Broker
from harness.registry import Registry

SOAK = bool(os.environ.get("SOAK"))

# How much of the log of each process a failure shows, in characters.
LOGGED = 6_000


def pytest_configure(config):
    config.addinivalue_line("markers", "soak: a long version, run by `make soak` (SOAK=1)")


def pytest_collection_modifyitems(config, items):
    # Left out rather than skipped: what `make test` lists is what it ran.
    if not SOAK:
        kept = [item for item in items if "soak" not in item.keywords]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


@pytest.fixture(scope="session")
def workspace():
    """Where everything of this session lies: broker, states, logs. Deleted at the end unless a test failed."""
    base = Path(os.environ.get("TIDEGATE_TEST_DIR", tempfile.gettempdir()))
    base.mkdir(parents=True, exist_ok=True)
    found = Path(tempfile.mkdtemp(prefix="tidegate-system-", dir=base))
    yield found
    if not getattr(pytest, "any_failed", False):
        shutil.rmtree(found, ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        pytest.any_failed = True
        for process in [process for application in app.RUNNING for process in application.processes]:
            report.sections.append((f"{process.instance}: {'running' if process.alive() else process.child.returncode}", process.text[-LOGGED:]))


@pytest.fixture(autouse=True)
def nothing_runs_on():
    """What a failed test leaves running would take the next one's time."""
    yield
    while app.RUNNING:
        app.RUNNING.pop().close()


@pytest.fixture(scope="session")
def shared_broker(workspace):
    """The broker of all tests that leave it alone; one in TIDEGATE_TEST_KAFKA_DIR stays up for the next session."""
    kept = os.environ.get("TIDEGATE_TEST_KAFKA_DIR")
    broker = Broker(kept or workspace / "kafka")
    broker.up()
    yield broker
    if not kept:
        broker.down()


@pytest.fixture(scope="session")
def registry(workspace):
    """A schema registry; one that a test stops is up again after it."""
    found = Registry(workspace / "registry")
    found.up()
    yield found
    found.reset()


@pytest.fixture
def own_broker(workspace, request):
    """A broker that a test may stop, pause and kill."""
    broker = Broker(workspace / f"kafka-{request.node.name[:60]}")
    broker.up()
    yield broker
    broker.resume_quietly()
    broker.reset()
