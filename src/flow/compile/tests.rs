use super::*;
use crate::event::EventType;
use crate::flow::{Class, InstanceKey, Reenter, Relevance};
use crate::policy::ChannelMode;
use crate::value::Span;

fn channels() -> BTreeMap<Arc<str>, Channel> {
    let channel = |name: &str, reports: &[EventType]| {
        let name: Arc<str> = name.into();
        let channel = Channel {
            name: name.clone(),
            topic: name.clone(),
            mode: ChannelMode::Active,
            quiet_hours: None,
            needs_address: true,
            expose_address: false,
            expose: Vec::new(),
            reports: reports.to_vec(),
        };
        (name, channel)
    };
    let full = [
        EventType::Sent,
        EventType::Delivered,
        EventType::Opened,
        EventType::Clicked,
    ];
    [
        channel("email", &full),
        channel("push", &full),
        channel("sms", &[EventType::Sent, EventType::Delivered]),
    ]
    .into()
}

fn compiled(files: &[(&str, &str)]) -> Result<FlowSet, Vec<Problem>> {
    let channels = channels();
    let surroundings = Surroundings {
        channels: &channels,
        currency_digits: 2,
    };
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| FlowFile { name, text })
        .collect();
    compile(&files, &surroundings)
}

fn text(problems: &[Problem]) -> String {
    let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
    shown.join("\n\n") + "\n"
}

const SHIPPED: [(&str, &str); 3] = [
    (
        "abandoned_cart.yaml",
        include_str!("../../../deploy/flows/abandoned_cart.yaml"),
    ),
    (
        "welcome.yaml",
        include_str!("../../../deploy/flows/welcome.yaml"),
    ),
    (
        "post_purchase.yaml",
        include_str!("../../../deploy/flows/post_purchase.yaml"),
    ),
];

#[test]
fn the_shipped_flows_compile_to_what_they_say() {
    let set = compiled(&SHIPPED).unwrap_or_else(|problems| panic!("{}", text(&problems)));
    let cart = &set.current["abandoned_cart"];
    assert_eq!(cart.class, Class::Marketing);
    assert_eq!(cart.instance, InstanceKey::Cart);
    assert_eq!(cart.after, Span::from_hours(4));
    assert_eq!(&*cart.reason, "cart_abandoned");
    assert_eq!(cart.exits[0].relevant, Some(Relevance::Cart));
    assert_eq!(
        cart.reenter,
        Reenter::After {
            span: Span::from_days(14),
            per_customer: true
        }
    );
    let channels: Vec<_> = cart.steps.iter().map(|step| &*step.channel).collect();
    assert_eq!(channels, ["email", "push", "sms"]);
    assert_eq!(set.current["welcome"].reason, set.current["welcome"].name);
    assert_eq!(set.current["post_purchase"].class, Class::Service);
}

#[test]
fn the_kept_text_of_a_flow_compiles_to_the_same_version() {
    let channels = channels();
    let surroundings = Surroundings {
        channels: &channels,
        currency_digits: 2,
    };
    for flow in compiled(&SHIPPED).unwrap().current.values() {
        let again = compile_text(&flow.name, &flow.text, &surroundings).unwrap();
        assert_eq!(again.version, flow.version);
        assert_eq!(format!("{again:?}"), format!("{flow:?}"));
        assert_eq!(flow.version.len(), 16);
    }
}
