"""The configured shop of the tests: its topics, flows and settings, live traffic, and what its probes say. The one place that knows the names."""

import json
import random
import shutil
import subprocess
import time
from collections import Counter
from datetime import datetime

from . import app as apps
from . import feed, reader, topics, wait

CHANNELS = ("email", "push", "sms")


def input_topics(name):
    """Stream to topic."""
    return {stream: f"{name}-{stream}" for stream in topics.STREAMS}


def channel_topics(name):
    return [f"{name}-{channel}" for channel in CHANNELS]


def cart_flow(after, within, expires):
    """The shipped abandoned cart with other durations; without `within` it has its first step only."""
    steps = [{"channel": "email", "template": "cart_reminder"}]
    if within is not None:
        steps = [
            {"channel": "email", "template": "cart_reminder", "success": "clicked", "within": within},
            {"channel": "push", "template": "cart_reminder_short", "success": "opened", "within": within},
            {"channel": "sms", "template": "cart_last_call"},
        ]
    return {
        "flow": "abandoned_cart", "class": "marketing", "list": "offers", "priority": 60, "instance": "cart_id",
        "enter": {"events": ["product_added", "product_removed", "cart_updated"], "when": "cart.value >= 1.0"},
        "after": after,
        "exit": [
            {"events": ["order_completed"], "relevant": "any", "reason": "purchased_relevant"},
            {"events": ["product_removed", "cart_updated"], "when": "cart.items == 0", "reason": "cart_empty"},
        ],
        "reenter": "always", "expires": expires, "max_age": "1d",
        "steps": steps,
    }  # fmt: skip


REPORTS = ("accepted", "sent", "delivered", "opened", "clicked", "bounced", "failed", "expired", "cancelled", "unsubscribed")


def settings(clock, partitions, flows=None, policy=None, quiet_hours=None, log="info", control_group="10%", commit=None, state=None, workers=1, kafka=None, http=None, registry=None, avro=(), intake=()):
    """What writes an application's configuration: a function of application and instance, giving one for `tidegate`.

    Without `flows` the shipped ones, without `policy` and `quiet_hours` the shipped defaults. Streams in `avro` are read through the registry,
    those in `intake` are keyed otherwise.
    """

    def written(app, instance):
        directory = str(apps.ROOT / "deploy" / "flows")
        if flows is not None:
            own = app.directory / "flows"
            own.mkdir(exist_ok=True)
            for flow in flows:
                (own / f"{flow['flow']}.yaml").write_text(json.dumps(flow, indent=1))
            directory = str(own)
        channel = {"expose": ["address", "cart", "products", "last_order", "profile"], "reports": list(REPORTS)}
        if quiet_hours is not None:
            channel["quiet_hours"] = quiet_hours
        inputs = [
            {"stream": stream, "topic": topic, "key": "any" if stream in intake else "customer_id"} for stream, topic in input_topics(app.name).items()
        ]
        for read in inputs:
            read["format"] = "avro" if read["stream"] in avro else "json"
        return {
            "app": {"id": app.name, "instance": instance, "workers": workers, "state_dir": str(app.state_dir), "clock": clock},
            "kafka": kafka or {"bootstrap": app.broker.address},
            "shop": {"currency": "EUR", "rates": {"USD": "0.92"}, "time_zone": "Europe/Berlin"},
            "identity": {"address_key": "a secret of the system suite"},
            "inputs": inputs,
            "registry": {"url": registry},
            "channels": {name: {"topic": topic, **channel} for name, topic in zip(CHANNELS, channel_topics(app.name))},
            "policy": policy or {},
            "control_group": control_group,
            "flows": directory,
            "topics": {"create": True, "partitions": partitions, "replication_factor": 1, "min_insync_replicas": 1},
            # Small batches: more of the moments at which something can go wrong.
            "commit": {"max_records": 500} if commit is None else commit,
            "state": state or {},
            "http": {"listen": f"127.0.0.1:{app.port(instance)}", **(http or {})},
            "log": {"level": log},
        }

    return written


