"""A shop's log on the broker, the program run over it under faults, and the verdict of the independent reader."""

import gzip
import itertools
import json
import random
import time
from pathlib import Path

from confluent_kafka import Producer

from . import app as apps
from . import checks, generate, reader, shop, topics, wait
from .murmur2 import partition

REAL = apps.ROOT.parent / "shared" / "data" / "rees46_a.jsonl.gz"

# Kill points inside a batch, in the order of the commit protocol (engine.md §2): a process aborts there as if by kill -9.
INSIDE = (
    "commit.before_begin", "commit.after_produce", "commit.after_drain", "commit.after_offsets", "commit.after_commit", "commit.after_store",
)  # fmt: skip


def events_file(directory, seed, count, customers, real=False):
    """Events of a test as one file, oldest first: the real ones (2019) before the generated (2026). A public clone has no real ones."""
    path = Path(directory) / f"events-{seed}-{count}.jsonl"
    with open(path, "wb") as out:
        if real and REAL.exists():
            with gzip.open(REAL, "rb") as source:
                out.write(source.read())
        made = generate.Shop(seed, customers, days=6.0, events=count).events(count)
        out.writelines(generate.line(event).encode() + b"\n" for event in made)
    return path


class Scenario:
    """One application over one preloaded log, with `clock: records`: what it must decide is what `replay` decides."""

    # Long after the last event: every timer that is going to fire has fired.
    UNTIL = "2026-06-01T00:00:00Z"

    def __init__(self, broker, directory, events, partitions=4, feed=True, intake=None, **settings):
        self.broker, self.events, self.partitions = broker, events, partitions
        name = f"t{next(_numbers)}-{random.SystemRandom().randrange(1 << 32):08x}"
        self.name = name
        self.topics = shop.input_topics(name)
        self.app = apps.Application(broker, Path(directory) / name, name, shop.settings(clock="records", partitions=partitions, intake=intake or (), **settings))
        for stream, topic in self.topics.items():
            topics.create(broker.address, [topic], (intake or {}).get(stream, partitions))
        apps.command("topics", "apply", "--config", self.app.config())
        if feed:
            apps.command("feed", "--config", self.app.config(), "--events", events, "--until", self.UNTIL)
        self.inputs = [*self.topics.values(), f"{name}-events"]
        self.channels = shop.channel_topics(name)
        self.log = f"{name}-decisions"
        self._replayed = None

    def mark(self, nothing):
        """Run the records' clock on to the end, after what was put into the topics by hand; `nothing` is an empty file."""
        apps.command("feed", "--config", self.app.config(), "--events", nothing, "--until", self.UNTIL)

    def live(self):
        """A read_committed reader that runs beside everything that follows."""
        return reader.Live(self.broker.address, [*self.channels, self.log])

    def decided(self, live, more):
        """Wait until the decision log holds `more` verdicts more than now: the run is under way."""
        start = len(live.records)
        wait.until(f"{more} more decisions", lambda: len(live.records) >= start + more, 60)

    def taken_over(self, instance, seconds):
        """Wait until an instance has committed every input partition: the metadata of an offset names who did."""
        found = {}

        def all_its():
            nonlocal found
            found = reader.committers(self.broker.address, self.name, self.inputs)
            return all(owner.startswith(f"{instance}-") for owner in found.values())

        wait.until(lambda: f"{instance} commits everything; committed by {found}", all_its, seconds, every=0.1)

    def committed_more(self, times):
        """Wait until the committed positions have moved so often."""
        seen = set()

        def moved():
            end = [(topic, number) for topic in self.inputs for number in range(self.partitions)]
            seen.add(tuple(sorted(reader.committed(self.broker.address, self.name, end).items())))
            return len(seen) > times

        wait.until(f"{times} more commits", moved, 30, every=0.05)

    def unread(self):
        """What the group has not committed yet."""
        return reader.unread(self.broker.address, self.name, self.inputs)

    def finish(self, seconds=120):
        """Wait until all input is committed, then end what runs in good order."""
        reader.wait_read(self.broker.address, self.name, self.inputs, seconds)
        for process in self.app.processes:
            if process.alive():
                process.stop()

    def replayed(self):
        """What it must decide."""
        if self._replayed is None:
            out, profiles = self.app.directory / "replayed.jsonl", self.app.directory / "profiles.jsonl"
            apps.command(
                "replay", "--config", self.app.config(), "--events", self.events, "--until", self.UNTIL, "--decisions", out,
                "--profiles", profiles, "--partitions", self.partitions,
            )  # fmt: skip
            self._replayed = checks.verdicts(out)
        return self._replayed

    def judge(self, live=None):
        """The independent reader's verdict, after the end."""
        log = reader.read(self.broker.address, [self.log])
        channels = reader.read(self.broker.address, self.channels)
        checks.nothing_lost_repeated_or_invented(log, self.replayed())
        checks.channels_say_what_the_log_says(channels, log)
        commits = reader.commits(self.broker.address, self.name)
        checks.offsets_never_go_back([c for c in commits if c.topic in self.inputs])
        checks.one_owner_for_all_inputs(commits, self.inputs)
        if live is not None:
            # Who read along saw exactly what stands there now: nothing was readable that was taken back.
            during = sorted((r.topic, r.partition, r.offset, r.value) for r in live.stop())
            after = sorted((r.topic, r.partition, r.offset, r.value) for r in [*log, *channels])
            assert during == after, f"read along: {len(during)} records, afterwards: {len(after)}"

    def states_agree(self, instances=("a",)):
        """Changelog = store, and every profile in it = replay's."""
        shop.states_agree(self, instances)
        self.replayed()
        with open(self.app.directory / "profiles.jsonl", encoding="utf-8") as source:
            replayed = {line["profile"]: line for line in map(json.loads, source)}
        owners = reader.committers(self.broker.address, self.name, self.inputs)
        found = {}
        for instance in instances:
            config = self.app.config(instance)
            mine = {number for (_, number), owner in owners.items() if owner.startswith(f"{instance}-")}
            for line in apps.command("state", "dump", "--profiles", "--config", config).stdout.splitlines():
                profile = json.loads(line)
                # A directory that was left to another instance holds older profiles.
                if partition(profile["profile"][2:].encode(), self.partitions) in mine:
                    found[profile["profile"]] = profile
        differing = sum(found.get(key) != replayed.get(key) for key in found.keys() | replayed.keys())
        assert not differing, f"{differing} of {len(replayed)} profiles differ from replay's"
        assert replayed, "no profile was replayed: this would prove nothing"


