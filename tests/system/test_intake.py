"""Inputs that are keyed otherwise: clicks by session in a registry's Avro, orders by order id, receipts without a key, both JSON, in other numbers of
partitions than the application.

What one partition reads reaches its customer in another at some later time: how late depends on who was killed. So the shop's time stands still
during each stage, nobody does two things in one, and the next stage begins when the one before was read to its end.
"""

import itertools
import json
import random
from datetime import datetime, timedelta, timezone

from conftest import SOAK
from harness import checks, feed, generate, reader, topics, wait
from harness.registry import framed, shipped
from harness.scenario import INSIDE, Scenario

KILLS = 6 if SOAK else 2  # in each stage
CUSTOMERS = 80
STAGES = 12
COUNTS = {"clickstream": 12, "purchases": 5, "deliveries": 3}


def stages(seed):
    """Events of one instant each, at most one of each customer."""
    draw, number, orders = random.Random(seed), 0, {}
    made = []
    for stage in range(STAGES):
        at = datetime(2026, 3, 2, 10, tzinfo=timezone.utc) + stage * timedelta(hours=5, minutes=7)
        events = []
        for n in range(CUSTOMERS):
            customer, number = f"c{n}", number + 1
            line = {"product_id": f"p{draw.randrange(9)}", "category": "shoes/boots", "quantity": 1, "price": "60.00", "currency": "EUR"}
            kind, more = draw.choice(
                [("product_added", {"cart_id": f"k-{n}", **line})] * 4
                + [("product_viewed", line), ("order_completed", None), ("order_cancelled", None), ("opened", {"channel": "email"}), ("unsubscribed", {"channel": "sms"})]
            )  # fmt: skip
            if stage == 0:
                addresses = {"email": f"{customer}@shop.test", "push": f"token-{customer}", "sms": f"+49{n}"}
                kind, more = "identified", {"addresses": addresses, "consents": {"email": True, "push": True, "sms": True}, "time_zone": "Europe/Berlin"}
            elif kind == "order_completed" or (kind == "order_cancelled" and n not in orders):
                orders[n] = f"o-{number}"
                kind, more = "order_completed", {"order_id": orders[n], "cart_id": f"k-{n}", "currency": "EUR", "total": "60.00", "products": [line]}
            elif kind == "order_cancelled":
                more = {"order_id": orders.pop(n)}
            elif kind == "unsubscribed":
                more = {**more, "address": f"+49{n}", "scope": "channel"}
            event = {"event_id": f"n-{number}", "type": kind, "event_time": generate.stamp(at), "source": "web", "customer_id": customer, "properties": more}
            # A receipt may know nothing but the address.
            if kind == "unsubscribed" and draw.random() < 0.5:
                del event["customer_id"]
            events.append(event)
        draw.shuffle(events)
        made.append(events)
    return made


def one_owner_for_everything_of_a_task(commits, tasks):
    """EO-5 for partitions of any number: who takes a task over states the positions of all that the one before had. Gives the owners of each."""
    stretches = {}
    for commit in commits:
        owner, stretch = commit.metadata.rstrip("\0"), stretches.setdefault(commit.partition % tasks, [])
        if not stretch or stretch[-1][0] != owner:
            stretch.append((owner, set()))
        stretch[-1][1].add((commit.topic, commit.partition))
    for task, stretch in stretches.items():
        for (before, had), (after, has) in itertools.pairwise(stretch):
            assert had <= has, f"task {task}: {before} gave way to {after}, who never had {had - has}"
    return {task: [owner for owner, _ in stretch] for task, stretch in stretches.items()}


def in_avro(number, schema, event):
    """A click as a record of the shipped schema."""
    flat = {key: value for key, value in event.items() if key != "properties"} | event["properties"]
    return framed(number, schema, flat | {"event_time": feed.milliseconds(event["event_time"])})


