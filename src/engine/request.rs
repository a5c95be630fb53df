//! A bulk campaign asks to contact one customer: the same gate as a trigger, answered by `trigger` or `refuse` (product.md §2).

use serde_json::{Map, Value};

use super::contact::Handover;
use super::context::context;
use super::gate::{Ruling, Wish, examine};
use super::turn::{Name, Turn};
use crate::decision::{Check, Message, Offer, Reason, Seen, VerdictKind, Why};
use crate::event::{Event, SendRequest};
use crate::profile::running::PendingRequest;
use crate::profile::{Contact, limits};
use crate::value::{Span, Timestamp};

/// A request without `expires_at` is worth nothing after a day.
const DEFAULT_LIFE: Span = Span::from_days(1);

impl Turn<'_> {
    /// Takes a request in: it passes the gate when its timer fires, at once where the task is not behind.
    pub(super) fn request(&mut self, event: &Event, request: &SendRequest) {
        let at = event.effective_time;
        let expires_at = request.expires_at.unwrap_or_else(|| at.plus(DEFAULT_LIFE));
        let pending = PendingRequest {
            request_id: request.request_id.clone(),
            campaign: request.campaign.clone(),
            channels: request
                .channels
                .iter()
                .take(limits::REQUEST_CHANNELS)
                .cloned()
                .collect(),
            template: request.template.clone(),
            class: request.class,
            list: request.list.clone(),
            offer: request.offer.as_ref().map(|(id, _)| id.clone()),
            discount: request
                .offer
                .as_ref()
                .is_some_and(|(_, discount)| *discount),
            expires_at,
            context: request
                .context
                .clone()
                .filter(|context| context.len() <= limits::REQUEST_CONTEXT),
            birth: self.birth(event),
            due: at.min(self.now),
            armed: self.armed(),
            passes: 0,
        };
        if let Some(check) = self.asked_before(&pending.request_id) {
            return self.skip_repeated(&pending, check);
        }
        let running = &self.profile.running;
        if expires_at <= self.now {
            self.refuse(&pending, Reason::Expired, Vec::new());
        } else if running.requests.len() >= limits::REQUESTS {
            self.refuse(&pending, Reason::FrequencyCapped, Vec::new());
        } else {
            self.profile.running.requests.push(pending);
        }
    }

    /// What is known of a request by that id: it waits, or was answered by a contact. Asking again is no second wish.
    fn asked_before(&self, request_id: &str) -> Option<Check> {
        let waits = |known: &PendingRequest| known.request_id == request_id;
        let answers = |known: &&Contact| known.flow.is_none() && known.instance == request_id;
        let answer = self.profile.contacts.iter().find(answers);
        if answer.is_none() && !self.profile.running.requests.iter().any(waits) {
            return None;
        }
        let seen = answer.map(|contact| Seen {
            channel: Some(contact.channel.clone()),
            decision: Some(contact.id),
            at: Some(contact.handed_at),
            ..Seen::default()
        });
        Some(Check {
            name: "request",
            passed: false,
            detail: request_id.to_owned(),
            seen: seen.map(Box::new),
        })
    }

    /// One answer to a caller that repeats itself: the first one. The log tells of the repetition, the channel does not.
    fn skip_repeated(&mut self, request: &PendingRequest, check: Check) {
        let id = Name {
            birth: &request.birth,
            flow: "",
            step: 0,
            attempt: 0,
            kind: VerdictKind::Skip,
            channel: "",
            target: &request.request_id,
        }
        .id();
        let why = Why::Reason(Reason::DuplicateMessage);
        let mut verdict = self.verdict(VerdictKind::Skip, id, why);
        verdict.checks = vec![check];
        self.verdicts.push(verdict);
    }

    /// The answer "no", on the first channel that there is.
    pub(super) fn refuse(&mut self, request: &PendingRequest, reason: Reason, checks: Vec<Check>) {
        let channels = &self.plan.policy.channels;
        let channel = request
            .channels
            .iter()
            .find(|name| channels.contains_key(name.as_str()));
        let id = Name {
            birth: &request.birth,
            flow: "",
            step: 0,
            attempt: 0,
            kind: VerdictKind::Refuse,
            channel: channel.map(String::as_str).unwrap_or_default(),
            target: &request.request_id,
        }
        .id();
        let mut verdict = self.verdict(VerdictKind::Refuse, id, Why::Reason(reason));
        verdict.checks = checks;
        if let Some(channel) = channel {
            verdict.channel = Some(self.channel_name(channel));
            verdict.message = Some(Message::Refuse {
                request_id: request.request_id.clone(),
            });
        }
        self.verdicts.push(verdict);
    }

    /// A request's time has come: the first channel that the gate lets it speak on; else it waits for the first that will open in time.
    pub(super) fn fire_request(&mut self, index: usize) {
        let plan = self.plan;
        let request = self.profile.running.requests.remove(index);
        if self.now >= request.expires_at {
            self.refuse(&request, Reason::Expired, Vec::new());
            return;
        }
        let offer = request.offer.as_ref().map(|id| Offer {
            id: id.clone(),
            discount: request.discount,
            ends_at: None,
        });
        let mut first_no: Option<(Reason, Vec<Check>)> = None;
        let mut wait: Option<(Timestamp, Reason, Vec<Check>, String)> = None;
        for name in &request.channels {
            let Some(channel) = plan.policy.channels.get(name.as_str()) else {
                continue;
            };
            let wish = Wish::of_request(channel, &request, offer.as_ref());
            let (ruling, checks) = examine(plan, self.ledger, self.profile, &wish, self.now);
            match ruling {
                Ruling::Pass => return self.grant(&request, wish, None, checks),
                Ruling::Observe(reason) => {
                    return self.grant(&request, wish, Some(reason), checks);
                }
                Ruling::Capped(until, reason) | Ruling::Defer(until, reason) => {
                    if wait.as_ref().is_none_or(|(earlier, ..)| until < *earlier) {
                        wait = Some((until, reason, checks, name.clone()));
                    }
                }
                Ruling::PassOver(reason) | Ruling::End(reason) => {
                    first_no = first_no.or(Some((reason, checks)));
                }
            }
        }
        match (wait, first_no) {
            (Some((until, reason, checks, channel)), _) if until < request.expires_at => {
                self.defer_request(request, until, reason, checks, &channel);
            }
            (Some((_, reason, checks, _)), _) | (None, Some((reason, checks))) => {
                self.refuse(&request, reason, checks);
            }
            (None, None) => self.refuse(&request, Reason::ChannelStopped, Vec::new()),
        }
    }

    fn defer_request(
        &mut self,
        mut request: PendingRequest,
        until: Timestamp,
        reason: Reason,
        checks: Vec<Check>,
        channel: &str,
    ) {
        let id = Name {
            birth: &request.birth,
            flow: "",
            step: 0,
            attempt: request.passes,
            kind: VerdictKind::Defer,
            channel,
            target: &request.request_id,
        }
        .id();
        let mut verdict = self.verdict(VerdictKind::Defer, id, Why::Reason(reason));
        verdict.channel = Some(self.channel_name(channel));
        verdict.until = Some(until);
        verdict.checks = checks;
        self.verdicts.push(verdict);
        request.passes += 1;
        request.due = until;
        self.profile.running.requests.push(request);
    }

    /// The gate lets a request speak; a member of the control group is observed, and its caller told no.
    fn grant(
        &mut self,
        request: &PendingRequest,
        wish: Wish<'_>,
        observed: Option<Reason>,
        checks: Vec<Check>,
    ) {
        let kind = if observed.is_some() {
            VerdictKind::Observe
        } else {
            VerdictKind::Send
        };
        let decision = Name {
            birth: &request.birth,
            flow: "",
            step: 1,
            attempt: 0,
            kind,
            channel: &wish.channel.name,
            target: &request.request_id,
        }
        .id();
        let mut context = context(
            self.profile,
            wish.channel,
            &self.plan.policy,
            None,
            self.now,
        );
        context.insert("request".to_owned(), request_context(request));
        self.hand_over(Handover {
            wish,
            decision,
            why: observed.map_or_else(|| Why::Flow(request.campaign.as_str().into()), Why::Reason),
            expires_at: request.expires_at,
            priority: 0,
            request_id: Some(&request.request_id),
            context,
            checks,
            observed,
            step: 1,
        });
        if let Some(reason) = observed {
            self.refuse(request, reason, Vec::new());
        }
    }
}

/// What the caller handed through.
fn request_context(request: &PendingRequest) -> Value {
    let own = request
        .context
        .as_deref()
        .and_then(|context| serde_json::from_str::<Value>(context).ok());
    let mut map = Map::new();
    map.insert("campaign".to_owned(), Value::from(request.campaign.clone()));
    if let Some(own) = own {
        map.insert("context".to_owned(), own);
    }
    Value::Object(map)
}
