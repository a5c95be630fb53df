//! CK-1 with the real worker: what falls due while we are down, or while an input is unread, never goes out on old news.

use std::sync::Arc;

use serde_json::json;
use tidegate::task::fold::ClockKind;

use crate::broker::SharedBroker;
use crate::shop::{self, event, identified, put};
use crate::world::World;

const HOUR: i64 = 3_600_000;
/// 2026-03-03T10:00:00+01:00, a Tuesday.
const TEN: i64 = 1_772_528_400_000;

struct Shop {
    world: World,
}

impl Shop {
    /// Open since eight, one reachable customer.
    fn open() -> Self {
        Self::of(1)
    }

    /// In so many partitions.
    fn of(partitions: i32) -> Self {
        let broker = SharedBroker::new(partitions, TEN - 2 * HOUR);
        identified(&broker, TEN - 2 * HOUR, "c1");
        let plan = Arc::new(shop::plan(ClockKind::Live, partitions));
        let mut world = World::new(1, broker, plan, shop::outbound_plan(), 1);
        world.start(0);
        Self { world }
    }

    fn put(&self, topic: &str, time: i64, id: &str, kind: &str, properties: serde_json::Value) {
        put(
            &self.world.broker,
            topic,
            time,
            "c1",
            &event(id, kind, time, "c1", properties),
        );
    }

    fn cart(&self, time: i64) {
        let line = json!({"cart_id": "k", "product_id": "p1", "quantity": 1, "price": "50.00"});
        self.put("clickstream", time, "cart", "product_added", line);
    }

    fn order(&self, time: i64) {
        let products = json!([{"product_id": "p1", "quantity": 1, "price": "50.00"}]);
        self.put(
            "purchases",
            time,
            "order",
            "order_completed",
            json!({"order_id": "o1", "products": products}),
        );
    }

    /// Runs until the wall shows `time`, a pass every so often.
    fn run_until(&mut self, time: i64) {
        loop {
            for _ in 0..3 {
                self.world.pass(0);
            }
            let left = time - self.world.broker.lock().now;
            if left <= 0 {
                return;
            }
            self.world.broker.lock().pass_time(left.min(MINUTE));
        }
    }

    /// Nobody is there until the wall shows `time`.
    fn down_until(&mut self, time: i64) {
        self.world.stop(0);
        let now = self.world.broker.lock().now;
        self.world.broker.lock().pass_time(time - now);
        self.world.start(0);
    }

    /// Kinds of what a channel got about the cart flow, with the time of the decision.
    fn sent(&self, channel: &str) -> Vec<(String, String)> {
        self.world
            .visible(channel)
            .into_iter()
            .map(|(_, _, value)| serde_json::from_slice::<serde_json::Value>(&value).unwrap())
            .filter(|decision| {
                decision["kind"] == "trigger" && decision["flow"] == "abandoned_cart"
            })
            .map(|decision| {
                (
                    decision["kind"].to_string(),
                    decision["decided_at"].as_str().unwrap().to_owned(),
                )
            })
            .collect()
    }

    fn sent_anywhere(&self) -> usize {
        ["email", "push", "sms"]
            .iter()
            .map(|channel| self.sent(channel).len())
            .sum()
    }
}

#[test]
fn without_an_outage_the_reminder_leaves_after_four_hours() {
    let mut shop = Shop::open();
    shop.run_until(TEN);
    shop.cart(TEN);
    shop.run_until(TEN + 4 * HOUR - 1);
    assert_eq!(shop.sent_anywhere(), 0);
    shop.run_until(TEN + 5 * HOUR);
    assert_eq!(shop.sent("email").len(), 1);
}

#[test]
fn a_cart_at_ten_an_outage_an_order_at_eleven_and_a_start_at_three_send_no_reminder() {
    let mut shop = Shop::open();
    shop.run_until(TEN);
    shop.cart(TEN);
    shop.run_until(TEN + HOUR / 12);
    shop.order(TEN + HOUR);
    shop.down_until(TEN + 5 * HOUR);
    shop.run_until(TEN + 8 * HOUR);
    assert_eq!(shop.sent_anywhere(), 0);
}

const MINUTE: i64 = 60_000;

