//! Orders of two profiles: the totals of both, what is known twice once.

use crate::profile::orders::{KnownOrder, OrderRecord, Orders, OrdersPart, Totals};
use crate::profile::{OrderState, limits};
use crate::value::{Money, Timestamp};

impl Totals {
    /// Adds (or takes away) what they count for one order.
    fn count(&mut self, known: &KnownOrder, own: bool, add: bool) {
        let one = |count: &mut u64, counts: bool| {
            let by = u64::from(counts);
            *count = if add {
                count.saturating_add(by)
            } else {
                count.saturating_sub(by)
            };
        };
        let money = |sum: &mut Money, by: Money| {
            *sum = if add { sum.plus(by) } else { sum.minus(by) };
        };
        one(&mut self.orders, known.is_counted);
        one(&mut self.own, known.is_counted && own);
        one(&mut self.cancelled, known.cancelled);
        money(&mut self.money, known.counted);
        if known.cancelled {
            money(&mut self.cancelled_money, known.counted);
        }
    }

    fn join(&mut self, other: &Self) {
        self.orders += other.orders;
        self.own += other.own;
        self.cancelled += other.cancelled;
        self.money = self.money.plus(other.money);
        self.cancelled_money = self.cancelled_money.plus(other.cancelled_money);
        let told_twice = other
            .refund_ids
            .iter()
            .filter(|id| self.refund_ids.contains(id))
            .count();
        self.refunds += other
            .refunds
            .saturating_sub(u64::try_from(told_twice).unwrap_or_default());
        self.refunded = self.refunded.plus(other.refunded);
        for id in &other.refund_ids {
            if !self.refund_ids.contains(id) {
                self.refund_ids.push(*id);
            }
        }
        let extra = self.refund_ids.len().saturating_sub(limits::REFUNDS);
        self.refund_ids.drain(..extra);
        self.first_at = match (self.first_at, other.first_at) {
            (Some(own), Some(theirs)) => Some(own.min(theirs)),
            (own, theirs) => own.or(theirs),
        };
        self.last_at = self.last_at.max(other.last_at);
        self.last_refund_at = self.last_refund_at.max(other.last_refund_at);
    }
}

impl OrderRecord {
    /// The same order, told here and there.
    fn join(&mut self, other: &Self) {
        let told = |record: &Self| record.told_at != Timestamp::ZERO;
        let placed_at = match (told(self), told(other)) {
            (true, false) => self.placed_at,
            (false, true) => other.placed_at,
            (true, true) | (false, false) => self.placed_at.min(other.placed_at),
        };
        let state = self.state.max(other.state);
        let refunded = self.refunded.plus(other.refunded);
        if other.told_at > self.told_at {
            *self = other.clone();
        }
        self.placed_at = placed_at;
        self.state = state;
        self.refunded = refunded;
    }
}

impl Orders {
    fn known(&self) -> impl Iterator<Item = &KnownOrder> {
        self.parts.iter().flat_map(|(_, part)| match part {
            OrdersPart::Known(known) => known.as_slice(),
            OrdersPart::Recent(_) | OrdersPart::Totals(_) => &[],
        })
    }

    fn record_of(&self, known: &KnownOrder) -> Option<&OrderRecord> {
        self.recent()
            .find(|record| Self::id_of(&record.order_id) == known.id)
    }

    pub(super) fn join(&mut self, other: &Self) {
        if other.parts.is_empty() {
            return;
        }
        let totals = self.totals_mut();
        totals.join(&other.totals());
        for theirs in other.known() {
            self.join_known(theirs, other);
        }
        for theirs in other.recent() {
            let is_new = self.get(&theirs.order_id).is_none();
            if let Some(record) = self.recent_mut(&theirs.order_id, theirs.placed_at) {
                if is_new {
                    *record = theirs.clone();
                } else {
                    record.join(theirs);
                }
            }
        }
        let last = self.recent().filter(|order| {
            order.told_at != Timestamp::ZERO && order.state <= OrderState::Refunded
        });
        let last_at = last.map(|order| order.placed_at).max();
        let totals = self.totals_mut();
        totals.last_at = last_at.or(totals.last_at);
    }

    fn join_known(&mut self, theirs: &KnownOrder, other: &Self) {
        let own = self.known().find(|own| own.id == theirs.id).cloned();
        let Some(own) = own else {
            let (chunk, index) = self.push_known(theirs.id, theirs.at);
            if let Some(OrdersPart::Known(known)) = self.parts.get_mut(chunk)
                && let Some(place) = known.get_mut(index)
            {
                *place = theirs.clone();
            }
            return;
        };
        let (own_record, their_record) = (self.record_of(&own), other.record_of(theirs));
        let told_at = |record: Option<&OrderRecord>| record.map(|record| record.told_at);
        let theirs_is_newer = told_at(their_record) > told_at(own_record);
        let is_ours = |record: Option<&OrderRecord>| record.is_none_or(|r| r.seller.is_none());
        let (own_is_ours, theirs_is_ours) = (is_ours(own_record), is_ours(their_record));
        let joined = KnownOrder {
            id: own.id,
            at: own.at.min(theirs.at),
            counted: if !own.is_counted || (theirs.is_counted && theirs_is_newer) {
                theirs.counted
            } else {
                own.counted
            },
            is_counted: own.is_counted || theirs.is_counted,
            completed: own.completed || theirs.completed,
            cancelled: own.cancelled || theirs.cancelled,
        };
        let totals = self.totals_mut();
        totals.count(&own, own_is_ours, false);
        totals.count(theirs, theirs_is_ours, false);
        totals.count(&joined, own_is_ours && theirs_is_ours, true);
        let place = self.parts.iter().find_map(|(chunk, part)| match part {
            OrdersPart::Known(known) => {
                let index = known.iter().position(|known| known.id == joined.id)?;
                Some((chunk, index))
            }
            OrdersPart::Recent(_) | OrdersPart::Totals(_) => None,
        });
        if let Some((chunk, index)) = place
            && let Some(OrdersPart::Known(known)) = self.parts.get_mut(chunk)
            && let Some(place) = known.get_mut(index)
        {
            *place = joined;
        }
    }
}
