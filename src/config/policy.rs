//! The `policy` section: what binds every flow, with the shipped defaults (product.md §7).

use std::collections::BTreeMap;

use super::node::{Node, Value};
use super::norms::{Amount, NormsSection};
use super::problem::Problem;
use super::setting::{Fields, Setting, choice, read_scalar, section};
use super::traits::TraitsSection;
use super::values::Per;
use crate::flow::Class;
use crate::policy::Window;
use crate::value::Span;

section! {
    /// What binds every flow.
    pub struct PolicySection {
        /// How many contacts in which window; all of them must let a contact pass. Defaults: e-mail 1 per 16h, SMS 1 per week, push 1 per 24h
        /// (where these channels exist), marketing 1 per day and 4 per week, discounts 1 per 7d. `[]` for none. Writing the list replaces all of it.
        caps: Vec<CapSetting> = CapSetting::shipped(),
        /// What marketing may take of a channel, by channel. Default: as much as comes.
        budgets: BTreeMap<String, BudgetSection> = BTreeMap::new(),
        /// Least time between two contacts on any channel. Default 30m; `0s` for none.
        min_gap: Span = Span::from_minutes(30),
        /// The same template for the same offer goes to a customer once within that. Default 18h; `0s` for no such check.
        same_message: Span = Span::from_hours(18),
        /// Pause of marketing after a purchase. Default 3d; `0s` for none.
        purchase_cooloff: Span = Span::from_days(3),
        /// Flows that this pause does not bind. Default: post_purchase and cross_sell.
        cooloff_exempt: Vec<String> = vec!["post_purchase".to_owned(), "cross_sell".to_owned()],
        /// How long a bought product is not promoted. Default 30d; `0s` not at all.
        bought_product: Span = Span::from_days(30),
        /// Does a customer with an own order and no answer about consent count as consenting? Default false. Depends on your law.
        soft_opt_in: bool = false,
        /// An event seen again within that is a duplicate. Default 24h. Longer windows cost state.
        dedup: Span = Span::from_hours(24),
        /// Soft bounces in a row after which an address is blocked. Default 3.
        soft_bounce_limit: u32 = 3,
        /// Service messages per customer and hour. Default 5.
        service_per_hour: u32 = 5,
        /// What a customer's own history is measured against.
        norms: NormsSection,
        /// What is true of a customer and binds every flow.
        traits: TraitsSection,
        /// How long a granted consent holds. Default `0s`: until it is taken back. Some laws and lists want it renewed.
        consent_valid: Span = Span::ZERO,
        /// An order so long after a marketing contact is logged as its outcome. Default 3d; `0s` for none.
        conversion_window: Span = Span::from_days(3),
    }
}

section! {
    /// Per day of the shop (`shop.time_zone`), for all customers together, split evenly over the partitions. At most one of the two.
    pub struct BudgetSection {
        /// So many contacts.
        contacts: Option<u32>,
        /// So much money in the shop's currency, each contact at the channel's `cost`.
        money: Option<Amount>,
    }
}

section! {
    /// At most `limit` contacts in a window. Exactly one of `channel`, `class` and `counts` says which contacts.
    pub struct CapSetting {
        /// Contacts on this channel.
        channel: Option<String>,
        /// Contacts of this class, on all channels.
        class: Option<Class>,
        /// Contacts of this kind, on all channels.
        counts: Option<Counted>,
        /// How many.
        limit: u32,
        /// In which window: elapsed time (`16h`), or the customer's calendar (`day`, `week`, `3 days`, `2 weeks`); 60d at most,
        /// as long as contacts are remembered.
        per: Per,
    }
}

choice! {
    /// Contacts that a cap counts on all channels.
    pub enum Counted {
        /// Those that carry a discount.
        Discount = "discount",
        /// All of them.
        Any = "any",
    }
}

impl CapSetting {
    pub(super) fn shipped() -> Vec<Self> {
        let hours = |hours| Window::Rolling(Span::from_hours(hours));
        let cap = |channel: Option<&str>, class, counts, limit, window| Self {
            channel: channel.map(str::to_owned),
            class,
            counts,
            limit,
            per: Per(window),
        };
        vec![
            cap(Some("email"), None, None, 1, hours(16)),
            cap(Some("sms"), None, None, 1, Window::Weeks(1)),
            cap(Some("push"), None, None, 1, hours(24)),
            cap(None, Some(Class::Marketing), None, 1, Window::Days(1)),
            cap(None, Some(Class::Marketing), None, 4, Window::Weeks(1)),
            cap(None, None, Some(Counted::Discount), 1, hours(7 * 24)),
        ]
    }
}
