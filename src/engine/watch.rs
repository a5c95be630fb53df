//! Flows that begin by time or absence: the moment is kept as a watch, events move it, and when it comes an instance begins
//! (product.md §6).
//!
//! ```text
//! event ──► moment known? ──► watch, due then ──further events move it──► due ──► condition, re-entry, group ──► instance
//!               no: no watch                          └─ one that has been comes once
//! ```

use std::sync::Arc;

use super::calendar::next_local;
use super::enter::{CUSTOMER, Entry};
use super::turn::{Subject, Turn};
use crate::event::Event;
use crate::flow::{Flow, InstanceKey, Landmark, Moment, Occasion};
use crate::profile::fold::Folded;
use crate::profile::running::{About, Birth, Watch};
use crate::profile::{OrderNews, Rhythm, Supply, limits};
use crate::value::{Span, Timestamp};

/// Who was not seen for so long gets no more times of day or week.
const DORMANT: Span = Span::from_days(365);

impl Turn<'_> {
    /// Moves the moments that this event moves.
    pub(super) fn watch_flows(&mut self, event: &Event, folded: &Folded) {
        let plan = self.plan;
        for flow in &plan.flows.concerned(event.kind).timed {
            match &flow.enter.on {
                // News of an old order is no sign of life.
                Occasion::Absence { .. } if folded.order == Some(OrderNews::Update) => {}
                Occasion::Absence { span, .. } => {
                    self.watch_absence(flow, event.effective_time.plus(*span));
                }
                Occasion::Moment(moment) => self.watch_moment(flow, *moment),
                Occasion::Events(_) | Occasion::Becomes(_) => {}
            }
        }
    }

    fn watch_of(&self, flow: &Flow) -> Option<&Watch> {
        let watches = &self.profile.running.watches;
        watches.iter().find(|watch| watch.flow == *flow.name)
    }

    /// The absence is over at `due`, unless a later event says otherwise.
    fn watch_absence(&mut self, flow: &Flow, due: Timestamp) {
        let watch = self.watch_of(flow);
        let known = watch.and_then(|watch| watch.due.max(watch.past));
        // What would have begun long ago (a backfill) begins nothing now.
        if known < Some(due) && self.now.since(due) <= flow.max_age {
            self.put_watch(flow, CUSTOMER, Some(due));
        }
    }

    pub(super) fn watch_moment(&mut self, flow: &Flow, moment: Moment) {
        let watch = self.watch_of(flow);
        let due = watch.and_then(|watch| watch.due);
        // Several keys may share a moment: each of them comes once.
        let past = watch.and_then(|watch| Some((watch.past?, watch.past_key.clone())));
        match moment {
            // It comes anyway; nothing that happens moves it.
            Moment::Local { .. } if due.is_some() => {}
            Moment::Local { weekday, time } => {
                let next = next_local(
                    self.now,
                    time,
                    weekday,
                    &self.profile.zone(&self.plan.policy),
                );
                self.put_watch(flow, CUSTOMER, next);
            }
            Moment::Known { landmark, offset } => {
                let oldest = self.now.minus(flow.max_age);
                let next = self
                    .landmarks(landmark)
                    .into_iter()
                    .map(|(at, key)| (at.plus(offset), key))
                    .filter(|next| next.0 >= oldest && past.as_ref().is_none_or(|past| past < next))
                    .min();
                let key = next.as_ref().map_or(CUSTOMER, |(_, key)| key);
                self.put_watch(flow, key, next.as_ref().map(|(at, _)| *at));
            }
        }
    }

    /// Sets the watch of a flow; writes nothing when it is set like that.
    fn put_watch(&mut self, flow: &Flow, key: &str, due: Option<Timestamp>) {
        let known = self.watch_of(flow);
        let same = known.map_or(due.is_none(), |watch| {
            watch.due == due && (due.is_none() || watch.key == key)
        });
        if same {
            return;
        }
        let armed = self.armed();
        let watches = &mut self.profile.running.watches;
        let has_room = watches.len() < limits::WATCHES;
        match watches.iter_mut().find(|watch| watch.flow == *flow.name) {
            Some(watch) => {
                key.clone_into(&mut watch.key);
                watch.due = due;
                watch.armed = armed;
            }
            None if has_room => watches.push(Watch {
                flow: flow.name.to_string(),
                key: key.to_owned(),
                due,
                armed,
                past: None,
                past_key: String::new(),
            }),
            None => {}
        }
    }

    /// The moment of a watch has come.
    pub(super) fn fire_watch(&mut self, index: usize) {
        let plan = self.plan;
        let watches = &mut self.profile.running.watches;
        let Some((watch, due)) = watches
            .get_mut(index)
            .and_then(|watch| Some((watch.clone(), watch.due.take()?)))
        else {
            return;
        };
        let flow = plan.flows.current().get(watch.flow.as_str());
        let timed = flow.and_then(|flow| match &flow.enter.on {
            Occasion::Absence { .. } => Some((flow, None)),
            Occasion::Moment(moment) => Some((flow, Some(*moment))),
            Occasion::Events(_) | Occasion::Becomes(_) => None,
        });
        // The flow is gone, or begins in another way by now.
        let Some((flow, moment)) = timed else {
            watches.remove(index);
            return;
        };
        if let Some(watch) = watches.get_mut(index) {
            watch.past = Some(due);
            watch.past_key.clone_from(&watch.key);
        }
        let is_seen = self.now.since(self.profile.activity.last_seen) < DORMANT;
        match moment {
            Some(Moment::Local { .. }) if !is_seen => {}
            Some(moment) => self.watch_moment(flow, moment),
            None => {}
        }
        self.enter_at(flow, watch.key, due, moment);
    }

    fn enter_at(&mut self, flow: &Arc<Flow>, key: String, at: Timestamp, moment: Option<Moment>) {
        if self.profile.running.find(&flow.name, &key).is_some() {
            return;
        }
        let entry = Entry {
            at,
            birth: Birth {
                profile: self.profile.key().as_str().to_owned(),
                source: String::new(),
                kind: match moment {
                    Some(_) => "moment".to_owned(),
                    None => "absence".to_owned(),
                },
                event_id: at.to_string(),
            },
            about: self.about_of(moment, &key),
            order_id: None,
            cart_id: None,
        };
        let product = (flow.instance == InstanceKey::Product).then_some(key.as_str());
        let subject = Subject {
            cart: None,
            product,
        };
        if self.still_wanted(flow, subject) {
            self.begin(flow, key, entry);
        }
    }

    /// What an instance is about that begins at this moment: the product that runs out, or the one that the customer usually takes.
    fn about_of(&self, moment: Option<Moment>, key: &str) -> Vec<About> {
        let Some(Moment::Known { landmark, .. }) = moment else {
            return Vec::new();
        };
        let orders = &self.profile.orders;
        let item = match landmark {
            Landmark::Depletion => orders.last_bought(key),
            Landmark::CadenceBreak => orders.usual_product(),
            Landmark::LastOrder | Landmark::FirstOrder | Landmark::SignedUp => None,
        };
        let about = item.map(|item| About {
            product_id: item.product_id.clone(),
            group_id: item.group_id.clone(),
            category: item.category.clone(),
        });
        about.into_iter().collect()
    }

    /// The first such moment at or after `from`; something known that has been counts as `from`.
    pub(super) fn moment_from(
        &self,
        moment: Moment,
        key: &str,
        from: Timestamp,
    ) -> Option<Timestamp> {
        match moment {
            Moment::Local { weekday, time } => {
                let just_before = from.minus(Span::from_millis(1));
                next_local(
                    just_before,
                    time,
                    weekday,
                    &self.profile.zone(&self.plan.policy),
                )
            }
            Moment::Known { landmark, offset } => self
                .landmarks(landmark)
                .into_iter()
                .find(|(_, of)| of == key || of == CUSTOMER)
                .map(|(at, _)| at.plus(offset).max(from)),
        }
    }

    /// What is known of a landmark, by instance key.
    fn landmarks(&self, landmark: Landmark) -> Vec<(Timestamp, String)> {
        let profile = &self.profile;
        let policy = &self.plan.policy;
        let orders = profile.orders.totals();
        let at = match landmark {
            Landmark::LastOrder => orders.last_at,
            Landmark::FirstOrder => orders.first_at,
            Landmark::SignedUp => profile.person.signed_up,
            Landmark::CadenceBreak => {
                let zone = profile.zone(policy);
                Rhythm::of(&profile.orders, &zone).broken_from(&zone)
            }
            Landmark::Depletion => {
                let norms = &policy.norms.consumption;
                let known = |product: &str| Supply::of(&profile.orders, product, norms);
                return profile
                    .orders
                    .consumables(norms)
                    .into_iter()
                    .filter_map(|product| Some((known(product)?.depletion, product.to_owned())))
                    .collect();
            }
        };
        at.map(|at| (at, CUSTOMER.to_owned())).into_iter().collect()
    }
}