# Nothing that would hold a contact back for longer than a test takes.
UNBOUND = {"caps": [], "min_gap": "0s", "same_message": "0s"}


def lose_disk(app, instance):
    """The state directory is gone."""
    shutil.rmtree(app.state_of(instance), ignore_errors=True)


def leave_for_good(process):
    """Scale in: leave the group, so that others take over at once."""
    process.leave()


def fenced(process):
    """How many transactions this process had to give up."""
    return process.metric("tidegate_transactions_total", outcome="fenced")


def remade(process):
    return process.metric("tidegate_producers_remade_total")


def rebuilt(process):
    """How many stores this process found unusable and rebuilt."""
    return process.metric("tidegate_stores_rebuilt_total")


def owned(process):
    """Partition to the input topics that the process reads of it, by its own word; nothing while it does not answer."""
    found = {}
    code, body = process.get("/status", 1)
    if code == 200:
        for worker in json.loads(body)["workers"]:
            for read in worker["reads"]:
                found.setdefault(read["partition"], set()).add(read["topic"])
    return found


def kill_inside_a_transaction(process, scenario, seconds=30):
    """kill -9 at a moment at which records of the process stand in an open transaction."""
    numbers = sorted(owned(process))

    def held():
        process.pause()
        # A commit that was on its way when it was paused shows at the second look.
        if open_transaction(scenario.broker, scenario, numbers) and open_transaction(scenario.broker, scenario, numbers):
            return True
        process.resume()
        return False

    wait.until("it is paused inside a transaction", held, seconds)
    process.kill()


def open_transaction(broker, scenario, numbers=None):
    """Does some changelog partition (of these) hold records that a read_committed reader may not see yet?"""
    changelog = f"{scenario.name}-profiles-changelog"
    there = [(changelog, n) for n in (range(scenario.partitions) if numbers is None else numbers)]
    return reader.ends(broker.address, there, "read_committed") != reader.ends(broker.address, there)


def states_agree(scenario, instances):
    """Changelog = store, for the partitions that each instance held last: by the program's own word, and by a fold of our own, byte by byte.

    A directory that an instance left to another one stands where it was left, and is compared up to there by the program itself.
    """
    changelog = f"{scenario.name}-profiles-changelog"
    folded = reader.latest(reader.read(scenario.broker.address, [changelog]))
    owners = {number: owner for (_, number), owner in reader.committers(scenario.broker.address, scenario.name, scenario.inputs).items()}
    compared = set()
    for instance in instances:
        config = scenario.app.config(instance)
        if not scenario.app.state_of(instance).exists():
            continue
        apps.command("state", "verify", "--config", config)
        stored = {}
        for line in apps.command("state", "dump", "--config", config).stdout.splitlines():
            entry = json.loads(line)
            stored.setdefault(entry["partition"], {})[bytes.fromhex(entry["key"])] = bytes.fromhex(entry["value"])
        for number, owner in owners.items():
            if owner.startswith(f"{instance}-"):
                expected = {key: value for (of, key), value in folded.items() if of == number}
                differing = sum(stored.get(number, {}).get(key) != expected.get(key) for key in expected.keys() | stored.get(number, {}).keys())
                assert not differing, f"{instance}, partition {number}: {differing} keys of {len(expected)} differ from the changelog"
                compared.add(number)
    assert compared == set(owners), f"partitions {sorted(set(owners) - compared)} have no state on the machine of their last owner"
    assert folded, "the changelog is empty: this would prove nothing"


def seconds_between(first, second):
    """Seconds from one RFC 3339 time to another."""
    return (datetime.fromisoformat(second.replace("Z", "+00:00")) - datetime.fromisoformat(first.replace("Z", "+00:00"))).total_seconds()


def quiet(live, seconds):
    """A condition: nothing new became readable for that long."""
    last = [len(live.records), time.monotonic()]

    def still():
        if len(live.records) != last[0]:
            last[:] = [len(live.records), time.monotonic()]
        return time.monotonic() - last[1] >= seconds

    return still


