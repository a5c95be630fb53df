use proptest::prelude::*;

use super::*;
use crate::event::{Body, CartLine, Order, Product, SalesChannel};
use crate::profile::carts::Item;
use crate::profile::person::{Known, TraitEntry, TraitValue};
use crate::value::{Money, ProfileKey};

const NOW: Timestamp = Timestamp::from_millis(1_772_359_200_000);

fn customer() -> Profile {
    let mut profile = Profile::new(ProfileKey::customer("c1"));
    let known = |value: &str| {
        Some(Known {
            value: value.to_owned(),
            at: NOW,
        })
    };
    profile.person.locale = known("de-DE");
    profile.person.country = known("DE");
    let entry = |name: &str, value| TraitEntry {
        name: name.to_owned(),
        value,
        at: NOW,
    };
    profile.person.traits = vec![
        entry("size", TraitValue::Number(42_500)),
        entry("club", TraitValue::Bool(true)),
        entry("tier", TraitValue::Text("gold".to_owned())),
    ];
    profile
}

fn cart() -> Cart {
    let line = |product: &str, quantity, price| Item {
        product_id: product.to_owned(),
        quantity,
        price: Some(Money::from_minor(price)),
        ..Item::default()
    };
    Cart {
        lines: vec![line("p1", 2, 1_005), line("p2", 1, 0), line("p3", -1, 500)],
        ..Cart::default()
    }
}

fn event(kind: EventType, body: Body) -> Event {
    Event {
        id: "e1".to_owned(),
        kind,
        event_time: NOW,
        received_at: None,
        effective_time: NOW,
        customer_id: Some("c1".to_owned()),
        anonymous_id: None,
        source: "web".to_owned(),
        schema_version: 1,
        test: false,
        unconverted: false,
        body,
    }
}

fn order() -> Event {
    let product = Product {
        product_id: "p1".to_owned(),
        quantity: 3,
        ..Product::default()
    };
    let order = Order {
        order_id: "o1".to_owned(),
        cart_id: None,
        channel: SalesChannel::Offline,
        total: Some(Money::from_minor(30)),
        discount: None,
        coupon: None,
        recurring: false,
        seller: None,
        products: vec![product],
    };
    event(EventType::OrderCompleted, Body::Order(order))
}

fn removal() -> Event {
    let product = Product {
        product_id: "p1".to_owned(),
        category: Some("shoes/sneakers".to_owned()),
        quantity: 1,
        ..Product::default()
    };
    let line = CartLine {
        cart_id: None,
        product,
    };
    event(EventType::ProductRemoved, Body::CartLine(line))
}

fn compile(source: &str) -> Result<Condition, Vec<Fault>> {
    let setting = Setting {
        events: Some(EventType::ALL),
        about: About::ANY,
        currency_digits: 2,
    };
    Condition::compile(source, &setting)
}

fn holds(source: &str, event: Option<&Event>, cart: Option<&Cart>) -> bool {
    let scope = Scope {
        profile: &customer(),
        event,
        cart,
        product: None,
        policy: &Policy::default(),
        now: NOW,
    };
    compile(source)
        .unwrap_or_else(|faults| panic!("{source}: {faults:?}"))
        .holds(&scope)
}

