//! From what is written to what the core and the shell are given.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::sections::{BudgetSection, CapSetting, Channel, Config, Counted, Exposed, Input, Mode};
use crate::event::currency::minor_digits;
use crate::policy::{self, Cap, CapScope, ChannelMode, Policy};

/// What follows `<app>-` in the names of the internal topics.
pub(super) const INTERNAL_TOPICS: [&str; 5] =
    ["events", "profiles-changelog", "blocks", "decisions", "dlq"];

/// The internal topic of an application: `<app>-<what>`.
#[must_use]
pub fn internal_topic(app: &str, what: &str) -> String {
    format!("{app}-{what}")
}

impl Input {
    /// Its name in metrics and errors.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.topic)
    }
}

/// What a budget buys of a channel; `None` without one.
fn contacts_per_day(budget: &BudgetSection, channel: &Channel) -> Option<u32> {
    let bought = || {
        let money = budget.money.as_ref()?.money(6).minor();
        // `check` refuses money without a cost.
        let contacts = money.checked_div(channel.cost.money(6).minor())?;
        Some(u32::try_from(contacts).unwrap_or(u32::MAX))
    };
    budget.contacts.or_else(bought)
}

impl Config {
    /// The outbound topic of a channel.
    #[must_use]
    pub fn channel_topic(&self, name: &str) -> String {
        self.channels
            .get(name)
            .and_then(|channel| channel.topic.clone())
            .unwrap_or_else(|| internal_topic(&self.app.id, name))
    }

    /// What binds every flow, as the engine looks at it.
    ///
    /// # Errors
    /// When the file that holds the address key cannot be read.
    pub fn policy(&self) -> std::io::Result<Policy> {
        let secret = self.identity.address_key.reveal()?;
        let (channels, currency_digits) = self.flow_surroundings();
        let settings = &self.policy;
        Ok(Policy {
            caps: settings
                .caps
                .iter()
                .filter_map(cap)
                .filter(|cap| match &cap.scope {
                    CapScope::Channel(name) => channels.contains_key(name),
                    CapScope::Class(_) | CapScope::Discount | CapScope::Any => true,
                })
                .collect(),
            channels,
            min_gap: settings.min_gap,
            same_message: settings.same_message,
            control_group: self.control_group.0,
            control_salt: self
                .control_salt
                .clone()
                .unwrap_or_else(|| self.app.id.clone()),
            purchase_cooloff: settings.purchase_cooloff,
            cooloff_exempt: settings
                .cooloff_exempt
                .iter()
                .map(|flow| Arc::from(flow.as_str()))
                .collect(),
            bought_product: settings.bought_product,
            soft_opt_in: settings.soft_opt_in,
            time_zone: self.shop.time_zone.clone(),
            locale: self.shop.locale.clone(),
            dedup: settings.dedup,
            soft_bounce_limit: settings.soft_bounce_limit,
            service_per_hour: settings.service_per_hour,
            address_key: blake3::derive_key("tidegate 2026 address id", secret.as_bytes()),
            currency_digits,
            currency: self.shop.currency.clone(),
            norms: settings.norms.norms(currency_digits),
            traits: settings.traits.traits(),
            consent_valid: settings.consent_valid,
            conversion_window: settings.conversion_window,
            partitions: u32::try_from(self.topics.partitions).unwrap_or(1),
        })
    }

    /// What flows are checked against: the channels, and the minor digits of the shop's currency.
    #[must_use]
    pub fn flow_surroundings(&self) -> (BTreeMap<Arc<str>, policy::Channel>, u32) {
        let channels = self
            .channels
            .keys()
            .map(|name| (Arc::from(name.as_str()), self.channel(name)))
            .filter_map(|(name, channel)| Some((name, channel?)))
            .collect();
        (channels, minor_digits(&self.shop.currency))
    }

    fn channel(&self, name: &str) -> Option<policy::Channel> {
        let channel = self.channels.get(name)?;
        let exposed = |part: &Exposed| -> Option<Arc<str>> {
            match part {
                Exposed::Address => None,
                Exposed::Cart => Some("cart".into()),
                Exposed::Products => Some("products".into()),
                Exposed::LastOrder => Some("last_order".into()),
                Exposed::Profile => Some("profile".into()),
            }
        };
        Some(policy::Channel {
            name: name.into(),
            topic: self.channel_topic(name).into(),
            mode: match channel.mode {
                Mode::Active => ChannelMode::Active,
                Mode::Support => ChannelMode::Support,
                Mode::Stopped => ChannelMode::Stopped,
            },
            quiet_hours: channel.quiet_hours.0.clone(),
            cost: channel.cost.money(6).minor(),
            budget: self
                .policy
                .budgets
                .get(name)
                .and_then(|budget| contacts_per_day(budget, channel)),
            breaker: (channel.breaker.failures > 0).then_some(policy::Breaker {
                failures: channel.breaker.failures,
                window: channel.breaker.window,
                probe: channel.breaker.probe,
            }),
            needs_address: channel.needs_address,
            expose_address: channel.expose.contains(&Exposed::Address),
            expose: channel.expose.iter().filter_map(exposed).collect(),
            reports: channel.reports.clone(),
        })
    }
}

/// `None` for a cap that names nothing: `check` refuses those.
fn cap(setting: &CapSetting) -> Option<Cap> {
    let scope = match (&setting.channel, setting.class, setting.counts) {
        (Some(channel), None, None) => CapScope::Channel(channel.as_str().into()),
        (None, Some(class), None) => CapScope::Class(class),
        (None, None, Some(Counted::Discount)) => CapScope::Discount,
        (None, None, Some(Counted::Any)) => CapScope::Any,
        (_, _, _) => return None,
    };
    Some(Cap {
        scope,
        limit: setting.limit,
        window: setting.per.0,
    })
}