def quiet_offsets(shop_now, seconds):
    """A condition: the group's positions have not moved for that long."""
    last = [None, time.monotonic()]

    def still():
        found = reader.unread(shop_now.broker.address, shop_now.name, shop_now.inputs)
        if found != last[0]:
            last[:] = [found, time.monotonic()]
        return time.monotonic() - last[1] >= seconds

    return still


class Live:
    """A shop whose clock is the wall's: events happen when a test says so, with durations of seconds instead of hours."""

    def __init__(self, broker, directory, after, within="1m", expires="2h", partitions=4, topic_settings=None, apply=True, **more):
        self.broker, self.partitions = broker, partitions
        self.name = f"l-{random.SystemRandom().randrange(1 << 40):010x}"
        self.topics = input_topics(self.name)
        made = settings(
            clock="live", partitions=partitions, flows=[cart_flow(after, within, expires)], policy=UNBOUND, quiet_hours="none", control_group="0%", **more
        )
        self.app = apps.Application(broker, directory / self.name, self.name, made)
        topics.create(broker.address, self.topics.values(), partitions, topic_settings)
        if apply:
            apps.command("topics", "apply", "--config", self.app.config())
        self.inputs = [*self.topics.values(), f"{self.name}-events"]
        self.channels = channel_topics(self.name)
        self.log = f"{self.name}-decisions"
        self.feeder = feed.Feeder(broker.address, self.topics, partitions)
        self.left_at = None
        self.fed = {}  # event id of an order -> monotonic time
        self._number = 0

    def _event(self, kind, customer, properties):
        self._number += 1
        self.feeder.event(
            {
                "event_id": f"{kind}-{self._number}", "type": kind, "event_time": feed.now_text(), "customer_id": customer, "source": "test",
                "properties": properties,
            }
        )  # fmt: skip
        return f"{kind}-{self._number}"

    def identify(self, customers):
        """Reachable on every channel and consenting."""
        for customer in customers:
            self._event(
                "identified",
                customer,
                {
                    "addresses": {"email": f"{customer}@shop.test", "push": f"token-{customer}", "sms": "+491510000000"},
                    "consents": {channel: True for channel in CHANNELS},
                    "time_zone": "UTC",
                },
            )
        self.feeder.flush()

    def leave_carts(self, customers):
        """Each puts something into a cart and leaves."""
        for customer in customers:
            line = {"product_id": f"p-{customer}", "category": "shoes", "quantity": 1, "price": "50.00", "currency": "EUR"}
            self._event("product_added", customer, {"cart_id": f"k-{customer}", **line})
        self.feeder.flush()
        self.left_at = time.monotonic()

    def order(self, customers):
        for customer in customers:
            line = {"product_id": f"p-{customer}", "category": "shoes", "quantity": 1, "price": "50.00", "currency": "EUR"}
            properties = {"cart_id": f"k-{customer}", "order_id": f"o-{self._number}-{customer}", "currency": "EUR", "total": "50.00", "products": [line]}
            at = time.monotonic()
            self.fed[self._event("order_completed", customer, properties)] = at

    def browse(self, customers, count):
        for n in range(count):
            self._event("product_viewed", f"browser-{n % customers}", {"product_id": f"p-{n % 500}", "category": "toys", "price": "9.99"})
        self.feeder.flush()

    def after_left(self, seconds):
        """Wait until so long after the carts were left."""
        wait.until(f"{seconds} s after the carts were left", lambda: time.monotonic() >= self.left_at + seconds, seconds + 1)

    @staticmethod
    def later(seconds):
        """A condition: so long from now."""
        end = time.monotonic() + seconds
        return lambda: time.monotonic() >= end

    def read(self):
        return reader.Live(self.broker.address, [*self.channels, self.log])

    def wait_read(self, seconds=60):
        self.feeder.flush()
        try:
            reader.wait_read(self.broker.address, self.name, self.inputs, seconds)
        except wait.TimedOut as error:
            said = [(p.instance, p.get("/livez"), p.get("/status"), p.text[-2000:]) for p in self.app.processes if p.alive()]
            raise wait.TimedOut(f"{error}\n{said}") from None

    def verdicts(self, live, kind):
        """Verdicts of one kind in the decision log so far."""
        found = (json.loads(r.value) for r in list(live.records) if r.topic == self.log)
        return [v for v in found if v["verdict"] == kind]

    def sent(self, live):
        """Triggers on the channels so far, in the order in which they became readable."""
        found = (json.loads(r.value) for r in list(live.records) if r.topic in self.channels)
        return [v for v in found if v["kind"] == "trigger"]

    def decided(self):
        """How many verdicts the decision log holds."""
        return len(reader.read(self.broker.address, [self.log]))

    def each_order_answered(self, live, seconds=30):
        """Every order became its two suppressions on every channel: of what was bought, and of marketing for a while; none twice."""
        self.feeder.flush()

        def answers():
            found = (json.loads(r.value) for r in list(live.records) if r.topic in self.channels)
            return Counter((v["cause"]["event_id"], v["channel"], v["reason"]) for v in found if v["kind"] == "suppress")

        wanted = Counter((event, channel, reason) for event in self.fed for channel in CHANNELS for reason in ("purchased_relevant", "purchase_cooloff"))
        wait.until("every order is answered on every channel", lambda: sum(answers().values()) >= sum(wanted.values()), seconds)
        found = answers()
        assert found == wanted, f"missing {list((wanted - found).items())[:5]}, too many {list((found - wanted).items())[:5]}"

    def all_partitions_decide(self, live, since, seconds):
        """How long after `since` the last partition answered an order that was fed after it."""

        def answered():
            first = {}
            for record, at in zip(list(live.records), list(live.times)):
                if at > since and record.topic in self.channels and record.partition not in first:
                    if self.fed.get(json.loads(record.value)["cause"]["event_id"], 0) > since:
                        first[record.partition] = at
            return max(first.values()) - since if len(first) == self.partitions else None

        return wait.until("every partition decides again", answered, seconds, every=0.1)

    def both_decide(self, live):
        self.all_partitions_decide(live, time.monotonic(), 30)

    @staticmethod
    def monotonic():
        return time.monotonic()

    @staticmethod
    def now():
        return feed.now_text()

    def stop(self):
        for process in self.app.processes:
            if process.alive():
                process.stop()