#[test]
fn conditions_mean_what_they_say() {
    let cart = cart();
    let order = order();
    for (source, expected) in [
        // Money is decimal: 20.10 is neither more nor less than 20.1.
        ("cart.value == 20.1", true),
        ("cart.value >= 20.10 && cart.value <= 20.1", true),
        ("cart.value > 20.1 || cart.value < 20.1", false),
        ("order.total == 0.1 + 0.2", true),
        ("order.total * 3.0 == 0.9", true),
        ("cart.value - 0.1 == 20.0", true),
        ("-cart.value < 0.0", true),
        // Whole and decimal numbers mix.
        (
            "cart.value > 20 && cart.items == 3 && cart.products == 2",
            true,
        ),
        ("cart.value / cart.items == 6.7", true),
        ("order.total / 7 == 0.042857", true),
        (
            "cart.items / 2 == 1 && cart.items % 2 == 1 && -7 / 2 == -3",
            true,
        ),
        // Text.
        (
            "profile.locale.startsWith('de') && profile.locale.endsWith('DE')",
            true,
        ),
        (
            "profile.locale.contains('-') && size(profile.locale) == 5",
            true,
        ),
        ("size('größe') == 5 && 'größe'.size() == 5", true),
        ("profile.country in ['AT', 'DE', 'CH']", true),
        ("profile.country in ['FR']", false),
        ("'a' < 'b'", true),
        (
            "order.channel == 'offline' && event.type == 'order_completed'",
            true,
        ),
        ("cart.items in [1, 3.0]", true),
        // A choice, brackets, precedence.
        ("(profile.vip ? 10.0 : 20.0) < cart.value", true),
        ("true || false && false", true),
        ("(true || false) && false", false),
        // Nobody said that this customer is very important.
        ("profile.vip", false),
        ("!profile.vip && !profile.test", true),
        // Traits have the type that they turn out to have.
        (
            "profile.traits['size'] == 42.5 && profile.traits.size > 42",
            true,
        ),
        (
            "profile.traits.club && profile.traits['tier'] == 'gold'",
            true,
        ),
        ("profile.traits.tier == 3", false),
        ("profile.traits.tier != 3", true),
        ("profile.traits.tier > 3", false),
        ("profile.traits.tier", false),
        (
            "'tier' in profile.traits && !('shoe' in profile.traits)",
            true,
        ),
        (
            "has(profile.traits.tier) && !has(profile.traits.shoe)",
            true,
        ),
    ] {
        assert_eq!(
            holds(source, Some(&order), Some(&cart)),
            expected,
            "{source}"
        );
    }
}

#[test]
fn what_cannot_be_told_makes_its_part_missing_and_a_missing_whole_does_not_hold() {
    for source in [
        "cart.value >= 0.0",
        "!(cart.value >= 0.0)",
        "cart.value == cart.value",
        "cart.value != 5.0",
        "profile.time_zone == 'UTC'",
        "profile.time_zone != 'UTC'",
        "order.discount < 1.0",
        "order.coupon in ['X']",
        "profile.last_order_days > 30",
        "true && cart.items > 0",
        "false || cart.items > 0",
        "cart.items > 0 ? true : true",
        "9223372036854775807 + 1 > 0",
        "-(-9223372036854775807 - 1) > 0",
        "9223372036854775807 * 2 != 3",
        "1 / (profile.views - profile.views) == 1",
        "1.0 / (order.total - order.total) == 1.0",
        "1 % (profile.views - profile.views) == 1",
        "999999999999999.0 * 999999999999999.0 * 999999999999999.0 > 0.0",
    ] {
        assert!(!holds(source, Some(&order()), None), "{source}");
    }
    // A side that settles it does, whatever the other one is; asking first helps.
    for source in [
        "true || cart.items > 0",
        "cart.items > 0 || true",
        "!(false && cart.items > 0)",
        "!(cart.items > 0 && false)",
        "!has(cart.value)",
        "!has(order.coupon) || order.coupon == 'X'",
        "!has(profile.last_order_days) || profile.last_order_days > 30",
        "cart.items in [1] || order.total == 0.3",
    ] {
        assert!(holds(source, Some(&order()), None), "{source}");
    }
}

