"""Seeded events of a simulated shop, in the wire format of JSON Lines: the same seed gives the same bytes on every machine.

    python -m harness.generate --events 100000 --customers 5000 --seed 7 > events.jsonl

80 % clicks, 14 % receipts, 5 % purchases, 1 % consent, customers drawn by a zipf law; sorted by time, each customer's `identified` first.
Times are unique, so that no order between two inputs is left to chance.
"""

import argparse
import bisect
import itertools
import json
import random
import sys
from datetime import datetime, timedelta, timezone

START = datetime(2026, 3, 1, tzinfo=timezone.utc)
CHANNELS = ("email", "push", "sms")
ZONES = ("Europe/Berlin", "Europe/Madrid", "Europe/London", "America/New_York", "Asia/Tokyo", "UTC")
CATEGORIES = ("shoes/sneakers", "shoes/boots", "coffee/beans", "coffee/capsules", "toys/wood", "garden/tools", "pets/food", "beauty/skin")
STREAM_OF = {
    "identified": "customers", "consent_changed": "customers", "signed_up": "customers",
    "merged": "customers", "product_viewed": "clickstream", "product_added": "clickstream", "product_removed": "clickstream", "cart_viewed": "clickstream",
    "page_viewed": "clickstream", "products_searched": "clickstream", "checkout_started": "clickstream", "cart_updated": "clickstream",
    "order_completed": "purchases", "order_cancelled": "purchases", "order_refunded": "purchases", "order_shipped": "purchases",
    "order_delivered": "purchases",
    "delivered": "deliveries", "opened": "deliveries", "clicked": "deliveries", "bounced": "deliveries", "unsubscribed": "deliveries",
    "complained": "deliveries", "sent": "deliveries",
}  # fmt: skip