class Ownership:
    """Watches /status of every instance of a scenario: who says that it owns what, while it happens (EO-5)."""

    def __init__(self, scenario):
        self.scenario, self.samples, self.faults = scenario, 0, []
        self._stream = None

    def _sample(self, _):
        before = self._owned()
        after = self._owned()
        inputs = set(self.scenario.inputs)
        for instance, numbers in after.items():
            for number, held in numbers.items():
                if held != inputs:
                    self.faults.append(f"{instance} reads partition {number} of {sorted(held)} only")
        # Two answers are never of one instant: what two claim in both rounds, they claimed at the same time.
        for one in after:
            for other in after:
                if one < other and one in before and other in before:
                    both = set(before[one]) & set(after[one]) & set(before[other]) & set(after[other])
                    if both:
                        self.faults.append(f"{one} and {other} own {sorted(both)}")
        self.samples += 1

    def _owned(self):
        found = {}
        for process in list(self.scenario.app.processes):
            if process.alive():
                for number, topics in owned(process).items():
                    found.setdefault(process.instance, {}).setdefault(number, set()).update(topics)
        return found

    def __enter__(self):
        self._stream = feed.Stream(10, self._sample)
        return self

    def __exit__(self, *_):
        self._stream.__exit__()

    def check(self):
        self._stream.stop()
        assert self.samples > 20, "too few looks"
        assert not self.faults, self.faults[:5]
