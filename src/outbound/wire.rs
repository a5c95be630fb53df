//! The names of product.md §3, in their order; what is not there is left out.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::decision::{
    Cause, Check, DecisionId, Message, SCHEMA_VERSION, Scope, Suppress, Trigger, Verdict,
};
use crate::event::EventType;
use crate::policy::Channel;
use crate::profile::Block;
use crate::value::{ProfileKey, Timestamp};

/// Something that is written as its text.
struct Shown<T>(T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A decision as its channel gets it, or a verdict as the log keeps it: `kind` or `verdict` tells which.
#[derive(Serialize)]
pub(super) struct VerdictWire<'a> {
    schema_version: u32,
    decision_id: Shown<DecisionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
    profile: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anonymous_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locale: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<&'a str>,
    reason: &'a str,
    decided_at: Timestamp,
    cause: CauseWire<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    list: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offer: Option<OfferWire<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    send_by: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Vec<AddressWire<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<BTreeMap<&'a str, &'a Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<ScopeWire<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    releases: Option<Shown<DecisionId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancels: Option<Shown<DecisionId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Shown<DecisionId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_total: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contaminated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<CheckWire<'a>>>,
}

#[derive(Serialize)]
struct CauseWire<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    event_id: &'a str,
    /// Of the log alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "type")]
    kind: Option<&'static str>,
}

impl<'a> CauseWire<'a> {
    fn new(cause: &'a Cause) -> Self {
        let origin = &cause.origin;
        Self {
            topic: &origin.topic,
            partition: origin.partition,
            offset: origin.offset,
            event_id: &cause.event_id,
            at: None,
            kind: None,
        }
    }
}

#[derive(Serialize)]
struct OfferWire<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct AddressWire<'a> {
    address_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a str>,
}

#[derive(Serialize)]
struct CheckWire<'a> {
    check: &'static str,
    passed: bool,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_id: Option<Shown<DecisionId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<&'a str>,
}

impl<'a> CheckWire<'a> {
    fn new(check: &'a Check) -> Self {
        let seen = check.seen.as_deref();
        Self {
            check: check.name,
            passed: check.passed,
            detail: &check.detail,
            scope: seen.and_then(|seen| seen.scope.as_deref()),
            flow: seen.and_then(|seen| seen.flow.as_deref()),
            channel: seen.and_then(|seen| seen.channel.as_deref()),
            decision_id: seen.and_then(|seen| seen.decision).map(Shown),
            order_id: seen.and_then(|seen| seen.order_id.as_deref()),
            at: seen.and_then(|seen| seen.at),
            until: seen.and_then(|seen| seen.until),
            count: seen.and_then(|seen| seen.count),
            limit: seen.and_then(|seen| seen.limit),
            window: seen.and_then(|seen| seen.window.as_deref()),
        }
    }
}

/// `{"scope":"product","value":"p-5"}`; `all` has no value.
#[derive(Serialize)]
struct ScopeWire<'a> {
    scope: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
}

impl<'a> ScopeWire<'a> {
    fn new(scope: &'a Scope) -> Self {
        let (scope, value) = match scope {
            Scope::All => ("all", None),
            Scope::Class(class) => ("class", Some(class.name())),
            Scope::Flow(flow) => ("flow", Some(flow.as_str())),
            Scope::Offer(offer) => ("offer", Some(offer.as_str())),
            Scope::Product(product) => ("product", Some(product.as_str())),
            Scope::Category(category) => ("category", Some(category.as_str())),
            Scope::List(list) => ("list", Some(list.as_str())),
        };
        Self { scope, value }
    }
    fn all(scopes: &'a [Scope]) -> Vec<Self> {
        scopes.iter().map(Self::new).collect()
    }
}

impl<'a> VerdictWire<'a> {
    /// What the channel gets.
    pub(super) fn decision(
        verdict: &'a Verdict,
        message: &'a Message,
        channel: &'a Channel,
    ) -> Self {
        let mut wire = Self::common(verdict);
        match message {
            Message::Trigger(trigger) => {
                wire.kind = Some("trigger");
                wire.place(verdict);
                wire.trigger(trigger);
                let to = trigger.to.iter().map(|address| AddressWire {
                    address_id: &address.address_id,
                    address: channel.expose_address.then_some(address.address.as_str()),
                });
                wire.to = Some(to.collect());
                wire.context = Some(exposed(&trigger.context, channel));
            }
            Message::Suppress(suppress) => {
                wire.kind = Some("suppress");
                wire.suppress(suppress);
            }
            Message::Release { releases } => {
                wire.kind = Some("release");
                wire.releases = Some(Shown(*releases));
            }
            Message::Cancel { cancels } => {
                wire.kind = Some("cancel");
                wire.cancels = Some(Shown(*cancels));
            }
            Message::Refuse { request_id } => {
                wire.kind = Some("refuse");
                wire.request_id = Some(request_id);
            }
        }
        wire
    }

