"""Who is who, on a real broker and over several partitions: what a visitor held is the customer's after the login, whoever was killed on the way (ID-1).

A login, a hand-over and what is forwarded arrive at another partition at some later time: how late depends on who was killed. So the shop's
time stands still during each stage, nobody is two people in one, and the next stage begins when the one before was read to its end.
"""

import json
import random
from datetime import datetime, timedelta, timezone

from conftest import SOAK
from harness import app as apps
from harness import checks, generate, wait
from harness.scenario import INSIDE, Scenario

KILLS = 6 if SOAK else 2  # in each stage
CUSTOMERS = 60


class Shop:
    """Stages of events, all of one instant each."""

    def __init__(self):
        self.stages, self.number = [], 0
        self.whose = {}  # visitor -> the customer who logged in there last
        self.logins = {}  # visitor -> all of them
        self.into = {}  # customer -> whom they were merged into
        self.told = set()  # people who have something to do with this stage already

    def stage(self):
        self.stages.append([])
        self.told = set()

    def owner(self, person):
        """The person that somebody's events end with."""
        seen = set()
        while person not in seen:
            seen.add(person)
            person = self.into.get(person) or self.whose.get(person) or person
        return person

    def event(self, kind, properties, customer=None, visitor=None, people=()):
        """One more event of this stage, unless one of those whom it concerns has one already."""
        people = {self.owner(person) for person in (customer, visitor, *people) if person} | {person for person in (visitor,) if person}
        if people & self.told:
            return False
        self.told |= people
        self.line(kind, properties, customer, visitor)
        return True

    def line(self, kind, properties, customer=None, visitor=None):
        at = datetime(2026, 3, 2, 10, tzinfo=timezone.utc) + len(self.stages) * timedelta(days=1, minutes=7)
        self.number += 1
        event = {"event_id": f"i-{self.number}", "type": kind, "event_time": generate.stamp(at), "source": "web", "properties": properties}
        event |= {"customer_id": customer} if customer else {}
        event |= {"anonymous_id": visitor} if visitor else {}
        self.stages[-1].append(event)

    def logs_in(self, customer, visitor):
        before = self.whose.get(visitor)
        if self.event("page_viewed", {"url": "https://shop.test/account"}, customer, visitor, (before,)):
            known = self.logins.setdefault(visitor, [])
            known.extend([] if customer in known else [customer])
            # After three customers a device is nobody's.
            self.whose[visitor] = customer if len(known) <= 3 else None


def reach(who):
    addresses = {"email": f"{who}@shop.test", "push": f"token-{who}", "sms": f"+49{sum(who.encode())}{who[1:]}"}
    return {"addresses": addresses, "consents": {"email": True, "push": True, "sms": True}, "time_zone": "Europe/Berlin"}


def line(product, cart=None):
    found = {"product_id": product, "category": "shoes/boots", "quantity": 1, "price": "60.00", "currency": "EUR"}
    return found | ({"cart_id": cart} if cart else {})


def order(number, cart, product):
    return {"order_id": f"o-{number}", "cart_id": cart, "currency": "EUR", "total": "60.00", "products": [line(product)]}