#[test]
fn between_events_what_was_said_of_the_event_is_not_asked_again() {
    let cart = cart();
    for (source, expected) in [
        ("order.total >= 100.0", true),
        ("!(order.total >= 100.0)", true),
        ("order.total >= 100.0 && cart.value >= 20.0", true),
        ("order.total >= 100.0 && cart.value >= 30.0", false),
        ("order.total >= 100.0 || cart.value >= 30.0", true),
        (
            "event.type == 'order_completed' ? cart.value >= 30.0 : false",
            true,
        ),
        ("order.total >= 1.0 && profile.time_zone == 'UTC'", false),
        ("order.total >= 1.0 || profile.time_zone == 'UTC'", true),
        ("cart.value >= 30.0", false),
    ] {
        assert_eq!(holds(source, None, Some(&cart)), expected, "{source}");
    }
    // An event of another type tells nothing of an order: that is missing, not unknown.
    assert!(!holds("order.total >= 1.0", Some(&removal()), Some(&cart)));
    assert!(holds(
        "product.category.startsWith('shoes/')",
        Some(&removal()),
        None
    ));
}

#[test]
fn fields_of_a_history_read_it_and_are_missing_before_there_is_one() {
    let mut profile = customer();
    let scope = |profile: &Profile, source: &str| {
        let scope = Scope {
            profile,
            event: None,
            cart: None,
            product: Some("p1"),
            policy: &Policy::default(),
            now: NOW,
        };
        compile(source)
            .unwrap_or_else(|faults| panic!("{source}: {faults:?}"))
            .holds(&scope)
    };
    for missing in [
        "has(profile.rfm_money)",
        "has(profile.discount_share)",
        "has(profile.order_interval_days)",
        "has(profile.winback_reason)",
        "has(supply.days_left)",
        "'churn' in profile.scores",
        "profile.one_time || profile.peak_only || profile.discount_only",
    ] {
        assert!(!scope(&profile, missing), "{missing}");
    }
    for days in [50, 40, 30, 20] {
        let line = Product {
            product_id: "p1".to_owned(),
            quantity: 2,
            ..Product::default()
        };
        let order = Order {
            order_id: format!("o{days}"),
            cart_id: None,
            channel: SalesChannel::Online,
            total: Some(Money::from_minor(3_000)),
            discount: Some(Money::from_minor(i64::from(days == 50))),
            coupon: None,
            recurring: false,
            seller: None,
            products: vec![line],
        };
        let at = NOW.minus(crate::value::Span::from_days(days));
        profile.orders.place(&order, EventType::OrderCompleted, at);
    }
    for holds in [
        "profile.rfm_recency == 5 && profile.rfm_frequency == 3 && profile.rfm_money == 2",
        "profile.discount_share == 0.25 && !profile.discount_only",
        "profile.order_interval_days == 10.0 && profile.recency_ratio == 2.0",
        "profile.rhythm == 'interval' && profile.expected_order_days == -10",
        "profile.cadence_broken && profile.winback_reason == 'cadence_broken'",
        "profile.usual_product == 'p1'",
        "supply.days_per_unit == 5.0 && supply.days_left == -10 && supply.purchases == 4",
        "profile.lifetime_days == 50 && profile.orders == 4",
    ] {
        assert!(scope(&profile, holds), "{holds}");
    }
}

#[test]
fn minor_units_follow_the_currency() {
    let cart = cart();
    for (digits, source) in [
        (0, "cart.value == 2010"),
        (2, "cart.value == 20.1"),
        (3, "cart.value == 2.01"),
    ] {
        let setting = Setting {
            events: None,
            about: About::ANY,
            currency_digits: digits,
        };
        let scope = Scope {
            profile: &customer(),
            event: None,
            cart: Some(&cart),
            product: None,
            policy: &Policy::default(),
            now: NOW,
        };
        assert!(Condition::compile(source, &setting).unwrap().holds(&scope));
    }
}