_numbers = itertools.count(1)


def kill_loop(scenario, seed, kills, instances=("a",), extra="", lose_disk=True):
    """Start the instances over and over, each killing itself at a seeded hit of a seeded kill point, until `kills` have died; then let them finish.

    `extra` is added to the fail points (deliberate bugs). Now and then the disk is lost too, and the next kill comes during the restore.
    """
    draw = random.Random(seed)
    died = []

    def start(instance):
        point = draw.choice(INSIDE)
        hits = draw.randrange(12)
        if lose_disk and draw.random() < 0.25:
            shop.lose_disk(scenario.app, instance)
            if draw.random() < 0.7:
                point, hits = "restore.midway", draw.randrange(2)
        return scenario.app.start(instance, failpoints=f"{point}={hits}*off->return" + (f";{extra}" if extra else "")), point

    running = {instance: start(instance) for instance in instances}
    while len(died) < kills:
        def one_dead():
            return next((i for i, (p, _) in running.items() if not p.alive()), None)

        def what():
            left = reader.unread(scenario.broker.address, scenario.name, scenario.inputs)
            return f"kill {len(died) + 1} of {kills} at one of {[point for _, point in running.values()]}; unread: {left}"

        dead = wait.until(what, one_dead, 60)
        process, point = running[dead]
        assert process.child.returncode == -6, f"{dead} ended with {process.child.returncode} at {point}:\n{process.text[-4000:]}"
        died.append(point)
        running[dead] = start(dead) if len(died) < kills else (None, None)
        if len(died) >= kills:
            del running[dead]
    for process, _ in running.values():
        process.kill()
    for instance in instances:
        scenario.app.start(instance, failpoints=extra or None, binary=apps.KILLABLE if extra else None)
    return died


def restore_behind_an_open_transaction(scenario, extra=None):
    """A restore that starts while a dead peer's transaction is open must wait for what stands behind it, and end complete.

    `extra` are fail points of the restoring process (a deliberate bug).
    """
    changelog = f"{scenario.name}-profiles-changelog"
    with scenario.live() as live:
        a = scenario.app.start("a", failpoints="commit.after_store=sleep(20)").ready()
        scenario.decided(live, 100)
        # A peer opens a transaction on every changelog partition and dies in it; the living one goes on committing behind its records.
        dead = Producer({"bootstrap.servers": scenario.broker.address, "transactional.id": f"{scenario.name}-dead", "transaction.timeout.ms": 60000, "log_level": 0})
        dead.init_transactions(30)
        dead.begin_transaction()
        for number in range(scenario.partitions):
            dead.produce(changelog, key=b"\xff dead", value=b"never committed", partition=number)
        dead.flush(30)
        scenario.committed_more(3)
        a.kill()
        shop.lose_disk(scenario.app, "a")
        again = scenario.app.start("a", failpoints=extra)
        # What stands behind the open transaction cannot be read yet: to be ready now would be to have stopped before it.
        wait.until("it restores", lambda: again.get("/livez")[0] == 200, 20)
        watched = time.monotonic() + 3
        while time.monotonic() < watched:
            assert again.get("/readyz")[0] != 200, "ready while a committed changelog record was still unreadable"
            assert again.alive(), again.text[-3000:]
        dead.abort_transaction(30)
        again.ready()
        scenario.finish(180)
        scenario.judge(live)
    scenario.states_agree()