def history():
    """The stages of one shop."""
    shop = Shop()
    customers = [f"c{n}" for n in range(CUSTOMERS)]
    first = [f"v{n}" for n in range(CUSTOMERS)]
    second = [f"w{n}" for n in range(CUSTOMERS)]

    def fill(visitors, product):
        for visitor in visitors:
            shop.event("product_added", line(product, f"k-{visitor}"), visitor=visitor)

    shop.stage()
    for customer in customers:
        shop.event("identified", reach(customer), customer)
    for visitor in first[::2]:
        shop.event("identified", reach(visitor), visitor=visitor)
    shop.stage()
    fill(first + second, "p1")
    for customer in customers[::4]:
        shop.event("product_added", line("p2", f"k-{customer}"), customer)
    shop.stage()
    for visitor in first + second:
        shop.event("product_viewed", line("p3"), visitor=visitor)
    # A purchase by the customer, who is not known yet to be the visitor with the cart.
    shop.stage()
    for n, customer in enumerate(customers):
        if n % 3 == 0:
            shop.event("order_completed", order(f"a{n}", f"k-v{n}", "p1"), customer)
    shop.stage()
    for customer, visitor in zip(customers, first):
        shop.logs_in(customer, visitor)
    # What still arrives for the visitor is the customer's.
    shop.stage()
    for n, visitor in enumerate(first):
        if n % 3 == 1:
            shop.event("order_completed", order(f"b{n}", f"k-{visitor}", "p1"), visitor=visitor)
        else:
            shop.event("product_added", line("p4", f"l-{visitor}"), visitor=visitor)
    shop.stage()
    for n in range(0, CUSTOMERS, 2):
        shop.logs_in(customers[n], second[n])
    # One device, several customers; the first of them end on four and belong to nobody.
    for turn in (1, 2, 3):
        shop.stage()
        for n in range(0, CUSTOMERS, 5):
            if turn < 3 or n % 10 == 0:
                shop.logs_in(customers[(n + turn) % CUSTOMERS], first[n])
        shop.stage()
        fill(first[::5] + first[1::5], f"q{turn}")
    shop.stage()
    for n in range(0, CUSTOMERS, 6):
        old, new = customers[n], customers[n + 1]
        if shop.event("merged", {"into": new}, old, people=(new,)):
            shop.into[old] = new
    # A merge of what was merged, and one that leads back.
    shop.stage()
    for n in range(0, CUSTOMERS, 12):
        old, new = customers[n + 1], customers[n + 2]
        if shop.event("merged", {"into": new}, old, people=(new,)):
            shop.into[old] = new
    shop.stage()
    fill(second[::2] + first[2::5], "p5")
    for n in range(0, CUSTOMERS, 6):
        shop.event("product_added", line("p6", f"m-{n}"), customers[n])
    # Nothing but an address.
    shop.stage()
    for n, customer in enumerate(customers):
        kind, channel, more = [
            ("unsubscribed", "email", {"scope": "channel"}), ("complained", "email", {}), ("bounced", "push", {"bounce": "hard"}),
            ("unsubscribed", "sms", {"scope": "channel"}),
        ][n % 4]  # fmt: skip
        if shop.owner(customer) not in shop.told:
            shop.told.add(shop.owner(customer))
            shop.line(kind, {"channel": channel, "address": reach(customer)["addresses"][channel], **more})
    shop.stage()
    for n, customer in enumerate(customers):
        if n % 4 == 0:
            shop.event("order_completed", order(f"c{n}", f"k-w{n}", "p1"), customer)
        else:
            shop.event("product_added", line("p7", f"n-{n}"), customer)
    return shop.stages


def through(scenario):
    """Is everything read, what was forwarded meanwhile included? Looked at three times: a hop may lie between two looks."""
    return all(not scenario.unread() for _ in range(3))


def test_a_login_hands_over_once_and_loses_nothing_whoever_is_killed(shared_broker, workspace):
    stages = history()
    directory = workspace / "identity"
    directory.mkdir()
    log = directory / "events.jsonl"
    generate.write(log, [event for stage in stages for event in stage])
    scenario = Scenario(shared_broker, directory, log, feed=False, workers=2, commit={"max_records": 10}, control_group="20%")
    draw, died = random.Random(5), 0
    with scenario.live() as live:
        for number, events in enumerate([*stages, []]):
            part = generate.write(directory / f"stage-{number}.jsonl", events)
            last = ["--until", scenario.UNTIL] if number == len(stages) else []
            apps.command("feed", "--config", scenario.app.config(), "--events", part, *last)
            for _ in range(KILLS):
                process = scenario.app.start("a", failpoints=f"{draw.choice(INSIDE)}={draw.randrange(6)}*off->return")
                wait.until(f"stage {number} is read or its reader dead", lambda: not process.alive() or through(scenario), 60, every=0.05)
                if process.alive():
                    process.kill()
                else:
                    died += 1
                    assert process.child.returncode == -6, process.text[-4000:]
            process = scenario.app.start("a")
            wait.until(lambda: f"stage {number} is read; unread: {scenario.unread()}", lambda: through(scenario), 60, every=0.05)
            process.stop()
        assert died > len(stages), f"only {died} died inside a batch"
        scenario.judge(live)
    merged = [v for v in checks.verdicts(scenario.app.directory / "replayed.jsonl") if v["reason"] == "profile_merged"]
    assert merged, "nothing of a visitor was retracted: this would prove nothing"
    with open(scenario.app.directory / "profiles.jsonl", encoding="utf-8") as source:
        profiles = {line["profile"]: line for line in map(json.loads, source)}
    assert sum(p["links"]["devices"] for p in profiles.values()) > CUSTOMERS, "hardly anybody logged in"
    # Aliases of visitors end after thirty days; those of merged customers stay.
    assert sum(bool(p["links"]["alias"]) for p in profiles.values()) >= CUSTOMERS // 6, "hardly anybody was merged"
    scenario.states_agree()
