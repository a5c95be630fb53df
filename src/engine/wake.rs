//! Who waits at the gate for a slot, a gap or a turn that comes free before its time is looked at again at once (product.md §7).
//!
//! A slot comes back by a receipt (`cancelled`, `failed`, `expired`), a rival's turn by whatever ends it. Which of the two it was is not
//! asked: after each step of a customer of whom something waits, the gate is tried for what waits, and for nothing else. Of those that would
//! pass the foremost is armed for now, and passes the whole gate when that timer fires; then the next one is looked at. Whoever would pass
//! sooner than it is armed for is armed for then. No line of the log is written for any of it.

use std::cmp::Reverse;

use super::choice::over_at;
use super::gate::{Ruling, Wish, examine};
use super::turn::Turn;
use crate::decision::Offer;
use crate::profile::running::{DueTimer, Instance, PendingRequest, Phase};
use crate::value::Timestamp;

impl Turn<'_> {
    /// Arms anew what the gate let wait and would let pass sooner.
    pub(super) fn wake(&mut self) {
        let now = self.now;
        let waits = |instance: &Instance| {
            instance.deferred && instance.phase == Phase::Waiting && instance.due > now
        };
        let running = &self.profile.running;
        let instances = running.instances.iter().enumerate();
        let instances = instances
            .filter(|(_, instance)| waits(instance))
            .filter_map(|(index, instance)| {
                let at = self.would_pass(instance)?;
                (at < instance.due).then_some((at, instance.due, DueTimer::Instance(index)))
            });
        let requests = running.requests.iter().enumerate();
        let requests = requests
            .filter(|(_, request)| request.passes > 0 && request.due > now)
            .filter_map(|(index, request)| {
                let at = self.would_grant(request)?;
                (at < request.due).then_some((at, request.due, DueTimer::Request(index)))
            });
        let sooner: Vec<(Timestamp, Timestamp, DueTimer)> = instances.chain(requests).collect();
        if sooner.is_empty() {
            return;
        }
        let open = sooner.iter().filter(|(at, ..)| *at <= now);
        let foremost = open
            .min_by_key(|(_, due, timer)| (Reverse(self.plan.priority_of(running, *timer)), *due))
            .map(|(.., timer)| *timer);
        let armed = self.armed();
        let running = &mut self.profile.running;
        for (at, _, timer) in sooner {
            if at <= now && Some(timer) != foremost {
                continue;
            }
            let place = match timer {
                DueTimer::Instance(index) => running
                    .instances
                    .get_mut(index)
                    .map(|instance| (&mut instance.due, &mut instance.armed)),
                DueTimer::Request(index) => running
                    .requests
                    .get_mut(index)
                    .map(|request| (&mut request.due, &mut request.armed)),
                DueTimer::Watch(_) | DueTimer::Alias => None,
            };
            if let Some((due, by)) = place {
                *due = at;
                // What no record of the bus brought about leaves the record that it waits by.
                if !armed.topic.is_empty() {
                    by.clone_from(&armed);
                }
            }
        }
    }

    /// When the gate would let a request speak on one of its channels as things are; `None` when on none.
    fn would_grant(&self, request: &PendingRequest) -> Option<Timestamp> {
        let offer = request.offer.as_ref().map(|id| Offer {
            id: id.clone(),
            discount: request.discount,
            ends_at: None,
        });
        let channels = &self.plan.policy.channels;
        let known = request.channels.iter();
        let known = known.filter_map(|name| channels.get(name.as_str()));
        let times = known.filter_map(|channel| {
            let wish = Wish::of_request(channel, request, offer.as_ref());
            let (ruling, checks) = examine(self.plan, self.ledger, self.profile, &wish, self.now);
            match ruling {
                Ruling::Pass | Ruling::Observe(_) => Some(self.now),
                Ruling::Capped(until, _) | Ruling::Defer(until, _) => Some(until),
                Ruling::End(_) => over_at(&checks),
                Ruling::PassOver(_) => None,
            }
        });
        times.min()
    }
}