    /// What the log keeps: everything but `to` and what of the context may hold addresses and traits.
    pub(super) fn log(verdict: &'a Verdict) -> Self {
        let mut wire = Self::common(verdict);
        wire.verdict = Some(verdict.kind.name());
        wire.place(verdict);
        wire.until = verdict.until;
        wire.target = verdict.target.map(Shown);
        match &verdict.message {
            None => {}
            Some(Message::Trigger(trigger)) => {
                wire.trigger(trigger);
                wire.context = Some(logged(&trigger.context));
            }
            Some(Message::Suppress(suppress)) => wire.suppress(suppress),
            Some(Message::Release { releases }) => {
                wire.releases = Some(Shown(*releases));
                wire.target = None;
            }
            Some(Message::Cancel { cancels }) => {
                wire.cancels = Some(Shown(*cancels));
                wire.target = None;
            }
            Some(Message::Refuse { request_id }) => wire.request_id = Some(request_id),
        }
        wire.outcome = verdict.outcome;
        if let Some(purchase) = &verdict.purchase {
            wire.order_id = Some(&purchase.order_id);
            wire.order_total = purchase.total.as_deref();
        }
        wire.test = verdict.test.then_some(true);
        wire.contaminated = verdict.contaminated.then_some(true);
        wire.cause.at = Some(verdict.cause.origin.timestamp);
        wire.cause.kind = verdict.cause.kind.map(EventType::name);
        let checks = verdict.checks.iter().map(CheckWire::new);
        wire.checks = Some(checks.collect());
        wire
    }

    fn common(verdict: &'a Verdict) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            decision_id: Shown(verdict.decision_id),
            kind: None,
            verdict: None,
            profile: verdict.profile.as_str(),
            customer_id: verdict.customer_id.as_deref(),
            anonymous_id: verdict.anonymous_id.as_deref(),
            channel: verdict.channel.as_deref(),
            locale: verdict.locale.as_deref(),
            time_zone: verdict.time_zone.as_deref(),
            reason: verdict.why.name(),
            decided_at: verdict.decided_at,
            cause: CauseWire::new(&verdict.cause),
            flow: None,
            flow_version: None,
            instance: None,
            step: None,
            steps: None,
            class: None,
            list: None,
            template: None,
            offer: None,
            priority: None,
            not_before: None,
            send_by: None,
            expires_at: None,
            to: None,
            context: None,
            scopes: None,
            from: None,
            until: None,
            releases: None,
            cancels: None,
            request_id: None,
            target: None,
            outcome: None,
            order_id: None,
            order_total: None,
            test: None,
            contaminated: None,
            checks: None,
        }
    }

    fn place(&mut self, verdict: &'a Verdict) {
        let Some(place) = &verdict.place else {
            return;
        };
        self.flow = Some(&place.flow);
        self.flow_version = Some(&place.flow_version);
        self.instance = Some(&place.instance);
        self.step = Some(place.step);
        self.steps = Some(place.steps);
    }

    fn trigger(&mut self, trigger: &'a Trigger) {
        self.class = Some(trigger.class.name());
        self.list = trigger.list.as_deref();
        self.template = Some(&trigger.template);
        self.offer = trigger.offer.as_ref().map(|offer| OfferWire {
            id: &offer.id,
            ends_at: offer.ends_at,
        });
        self.priority = Some(trigger.priority);
        self.not_before = Some(trigger.not_before);
        self.send_by = Some(trigger.send_by);
        self.expires_at = Some(trigger.expires_at);
        self.request_id = trigger.request_id.as_deref();
    }

    fn suppress(&mut self, suppress: &'a Suppress) {
        self.scopes = Some(ScopeWire::all(&suppress.scopes));
        self.from = Some(suppress.from);
        self.until = suppress.until;
    }
}

/// The parts of the context that the channel exposes. `request` is the caller's own and goes back as it came.
fn exposed<'a>(context: &'a Map<String, Value>, channel: &Channel) -> BTreeMap<&'a str, &'a Value> {
    let leaves =
        |part: &str| part == "request" || channel.expose.iter().any(|name| **name == *part);
    context
        .iter()
        .filter(|(part, _)| leaves(part))
        .map(|(part, value)| (part.as_str(), value))
        .collect()
}

/// The parts of the context that the log keeps of a contact, held back or not: what it was about. Not the customer's own, nor the caller's.
fn logged(context: &Map<String, Value>) -> BTreeMap<&str, &Value> {
    let stays = |part: &str| !matches!(part, "profile" | "request");
    context
        .iter()
        .filter(|(part, _)| stays(part))
        .map(|(part, value)| (part.as_str(), value))
        .collect()
}

/// A value of `<app>-blocks`.
#[derive(Serialize)]
pub(super) struct BlocksWire<'a> {
    schema_version: u32,
    profile: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anonymous_id: Option<&'a str>,
    blocks: BTreeMap<&'a str, Vec<BlockWire<'a>>>,
}

impl<'a> BlocksWire<'a> {
    pub(super) fn new(
        profile: &'a ProfileKey,
        blocks: BTreeMap<&'a str, Vec<BlockWire<'a>>>,
    ) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            profile: profile.as_str(),
            customer_id: profile.customer_id(),
            anonymous_id: profile.anonymous_id(),
            blocks,
        }
    }
}

/// One live suppression on one channel, with the names of the `suppress` that said so.
#[derive(Serialize)]
pub(super) struct BlockWire<'a> {
    decision_id: Shown<DecisionId>,
    scopes: Vec<ScopeWire<'a>>,
    reason: &'static str,
    from: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

impl<'a> BlockWire<'a> {
    pub(super) fn new(block: &'a Block, decision: DecisionId) -> Self {
        Self {
            decision_id: Shown(decision),
            scopes: ScopeWire::all(&block.scopes),
            reason: block.reason.name(),
            from: block.from,
            until: block.until,
        }
    }
}