def test_every_record_of_any_key_is_decided_once_whoever_is_killed_and_topics_may_grow(shared_broker, registry, workspace):
    made = stages(7)
    directory = workspace / "intake"
    directory.mkdir()
    log = directory / "events.jsonl"
    generate.write(log, [event for events in made for event in events])
    scenario = Scenario(
        shared_broker, directory, log, feed=False, intake=COUNTS, workers=2, commit={"max_records": 20}, registry=registry.address, avro=("clickstream",)
    )
    click = shipped("clickstream")
    written_with = registry.register(f"{scenario.topics['clickstream']}-value", click)
    everything = [*scenario.topics.values(), f"{scenario.name}-events"]
    # Whose partition numbers are those of the application.
    scenario.inputs = [scenario.topics["customers"], f"{scenario.name}-events"]
    counts, draw, died = dict(COUNTS), random.Random(11), 0

    def producer():
        # A client that knows the partitions as they are now.
        return feed.Feeder(shared_broker.address, scenario.topics, scenario.partitions)

    def through():
        # A hop may lie between two looks.
        return all(not reader.unread(shared_broker.address, scenario.name, everything) for _ in range(3))

    def put(feeder, event):
        stream, at = generate.STREAM_OF[event["type"]], feed.milliseconds(event["event_time"])
        if stream not in counts:
            feeder.event(event)
            return
        value = in_avro(written_with, click, event) if stream == "clickstream" else json.dumps(event).encode()
        key = {"clickstream": f"session-{draw.randrange(1000)}", "purchases": event["properties"].get("order_id"), "deliveries": None}[stream]
        feeder.raw(stream, key and key.encode(), value, at, draw.randrange(counts[stream]))

    with scenario.live() as live:
        for number, events in enumerate(made):
            grows, joins = number in (4, 8), number in (2, 6, 10)
            process = None
            # Its tasks move there and back while their records wait.
            beside = scenario.app.start("b") if joins else None
            if grows:
                process = scenario.app.start("a").ready()
                for stream, more in (("clickstream", 3), ("purchases", 2)):
                    counts[stream] += more
                    topics.grow(shared_broker.address, scenario.topics[stream], counts[stream])
            feeder = producer()
            for event in events:
                put(feeder, event)
            feeder.flush()
            for _ in range(0 if grows else KILLS):
                killed = scenario.app.start("a", failpoints=f"{draw.choice(INSIDE)}={draw.randrange(6)}*off->return")
                wait.until(f"stage {number} is read or its reader dead", lambda: not killed.alive() or through(), 60, every=0.05)
                died += not killed.alive()
                killed.kill()
            process = process or scenario.app.start("a")
            left = lambda: f"stage {number} is read; unread: {reader.unread(shared_broker.address, scenario.name, everything)}"  # noqa: E731
            wait.until(left, through, 60, every=0.05)
            assert process.alive(), process.text[-4000:]
            if beside:
                beside.ready().leave()
                wait.until(f"a has all of it after stage {number}", lambda: process.get("/readyz")[0] == 200 and through(), 60)
            process.stop()
        assert died > STAGES // 2, f"only {died} died inside a batch"
        last = generate.write(directory / "nothing.jsonl", [])
        scenario.mark(last)
        process = scenario.app.start("a")
        wait.until("the mark is read", through, 60)
        process.stop()
        found = reader.read(shared_broker.address, [scenario.log])
        channels = reader.read(shared_broker.address, scenario.channels)
        checks.nothing_lost_repeated_or_invented(found, scenario.replayed())
        checks.channels_say_what_the_log_says(channels, found)
        commits = [c for c in reader.commits(shared_broker.address, scenario.name) if c.topic in everything]
        checks.offsets_never_go_back(commits)
        owners = one_owner_for_everything_of_a_task(commits, scenario.partitions)
        assert any("b-" in owner for stretch in owners.values() for owner in stretch), f"nothing moved: {owners}"
        during = sorted((r.topic, r.partition, r.offset, r.value) for r in live.stop())
        assert during == sorted((r.topic, r.partition, r.offset, r.value) for r in [*found, *channels])
    scenario.states_agree()