#[test]
fn a_condition_beyond_the_limits_is_refused() {
    let deep = |open: &str, close: &str, times: usize| {
        format!(
            "{}cart.items == 1{}",
            open.repeat(times),
            close.repeat(times)
        )
    };
    for source in [
        format!("cart.items == {}", "1 + ".repeat(300) + "1"),
        deep("(", ")", 100),
        deep("!(", ")", 60),
        deep("!", "", 200),
        format!("cart.items in [{}]", vec!["1"; 129].join(",")),
        format!("cart.items == {}1", "- ".repeat(100)),
        format!("{}true", "true ? true : ".repeat(60)),
        format!("cart.items{}", ".size()".repeat(80)),
        " ".repeat(1_025),
        String::new(),
    ] {
        assert!(compile(&source).is_err(), "{source}");
    }
    assert!(compile(&vec!["cart.items == 1"; 50].join(" && ")).is_ok());
}

/// Sources that mostly compile: CEL of every shape that conditions have, plus constants on which two interpreters can be compared.
fn source(depth: u32) -> BoxedStrategy<String> {
    let number = prop_oneof![
        (-5_i64..20).prop_map(|n| n.to_string()),
        Just("9223372036854775807".to_owned()),
    ];
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just("false".to_owned()),
        (number.clone(), comparison_sign(), number.clone())
            .prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
        (
            number.clone(),
            "[-+*/%]",
            number.clone(),
            comparison_sign(),
            number
        )
            .prop_map(|(a, op, b, sign, c)| format!("({a}) {op} ({b}) {sign} {c}")),
        ("[a-c]{0,3}", "[a-c]{0,2}", "startsWith|endsWith|contains")
            .prop_map(|(text, part, how)| format!("'{text}'.{how}('{part}')")),
        ("[a-c]{1,2}", "[a-c]{1,2}", comparison_sign())
            .prop_map(|(a, b, sign)| format!("'{a}' {sign} '{b}'")),
        (0_i64..5, prop::collection::vec(0_i64..5, 1..4))
            .prop_map(|(value, list)| format!("{value} in {list:?}")),
    ];
    leaf.prop_recursive(depth, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), "&&|\\|\\|", inner.clone())
                .prop_map(|(a, sign, b)| format!("({a}) {sign} ({b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
        ]
    })
    .boxed()
}

fn comparison_sign() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="])
}

proptest! {
    #[test]
    fn no_text_makes_the_compiler_or_the_evaluation_panic(source in ".{0,120}") {
        if let Ok(condition) = compile(&source) {
            let scope = Scope { profile: &customer(), event: None, cart: None, product: None, policy: &Policy::default(), now: NOW };
            prop_assert_eq!(condition.holds(&scope), condition.holds(&scope));
        }
    }

    #[test]
    fn no_pile_of_tokens_makes_the_compiler_or_the_evaluation_panic(
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "cart", ".", "value", "items", "order", "total", "profile", "traits", "[", "]", "(", ")", "{", "}", "'x'", "\"", "`", "1",
                "1.5", "0", "-", "+", "*", "/", "%", "&&", "||", "!", "==", "<", "?", ":", "in", "has", "size", ",", "true", "null", "b'y'", "1u",
                "exists", "x", "\\", "é", "\n",
            ]),
            0..40,
        )
    ) {
        let source = tokens.join(" ");
        if let Ok(condition) = compile(&source) {
            let scope = Scope { profile: &customer(), event: Some(&order()), cart: Some(&cart()), product: None, policy: &Policy::default(), now: NOW };
            prop_assert_eq!(condition.holds(&scope), condition.holds(&scope));
        }
    }

    /// The reference is the `cel` crate's interpreter; an error there is a condition that does not hold here.
    #[test]
    fn constant_conditions_agree_with_the_reference_interpreter(source in source(4)) {
        let ours = compile(&source);
        // A literal zero as divisor is refused here and an error there.
        if let Ok(condition) = ours {
            let scope = Scope { profile: &customer(), event: None, cart: None, product: None, policy: &Policy::default(), now: NOW };
            let program = cel::Program::compile(&source).unwrap();
            let reference = program.execute(&cel::Context::default());
            let reference = matches!(reference, Ok(cel::Value::Bool(true)));
            prop_assert_eq!(condition.holds(&scope), reference, "{}", source);
        }
    }
}