def stamp(moment):
    """RFC 3339 with milliseconds, UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class Shop:
    """Draws one event after the other. `marker` is put into every field that says something of a customer (the canary test looks for it)."""

    def __init__(self, seed, customers, days=10.0, events=10_000, start=START, marker=""):
        self.random = random.Random(seed)
        self.customers = customers
        self.marker = marker
        self.now = start
        self.mean_gap = timedelta(days=days) / max(events, 1)
        weights = itertools.accumulate(1.0 / (rank**0.99) for rank in range(1, customers + 1))
        self.cumulative = list(weights)
        self.seen = set()
        self.carts = {}  # customer -> (cart id, lines)
        self.orders = {}  # customer -> latest orders, each (order id, lines)
        self.cart_numbers = itertools.count(1)
        self.order_numbers = itertools.count(1)
        self.event_numbers = itertools.count(1)

    def _customer(self):
        point = self.random.random() * self.cumulative[-1]
        return bisect.bisect_left(self.cumulative, point)

    def _tick(self):
        gap = self.random.expovariate(1.0) * self.mean_gap
        self.now += max(timedelta(milliseconds=1), timedelta(milliseconds=int(gap / timedelta(milliseconds=1))))

    def _event(self, kind, customer, properties, source="web"):
        self._tick()
        return {
            "event_id": f"g-{next(self.event_numbers)}{self.marker}",
            "type": kind,
            "event_time": stamp(self.now),
            "customer_id": self.id_of(customer),
            "source": source,
            "properties": properties,
        }

    def id_of(self, customer):
        return f"c-{customer}{self.marker}"

    def _address(self, customer, channel):
        name = f"{customer}{self.marker}"
        return {"email": f"{name}@shop.test", "push": f"token-{name}", "sms": f"+49151{customer:08d}{self.marker}"}[channel]

    def identify(self, customer):
        draw = self.random
        channels = [c for c, share in zip(CHANNELS, (0.95, 0.5, 0.4)) if draw.random() < share]
        return self._event(
            "identified",
            customer,
            {
                "addresses": {c: self._address(customer, c) for c in channels},
                "consents": {c: draw.random() < 0.9 for c in channels},
                "locale": draw.choice(("de", "es", "en")),
                "time_zone": draw.choice(ZONES),
                "traits": {"first_name": f"Name{customer}{self.marker}"},
            },
            source="crm",
        )

    def _product(self):
        number = int(self.random.paretovariate(0.9)) % 2000
        return {
            "product_id": f"p-{number}{self.marker}",
            "name": f"Product {number}{self.marker}",
            "category": CATEGORIES[number % len(CATEGORIES)],
            "brand": f"brand-{number % 40}",
            "quantity": self.random.choice((1, 1, 1, 2, 3)),
            "price": f"{5 + number % 190}.{number % 100:02d}",
            "currency": "EUR",
        }

    def _click(self, customer):
        draw = self.random.random()
        if draw < 0.62:
            return self._event("product_viewed", customer, self._product())
        if draw < 0.76:
            cart, lines = self.carts.setdefault(customer, (f"k-{next(self.cart_numbers)}{self.marker}", []))
            line = self._product()
            lines.append(line)
            return self._event("product_added", customer, {"cart_id": cart, **line})
        if draw < 0.80 and self.carts.get(customer, ("", []))[1]:
            cart, lines = self.carts[customer]
            line = lines.pop(self.random.randrange(len(lines)))
            return self._event("product_removed", customer, {"cart_id": cart, **line})
        if draw < 0.86 and customer in self.carts:
            return self._event("cart_viewed", customer, {"cart_id": self.carts[customer][0]})
        if draw < 0.90 and customer in self.carts:
            return self._event("checkout_started", customer, {"cart_id": self.carts[customer][0]})
        if draw < 0.95:
            return self._event("products_searched", customer, {"query": f"query {self.random.randrange(500)}{self.marker}"})
        return self._event("page_viewed", customer, {"url": f"https://shop.test/{self.random.randrange(300)}?q={self.marker}"})

    def _purchase(self, customer):
        draw = self.random.random()
        earlier = self.orders.get(customer)
        if earlier and draw < 0.24:
            order, lines = earlier[-1]
            if draw < 0.06:
                earlier.pop()
                return self._event("order_cancelled", customer, {"order_id": order}, source="shop")
            if draw < 0.12:
                line = lines[0]
                return self._event(
                    "order_refunded", customer, {"order_id": order, "refund_id": f"r-{order}", "total": line["price"], "currency": "EUR", "products": [line]}, source="shop"
                )
            kind = "order_shipped" if draw < 0.18 else "order_delivered"
            return self._event(kind, customer, {"order_id": order}, source="shop")
        cart, lines = self.carts.pop(customer, (None, []))
        if not lines:
            lines = [self._product() for _ in range(self.random.randint(1, 4))]
        order = f"o-{next(self.order_numbers)}{self.marker}"
        total = sum(int(line["price"].replace(".", "")) * line["quantity"] for line in lines)
        properties = {
            "order_id": order,
            "channel": self.random.choice(("online", "online", "online", "offline")),
            "currency": "EUR",
            "total": f"{total // 100}.{total % 100:02d}",
            "products": [{"line_id": f"{number}", **line} for number, line in enumerate(lines, 1)],
        }
        if cart and self.random.random() < 0.7:
            properties["cart_id"] = cart
        self.orders.setdefault(customer, []).append((order, properties["products"]))
        del self.orders[customer][:-5]
        return self._event("order_completed", customer, properties, source="shop")

    def _receipt(self, customer):
        draw = self.random.random()
        channel = self.random.choice(CHANNELS)
        properties = {"channel": channel, "address": self._address(customer, channel)}
        if draw < 0.25:
            kind = "sent"
        elif draw < 0.6:
            kind = "delivered"
        elif draw < 0.85:
            kind, properties["machine"] = "opened", self.random.random() < 0.3
        elif draw < 0.96:
            kind, properties["machine"] = "clicked", False
            properties["link"] = f"https://shop.test/{self.marker}"
        elif draw < 0.98:
            kind, properties["bounce"] = "bounced", self.random.choice(("hard", "soft"))
        else:
            kind, properties["scope"] = "unsubscribed", "channel"
        return self._event(kind, customer, properties, source="esp")

    def _consent(self, customer):
        channel = self.random.choice(CHANNELS)
        state = "granted" if self.random.random() < 0.7 else "denied"
        return self._event("consent_changed", customer, {"channel": channel, "list": "offers", "state": state}, source="crm")

    def events(self, count):
        """Yield `count` events (dicts), oldest first; about one in a hundred is sent twice, as real feeds do."""
        last = None
        while count > 0:
            if last is not None and self.random.random() < 0.01:
                yield last
                last, count = None, count - 1
                continue
            customer = self._customer()
            if customer not in self.seen:
                self.seen.add(customer)
                last = self.identify(customer)
            else:
                draw = self.random.random()
                if draw < 0.80:
                    last = self._click(customer)
                elif draw < 0.94:
                    last = self._receipt(customer)
                elif draw < 0.99:
                    last = self._purchase(customer)
                else:
                    last = self._consent(customer)
            yield last
            count -= 1


def line(event):
    """One event as its line of JSON, without the line feed."""
    return json.dumps(event, separators=(",", ":"))


def write(path, events):
    """Write events as JSON Lines."""
    with open(path, "w", encoding="utf-8") as out:
        for event in events:
            out.write(line(event) + "\n")
    return path


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--events", type=int, default=100_000)
    arguments.add_argument("--customers", type=int, default=5_000)
    arguments.add_argument("--days", type=float, default=10.0, help="how much of the shop's time they cover")
    arguments.add_argument("--seed", type=int, default=1)
    asked = arguments.parse_args()
    shop = Shop(asked.seed, asked.customers, asked.days, asked.events)
    for event in shop.events(asked.events):
        sys.stdout.write(line(event) + "\n")


if __name__ == "__main__":
    main()