#[test]
fn an_order_that_cannot_be_read_yet_holds_the_reminder_back_and_then_ends_it() {
    let mut shop = Shop::open();
    shop.run_until(TEN);
    shop.cart(TEN);
    shop.run_until(TEN + 4 * HOUR - 2 * MINUTE);
    shop.world.broker.lock().unreadable = Some(("purchases".to_owned(), None));
    shop.order(TEN + 4 * HOUR - 2 * MINUTE);
    shop.run_until(TEN + 4 * HOUR + 5 * MINUTE);
    assert_eq!(
        shop.sent_anywhere(),
        0,
        "handed over while an order was unread"
    );
    shop.world.broker.lock().unreadable = None;
    shop.run_until(TEN + 8 * HOUR);
    assert_eq!(shop.sent_anywhere(), 0);
}

#[test]
fn an_order_that_another_task_has_yet_to_forward_holds_the_reminder_back_and_then_ends_it() {
    let mut shop = Shop::of(3);
    let of = |id: &str| tidegate::partitioner::partition(id.as_bytes(), 3);
    let visitor = (0..).map(|n| format!("v{n}")).find(|id| of(id) != of("c1"));
    let visitor = visitor.unwrap();
    shop.run_until(TEN - HOUR);
    let put = |shop: &Shop, topic: &str, time: i64, mut event: serde_json::Value| {
        event["anonymous_id"] = visitor.as_str().into();
        let key = event["customer_id"].as_str().unwrap_or(&visitor).to_owned();
        put(&shop.world.broker, topic, time, &key, &event);
    };
    put(
        &shop,
        "clickstream",
        TEN - HOUR,
        event("login", "page_viewed", TEN - HOUR, "c1", json!({})),
    );
    shop.run_until(TEN);
    shop.cart(TEN);
    let due = TEN + 4 * HOUR;
    shop.run_until(due - 2 * MINUTE);
    shop.world.broker.lock().unreadable = Some(("purchases".to_owned(), Some(of(&visitor))));
    let products = json!([{"product_id": "p1", "quantity": 1, "price": "50.00"}]);
    let mut order = event(
        "order",
        "order_completed",
        due - 2 * MINUTE,
        "c1",
        json!({"order_id": "o1", "products": products}),
    );
    order.as_object_mut().unwrap().remove("customer_id");
    put(&shop, "purchases", due - 2 * MINUTE, order);
    shop.run_until(due + 5 * MINUTE);
    assert_eq!(
        shop.sent_anywhere(),
        0,
        "handed over while an order was on its way"
    );
    shop.world.broker.lock().unreadable = None;
    shop.run_until(TEN + 8 * HOUR);
    assert_eq!(shop.sent_anywhere(), 0);
}

#[test]
fn an_input_that_stays_stuck_holds_contacts_no_longer_than_max_hold() {
    let mut shop = Shop::open();
    shop.run_until(TEN);
    shop.cart(TEN);
    shop.run_until(TEN + 4 * HOUR - 2 * MINUTE);
    shop.world.broker.lock().unreadable = Some(("deliveries".to_owned(), None));
    shop.put(
        "deliveries",
        TEN + 4 * HOUR - 2 * MINUTE,
        "late",
        "opened",
        json!({"channel": "email"}),
    );
    shop.run_until(TEN + 4 * HOUR + 5 * MINUTE);
    assert_eq!(shop.sent_anywhere(), 0);
    shop.run_until(TEN + 4 * HOUR + 20 * MINUTE);
    assert_eq!(shop.sent("email").len(), 1);
}

#[test]
fn after_thirty_six_hours_down_there_is_one_contact_at_wall_time_and_no_cascade_in_fast_motion() {
    let mut shop = Shop::open();
    shop.run_until(TEN);
    shop.cart(TEN);
    shop.run_until(TEN + HOUR);
    // Ten in the evening of the next day: quiet hours; the contact waits for the morning.
    shop.down_until(TEN + 36 * HOUR);
    shop.run_until(TEN + 37 * HOUR);
    assert!(shop.sent_anywhere() <= 1, "a cascade in fast motion");
    shop.run_until(TEN + 49 * HOUR);
    assert_eq!(shop.sent("email").len(), 1);
    assert_eq!(
        shop.sent_anywhere(),
        1,
        "the next step waits for its own time"
    );
}
