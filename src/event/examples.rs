//! Tests of decoding: one example per event type, refusals with code and path, real data.

use std::io::{BufRead, BufReader};

use super::*;

/// One record of each type of product.md §2, own fields under `properties`.
pub(super) const EXAMPLES: &[(EventType, &str)] = &[
    (EventType::PageViewed, r#"{"page":"/sale"}"#),
    (
        EventType::ProductViewed,
        r#"{"product_id":"p-5","sku":"p-5-42","group_id":"g","name":"Shoe \"One\"","category":"shoes/sneakers","brand":"b","price":"59.90"}"#,
    ),
    (EventType::ProductListViewed, r#"{"category":"shoes"}"#),
    (EventType::ProductsSearched, r#"{"query":"red shoes"}"#),
    (
        EventType::ProductAdded,
        r#"{"cart_id":"k-1","product_id":"p-5","category":"shoes/sneakers","quantity":1,"price":"59.90","currency":"EUR"}"#,
    ),
    (
        EventType::ProductRemoved,
        r#"{"cart_id":"k-1","product_id":"p-5","quantity":2}"#,
    ),
    (EventType::CartViewed, r#"{"cart_id":"k-1"}"#),
    (
        EventType::CartUpdated,
        r#"{"cart_id":"k-1","products":[{"product_id":"p-1","quantity":2,"price":"1.50"},{"product_id":"p-2","price":3}]}"#,
    ),
    (
        EventType::CheckoutStarted,
        r#"{"cart_id":"k-1","order_id":"o-1","products":[]}"#,
    ),
    (EventType::CheckoutStepCompleted, r#"{"step":"payment"}"#),
    (
        EventType::CouponApplied,
        r#"{"cart_id":"k-1","coupon":"TEN"}"#,
    ),
    (EventType::ProductAddedToWishlist, r#"{"product_id":"p-5"}"#),
    (
        EventType::ProductReviewed,
        r#"{"product_id":"p-5","rating":80}"#,
    ),
    (
        EventType::OrderCompleted,
        r#"{"order_id":"o-1","cart_id":"k-1","channel":"offline","currency":"USD","total":"100.00","discount":"10","coupon":"TEN","recurring":true,"seller":"s-1","products":[{"product_id":"p-1","line_id":"l-1","quantity":3,"price":"30.00"}]}"#,
    ),
    (
        EventType::OrderUpdated,
        r#"{"order_id":"o-1","products":[{"product_id":"p-1","line_id":"l-1","quantity":2,"price":"30.00"}]}"#,
    ),
    (
        EventType::OrderCancelled,
        r#"{"order_id":"o-1","reason":"out_of_stock"}"#,
    ),
    (
        EventType::OrderRefunded,
        r#"{"refund_id":"r-1","order_id":"o-1","total":"30.00","products":[{"product_id":"p-1","line_id":"l-1","quantity":1,"price":"30.00"}]}"#,
    ),
    (EventType::OrderShipped, r#"{"order_id":"o-1"}"#),
    (EventType::OrderReady, r#"{"order_id":"o-1"}"#),
    (EventType::OrderDelivered, r#"{"order_id":"o-1"}"#),
    (
        EventType::Accepted,
        r#"{"channel":"email","decision_id":"00112233445566778899aabbccddeeff"}"#,
    ),
    (
        EventType::Sent,
        r#"{"channel":"email","decision_id":"00112233445566778899aabbccddeeff"}"#,
    ),
    (
        EventType::Delivered,
        r#"{"channel":"sms","address":"+4912345"}"#,
    ),
    (
        EventType::Opened,
        r#"{"channel":"email","decision_id":"d","machine":true}"#,
    ),
    (
        EventType::Clicked,
        r#"{"channel":"email","decision_id":"d","link":"https://shop.test/","machine":false}"#,
    ),
    (
        EventType::Bounced,
        r#"{"channel":"email","address":"x@y.test","bounce":"soft","reason":"4.2.2"}"#,
    ),
    (
        EventType::Deferred,
        r#"{"channel":"email","decision_id":"d"}"#,
    ),
    (
        EventType::Dropped,
        r#"{"channel":"email","decision_id":"d"}"#,
    ),
    (
        EventType::Failed,
        r#"{"channel":"email","decision_id":"d"}"#,
    ),
    (
        EventType::Expired,
        r#"{"channel":"email","decision_id":"d"}"#,
    ),
    (
        EventType::Cancelled,
        r#"{"channel":"email","decision_id":"d"}"#,
    ),
    (
        EventType::Complained,
        r#"{"channel":"email","address":"x@y.test"}"#,
    ),
    (
        EventType::Unsubscribed,
        r#"{"channel":"email","scope":"list","list":"offers"}"#,
    ),
    (
        EventType::Replied,
        r#"{"channel":"sms","address":"+4912345"}"#,
    ),
    (
        EventType::Acted,
        r#"{"channel":"push","decision_id":"d","action":"keep","cart_id":"k-1","order_id":"o-1"}"#,
    ),
    (
        EventType::SignedUp,
        r#"{"addresses":{"email":"x@y.test"},"consents":{"email":"pending"},"locale":"de"}"#,
    ),
    (
        EventType::Identified,
        r#"{"addresses":{"email":"x@y.test","push":["t1","t2"],"sms":[]},"consents":{"email":{"news":true,"offers":"pending"},"sms":false},"locale":"de-AT","time_zone":"Europe/Vienna","country":"at","vip":true,"traits":{"size":42.5,"name":"Ann","member":true}}"#,
    ),
    (
        EventType::ConsentChanged,
        r#"{"channel":"email","list":"offers","state":"denied"}"#,
    ),
    (EventType::TicketOpened, r#"{"ticket_id":"t-1"}"#),
    (EventType::TicketResolved, r#"{"ticket_id":"t-1"}"#),
    (EventType::FeedbackGiven, r#"{"score":9}"#),
    (
        EventType::ScoreUpdated,
        r#"{"model":"churn","horizon":"30d","value":0.125,"valid_until":"2026-04-01T00:00:00Z"}"#,
    ),
    (EventType::Merged, r#"{"into":"c-8"}"#),
    (EventType::Erased, "{}"),
    (
        EventType::SendRequested,
        r#"{"request_id":"q-1","campaign":"spring","channels":["email","push"],"template":"t","class":"marketing","list":"news","offer":{"id":"x","discount":true},"expires_at":"2026-04-01T00:00:00Z","context":{"b":[1,2.5],"a":"x"}}"#,
    ),
];

pub(super) fn rules() -> DecodeRules {
    DecodeRules {
        currencies: Currencies::new("EUR", [("USD".to_owned(), Rate::parse("0.85").unwrap())]),
        ..DecodeRules::of_shop("EUR")
    }
}

pub(super) fn record(kind: &str, properties: &str) -> String {
    format!(
        r#"{{"event_id":"e-1","type":"{kind}","event_time":"2026-03-01T10:00:00Z","customer_id":"c-7","anonymous_id":"b-93","source":"web","properties":{properties}}}"#
    )
}

/// Decodes a text whose record was appended at 2026-03-01T12:00:00Z.
fn decode(text: &str) -> Result<Event, DecodeError> {
    let rules = rules();
    let context = DecodeContext {
        rules: &rules,
        record_timestamp: Timestamp::parse("2026-03-01T12:00:00Z"),
    };
    json::decode(text.as_bytes(), &context)
}

fn refusal(text: &str) -> (&'static str, String) {
    let error = decode(text).unwrap_err();
    (error.code(), error.path().to_owned())
}

#[test]
fn every_event_type_decodes_nested_and_flat_and_in_segments_spelling() {
    let kinds: Vec<EventType> = EXAMPLES.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, EventType::ALL, "one example per type, in order");
    for (kind, properties) in EXAMPLES {
        let nested = decode(&record(kind.name(), properties)).unwrap();
        assert_eq!(nested.kind, *kind);
        let spaced = kind.name().replace('_', " ").to_uppercase();
        assert_eq!(decode(&record(&spaced, properties)).unwrap(), nested);
        let own = properties.trim_start_matches('{').trim_end_matches('}');
        // `}` of inner objects was trimmed as well: close what is open.
        let open = own.matches('{').count() - own.matches('}').count();
        let own = format!("{own}{}", "}".repeat(open));
        let comma = if own.is_empty() { "" } else { "," };
        let flat = record(kind.name(), "null")
            .replace(r#","properties":null}"#, &format!("{comma}{own}}}"));
        assert_eq!(decode(&flat).unwrap(), nested, "{flat}");
    }
}

#[test]
fn an_order_is_read_in_the_shops_currency() {
    let (_, properties) = EXAMPLES[13];
    let event = decode(&record("ecommerce.order_placed", properties)).unwrap();
    assert!(!event.unconverted);
    let Body::Order(order) = event.body else {
        panic!("an order")
    };
    assert_eq!(order.total, Some(Money::from_minor(8500)));
    assert_eq!(order.discount, Some(Money::from_minor(850)));
    assert_eq!(order.channel, SalesChannel::Offline);
    assert_eq!(
        (order.recurring, order.seller.as_deref()),
        (true, Some("s-1"))
    );
    assert_eq!(order.products[0].price, Some(Money::from_minor(2550)));
    assert_eq!(order.products[0].quantity, 3);
    let nameless = decode(&record(
        "order_completed",
        r#"{"total":1,"currency":"CHF"}"#,
    ))
    .unwrap();
    assert!(nameless.unconverted);
    let Body::Order(order) = nameless.body else {
        panic!("an order")
    };
    assert_eq!((order.order_id.as_str(), order.total), ("e-1", None));
}

#[test]
fn a_person_is_read_in_order_of_names() {
    let event = decode(&record("identified", EXAMPLES[36].1)).unwrap();
    let text = |text: &str| text.to_owned();
    assert_eq!(
        event.body,
        Body::Identity(Identity {
            addresses: vec![
                (text("email"), vec![text("x@y.test")]),
                (text("push"), vec![text("t1"), text("t2")]),
                (text("sms"), vec![]),
            ],
            consents: vec![
                (text("email"), Some(text("news")), Consent::Granted),
                (text("email"), Some(text("offers")), Consent::Pending),
                (text("sms"), None, Consent::Denied),
            ],
            locale: Some(text("de-AT")),
            time_zone: Some(text("Europe/Vienna")),
            country: Some(text("AT")),
            vip: Some(true),
            traits: vec![
                (text("member"), Trait::Bool(true)),
                (text("name"), Trait::Text(text("Ann"))),
                (text("size"), Trait::Number(42_500)),
            ],
        })
    );
}

#[test]
fn the_effective_time_is_the_least_and_times_come_in_three_spellings() {
    let at = |text: &str| Timestamp::parse(text).unwrap();
    let event = |time: &str| {
        decode(&format!(
            r#"{{"type":"page_viewed","event_id":7,"event_time":{time},"received_at":"2026-03-01T11:00:00Z"}}"#
        ))
        .unwrap()
    };
    let fast = event(r#""2026-03-02T10:00:00+01:00""#);
    assert_eq!(fast.event_time, at("2026-03-02T09:00:00Z"));
    assert_eq!(fast.effective_time, at("2026-03-01T11:00:00Z"));
    assert_eq!(fast.id, "7");
    for time in ["1772359200000", r#""1772359200000""#, "1772359200000.0"] {
        assert_eq!(
            event(time).effective_time,
            at("2026-03-01T10:00:00Z"),
            "{time}"
        );
    }
}

#[test]
fn ids_that_mean_nobody_are_absent_and_numbers_are_ids() {
    let event = |customer: &str, anonymous: &str| {
        decode(&format!(
            r#"{{"type":"page_viewed","event_time":"2026-03-01T10:00:00Z","customer_id":{customer},"anonymous_id":{anonymous}}}"#
        ))
        .unwrap()
    };
    for nobody in ["0", r#""""#, r#""guest""#, "null", r#""null""#] {
        assert_eq!(event(nobody, nobody).profile_key(), None, "{nobody}");
    }
    let known = event("541312140", r#""b-1""#);
    assert_eq!(known.profile_key(), Some(ProfileKey::customer("541312140")));
    let huge = event("18446744073709551615", "null");
    assert_eq!(huge.customer_id.as_deref(), Some("18446744073709551615"));
    assert_eq!(known.id.len(), 32, "named by its bytes");
    assert_eq!(event("541312140", r#""b-1""#).id, known.id);
    assert_ne!(event("541312140", r#""b-2""#).id, known.id);

    let of_one = (0, 1);
    assert!(check_key(&known, Some(b"541312140"), of_one).is_ok());
    assert!(check_key(&event("0", r#""b-1""#), Some(b"b-1"), of_one).is_ok());
    assert!(check_key(&event("0", "0"), None, of_one).is_ok());
    for key in [None, Some(&b"b-1"[..])] {
        let error = check_key(&known, key, of_one).unwrap_err();
        assert_eq!((error.code(), error.stage()), ("wrong_key", Stage::Key));
    }
    // Java puts this key into one of eight; anybody else's arithmetic mostly into another.
    let home = crate::partitioner::partition(b"541312140", 8);
    for partition in 0..8 {
        let checked = check_key(&known, Some(b"541312140"), (partition, 8));
        let code = checked.map_err(|error| error.code());
        assert_eq!(
            code,
            if partition == home {
                Ok(())
            } else {
                Err("wrong_partition")
            }
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_refusal_has_its_code_and_path() {
    let long = "x".repeat(20_000);
    let many = vec!["{\"product_id\":1}"; 5_001].join(",");
    let deep = r#"{"a":"#.repeat(2_000);
    for (text, code, path) in [
        (String::new(), "malformed", ""),
        ("[1]".into(), "wrong_type", ""),
        ("null".into(), "wrong_type", ""),
        (record("page_viewed", "{}") + "x", "malformed", ""),
        (
            record("page_viewed", &format!(r#"{{"context":{deep}"#)),
            "malformed",
            "",
        ),
        (record("page_viewed", r#"{"page":NaN}"#), "malformed", ""),
        (record("page_viewed", "7"), "wrong_type", "properties"),
        (record("product_teleported", "{}"), "unknown_type", "type"),
        (r#"{"event_time":1772359200000}"#.into(), "missing", "type"),
        (r#"{"type":"page_viewed"}"#.into(), "missing", "event_time"),
        (
            r#"{"type":"page_viewed","event_time":"yesterday"}"#.into(),
            "bad_time",
            "event_time",
        ),
        (
            r#"{"type":"page_viewed","event_time":"1989-12-31T23:59:59Z"}"#.into(),
            "bad_time",
            "event_time",
        ),
        (
            r#"{"type":"page_viewed","event_time":"2026-03-02T12:00:01Z"}"#.into(),
            "bad_time",
            "event_time",
        ),
        (
            r#"{"type":"page_viewed","event_time":1772359200000,"received_at":1}"#.into(),
            "bad_time",
            "received_at",
        ),
        (
            r#"{"type":"page_viewed","event_time":{}}"#.into(),
            "wrong_type",
            "event_time",
        ),
        (
            record("product_viewed", r#"{"product_id":1,"price":"NaN"}"#),
            "bad_money",
            "price",
        ),
        (
            record("product_viewed", r#"{"product_id":1,"price":1e300}"#),
            "bad_money",
            "price",
        ),
        (
            record("product_viewed", r#"{"product_id":1,"price":[]}"#),
            "wrong_type",
            "price",
        ),
        (
            record("product_added", r#"{"cart_id":"k"}"#),
            "missing",
            "product_id",
        ),
        (
            record("product_added", r#"{"product_id":1,"quantity":-1}"#),
            "bad_number",
            "quantity",
        ),
        (record("cart_updated", "{}"), "missing", "products"),
        (
            record(
                "cart_updated",
                r#"{"products":[{"product_id":1},{"price":"1"}]}"#,
            ),
            "missing",
            "products[1].product_id",
        ),
        (
            record("cart_updated", r#"{"products":[{"product_id":1},7]}"#),
            "wrong_type",
            "products[1]",
        ),
        (
            record(
                "cart_updated",
                r#"{"products":[{"product_id":1,"price":"a"}]}"#,
            ),
            "bad_money",
            "products[0].price",
        ),
        (
            record("cart_updated", &format!(r#"{{"products":[{many}]}}"#)),
            "too_many",
            "products[5000]",
        ),
        (
            record("page_viewed", &format!(r#"{{"page":"{long}"}}"#)),
            "too_long",
            "page",
        ),
        (
            record(
                "product_viewed",
                &format!(r#"{{"product_id":"{}"}}"#, &long[..600]),
            ),
            "too_long",
            "product_id",
        ),
        (
            record("order_completed", r#"{"channel":"moon"}"#),
            "unknown_word",
            "channel",
        ),
        (record("order_shipped", "{}"), "missing", "order_id"),
        (
            record("bounced", r#"{"channel":"email","bounce":"loud"}"#),
            "unknown_word",
            "bounce",
        ),
        (record("sent", "{}"), "missing", "channel"),
        (
            record("unsubscribed", r#"{"channel":"email","scope":"list"}"#),
            "missing",
            "list",
        ),
        (
            record("identified", r#"{"time_zone":"Europe/Atlantis"}"#),
            "unknown_zone",
            "time_zone",
        ),
        (
            record("identified", r#"{"consents":{"email":"maybe"}}"#),
            "unknown_word",
            "consents",
        ),
        (
            record("identified", r#"{"addresses":{"email":{"x":1}}}"#),
            "wrong_type",
            "addresses",
        ),
        (
            record("consent_changed", r#"{"channel":"email"}"#),
            "missing",
            "state",
        ),
        (
            record("feedback_given", r#"{"score":11}"#),
            "bad_number",
            "score",
        ),
        (
            record(
                "send_requested",
                r#"{"request_id":1,"template":"t","class":"marketing"}"#,
            ),
            "missing",
            "channels",
        ),
        (
            record(
                "send_requested",
                r#"{"request_id":1,"channels":"email","template":"t","class":"loud"}"#,
            ),
            "unknown_word",
            "class",
        ),
    ] {
        assert_eq!(refusal(&text), (code, path.to_owned()), "{:.200}", text);
    }
    let big = record(
        "page_viewed",
        &format!(r#"{{"page":"{}"}}"#, "x".repeat(1024 * 1024)),
    );
    assert_eq!(refusal(&big).0, "oversize");
}

#[test]
fn an_error_says_where_and_never_what() {
    let marker = "canary-4711";
    for text in [
        record(
            "product_viewed",
            r#"{"product_id":1,"price":"canary-4711"}"#,
        ),
        record(
            "identified",
            r#"{"consents":{"canary-4711":"canary-4711"}}"#,
        ),
        record("identified", r#"{"addresses":"canary-4711"}"#),
        record("canary-4711", "{}"),
        marker.to_owned(),
    ] {
        let error = decode(&text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(marker), "{error:?}");
    }
}

#[test]
fn the_sample_data_decodes_to_the_last_line_and_cent() {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/");
    let (mut orders, mut refunds, mut nobody) = (0, 0, 0);
    for (file, currency) in [("rees46_a", "USD"), ("uci_orders_a", "GBP")] {
        let Ok(file) = std::fs::File::open(format!("{data}{file}.jsonl.gz")) else {
            continue;
        };
        let rules = DecodeRules::of_shop(currency);
        let context = DecodeContext {
            rules: &rules,
            record_timestamp: None,
        };
        let (mut sum, mut raw) = (0, 0);
        for line in BufReader::new(flate2::read::GzDecoder::new(file)).lines() {
            let line = line.unwrap();
            let event = json::decode(line.as_bytes(), &context).unwrap();
            if let Body::Order(Order { total, .. }) | Body::Refund(Refund { total, .. }) =
                &event.body
            {
                sum += total.unwrap().minor();
            }
            let tree: serde_json::Value = serde_json::from_str(&line).unwrap();
            if let Some(total) = tree["properties"]["total"].as_str() {
                let (whole, cents) = total.split_once('.').unwrap();
                raw += whole.parse::<i64>().unwrap() * 100 + cents.parse::<i64>().unwrap();
            }
            if currency == "GBP" {
                let known = event.profile_key().is_some();
                nobody += i32::from(!known);
                orders += i32::from(known && event.kind == EventType::OrderCompleted);
                refunds += i32::from(known && event.kind == EventType::OrderRefunded);
            }
        }
        assert_eq!(sum, raw, "{currency}");
    }
    if nobody > 0 {
        assert_eq!((orders, refunds, nobody), (9_051, 1_828, 1_178));
    }
}
