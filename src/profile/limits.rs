//! Every bound of a profile, with its reason (LM-1): all of them together stay under 900 KiB, so that no section outgrows a
//! Kafka record and a customer can always be loaded in one read.

use crate::value::Span;

/// Longest id (customer, cart, order, product, list …); the decoder refuses longer ones, so none is ever cut here.
pub const ID_BYTES: usize = 512;
/// Longest text kept for display (name, brand, category, coupon): enough for a mail, and a category path of ten levels.
pub const TEXT_BYTES: usize = 128;
/// Traits of one person: what CRM exports carry, without letting one system store its rows here.
pub const TRAITS: usize = 48;
/// Addresses over all channels; a customer rarely has more than a few devices, and dead tokens are kept to stay blocked.
pub const ADDRESSES: usize = 32;
/// Longest address or token kept; what is longer is none.
pub const ADDRESS_BYTES: usize = 512;
/// Consent entries: a handful of channels times a few lists.
pub const CONSENTS: usize = 32;
/// Open carts: one per device and shop front, with room.
pub const CARTS: usize = 8;
/// Lines of one cart; what a reminder can show is a tenth of it.
pub const CART_LINES: usize = 50;
/// Bytes of all lines of all carts: the oldest line goes first. Ordinary ids never come near it.
pub const CART_BYTES: usize = 48 * 1_024;
/// How long a cart is kept after its last change (product.md §4).
pub const CART_AGE: Span = Span::from_days(30);
/// Closed carts remembered, so that a late cart event revives nothing.
pub const CLOSED_CARTS: usize = 16;
/// Orders kept with their lines: enough for rhythm and relevance; the totals count all of them.
pub const ORDERS: u8 = 16;
/// Lines kept of one order; a wholesale order of 1,114 lines folds, and keeps its first 50.
pub const ORDER_LINES: usize = 50;
/// Bytes of the lines kept of one order.
pub const ORDER_BYTES: usize = 6 * 1_024;
/// A known order id seen again within this is an update (product.md §2).
pub const ORDER_KNOWN: Span = Span::from_days(400);
/// Order ids known, per chunk; a chunk is what one more order rewrites.
pub const KNOWN_PER_CHUNK: usize = 16;
/// Chunks of known order ids: 1,024 orders in 400 days is more than two a day.
pub const KNOWN_CHUNKS: u8 = 64;
/// Refund ids remembered against duplicates that come later than the dedup window.
pub const REFUNDS: usize = 64;
/// Dedup keys in one chunk: a click rewrites one chunk, some 60 bytes on average.
pub const KEYS_PER_CHUNK: usize = 8;
/// Chunks of dedup keys: 1,024 events a day; beyond that the oldest is forgotten first.
pub const KEY_CHUNKS: u8 = 128;
/// Views in one chunk.
pub const VIEWS_PER_CHUNK: usize = 2;
/// Chunks of views: the 24 products seen last.
pub const VIEW_CHUNKS: u8 = 12;
/// Running instances of all flows together; an entry beyond it is skipped, visibly.
pub const INSTANCES: usize = 20;
/// Flows that begin by time or absence and are watched for one customer; of more, the first by name.
pub const WATCHES: usize = 8;
/// Products that an instance without a cart remembers to be about.
pub const ABOUT: usize = 3;
/// Pending `send_requested`; the next one is refused.
pub const REQUESTS: usize = 6;
/// Channels that one request may prefer.
pub const REQUEST_CHANNELS: usize = 8;
/// Longest context of a request that is handed through; a longer one is left out.
pub const REQUEST_CONTEXT: usize = 3_072;
/// Contacts remembered: four marketing contacts a week for 60 days, twice over. No cap counts more of them.
pub const CONTACTS: u8 = 68;
/// How long a contact is remembered: receipts come within days, and no cap may look back further.
pub const CONTACT_AGE: Span = Span::from_days(60);
/// Live suppressions.
pub const BLOCKS: usize = 24;
/// Products of one order that are suppressed for a time of their own; the rest goes by the common one.
pub const SUPPLY_BLOCKS: usize = 6;
/// Scopes of one suppression: a basket, not a wholesale order.
pub const SCOPES: usize = 64;
/// Bytes of those scopes: a basket of long ids keeps its first.
pub const SCOPE_BYTES: usize = 2_048;
/// Last triggers remembered for re-entry.
pub const HISTORY: usize = 72;
/// Tickets told apart: nobody has more open at once, and a settled one that is forgotten stays settled.
pub const TICKETS: usize = 24;
/// External models times horizons.
pub const SCORES: usize = 24;
/// Longest name of a model or horizon kept.
pub const SCORE_NAME_BYTES: usize = 64;
/// Refused entries remembered, so that each is logged once a day.
pub const REFUSALS: usize = 8;
/// Longest name of a channel: an instance remembers on which it spoke.
pub const CHANNEL_BYTES: usize = 24;
/// Devices of one customer: phones, laptops, browsers; the one used longest ago makes room.
pub const VISITORS: usize = 8;
/// Customers that may log in on one device before it belongs to nobody.
pub const LOGINS: usize = 3;
/// Bytes of the aliases of one customer that an erasure is told to: 32 ids as long as a UUID, or 64 short ones; devices that made room for
/// others, and merged customers, too.
pub const ALIAS_BYTES: usize = 1_280;
/// Profiles that hold one address: a family's mailbox, not a mailing list.
pub const HOLDERS: usize = 64;
/// Steps of a flow that an instance can remember.
pub const STEPS: usize = 16;

/// At most `limit` bytes of `text`, cut at a character.
#[must_use]
pub(super) fn clip(text: &str, limit: usize) -> String {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// [`clip`] of what may be absent.
#[must_use]
pub(super) fn clip_text(text: Option<&String>) -> Option<String> {
    text.map(|text| clip(text, TEXT_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{DecisionId, Reason, Scope};
    use crate::event::{Consent, EventType, Identity, Order, Product, Trait};
    use crate::flow::Class;
    use crate::profile::carts::CartChange;
    use crate::profile::contacts::Contact;
    use crate::profile::links::{Device, Login, Visitor};
    use crate::profile::reach::{ConsentEntry, ConsentSource};
    use crate::profile::running::{
        About, Armed, Birth, HandedStep, Instance, PendingRequest, Phase, Watch,
    };
    use crate::profile::{Block, BlockOn, Profile};
    use crate::value::{Money, ProfileKey, Timestamp};

    /// The longest id that the decoder lets pass, told apart by `n`.
    fn id(n: usize) -> String {
        format!("{n:0>ID_BYTES$}")
    }

    fn time(n: usize) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + i64::try_from(n).unwrap())
    }

    fn product(n: usize) -> Product {
        Product {
            product_id: id(n),
            sku: Some(id(n)),
            group_id: Some(id(n)),
            name: Some(id(n)),
            category: Some(id(n)),
            brand: Some(id(n)),
            quantity: u32::MAX,
            price: Some(Money::from_minor(i64::MAX)),
            line_id: Some(id(n)),
        }
    }

    fn armed() -> Armed {
        Armed {
            topic: "t".repeat(249),
            partition: i32::MAX,
            offset: i64::MAX,
            timestamp: time(0),
            event_id: id(0),
        }
    }

    fn login() -> Login {
        Login {
            at: time(0),
            event_id: id(0),
            source: id(0),
        }
    }

    fn birth() -> Birth {
        Birth {
            profile: format!("c:{}", id(0)),
            source: id(0),
            kind: id(0).chars().take(24).collect(),
            event_id: id(0),
        }
    }

    fn contact(n: usize) -> Contact {
        Contact {
            id: DecisionId::of(&[&n.to_be_bytes()]),
            flow: Some("f".repeat(64)),
            flow_version: Some("0".repeat(16)),
            instance: id(n),
            step: 16,
            steps: 16,
            channel: "c".repeat(CHANNEL_BYTES),
            class: Class::Marketing,
            template: "t".repeat(128),
            list: Some("l".repeat(128)),
            offer: Some(id(n) + "offer"),
            discount: true,
            priority: u32::MAX,
            handed_at: time(n),
            expires_at: time(n),
            observed: true,
            replaced: true,
            recalled: true,
            accepted_at: Some(time(n)),
            sent_at: Some(time(n)),
            delivered_at: Some(time(n)),
            opened_at: Some(time(n)),
            clicked_at: Some(time(n)),
            failed_at: Some(time(n)),
            route: format!("c:{}", id(0)),
            send_by: time(n),
            gave_up_at: Some(time(n)),
            withheld_at: Some(time(n)),
            converted_at: Some(time(n)),
        }
    }

    fn instance(n: usize) -> Instance {
        Instance {
            flow: "f".repeat(64),
            version: "0".repeat(16),
            key: id(n),
            birth: birth(),
            born_at: time(n),
            touched_at: time(n),
            expires_at: time(n),
            phase: Phase::Handed,
            step: 15,
            attempt: u32::MAX,
            passes: u32::MAX,
            due: time(n),
            armed: armed(),
            handed: (0..STEPS)
                .map(|step| HandedStep {
                    step: u32::try_from(step).unwrap(),
                    decision: DecisionId::of(&[]),
                    at: time(n),
                    channel: "c".repeat(CHANNEL_BYTES),
                })
                .collect(),
            about: (0..ABOUT)
                .map(|n| About {
                    product_id: id(n),
                    group_id: Some(id(n)),
                    category: Some(clip(&id(n), TEXT_BYTES)),
                })
                .collect(),
            order_id: Some(id(n)),
            cart_id: Some(id(n)),
            deferred: true,
        }
    }

    fn watch(n: usize) -> Watch {
        Watch {
            flow: "f".repeat(64),
            key: id(n),
            due: Some(time(n)),
            armed: armed(),
            past: Some(time(n)),
            past_key: id(n),
        }
    }

    fn request(n: usize) -> PendingRequest {
        PendingRequest {
            request_id: id(n),
            campaign: id(n),
            channels: vec![id(n); REQUEST_CHANNELS],
            template: id(n),
            class: Class::Marketing,
            list: Some(id(n)),
            offer: Some(id(n)),
            discount: true,
            expires_at: time(n),
            context: Some("c".repeat(REQUEST_CONTEXT)),
            birth: birth(),
            due: time(n),
            armed: armed(),
            passes: u32::MAX,
        }
    }

    /// Fills everything that events fill, beyond its limit.
    fn fold_too_much(profile: &mut Profile) {
        let now = time(0);
        let text = Some(id(0));
        profile.person.learn(
            &Identity {
                locale: text.clone(),
                time_zone: text.clone(),
                country: text,
                traits: (0..TRAITS + 9)
                    .map(|n| (id(n), Trait::Text(id(n))))
                    .collect(),
                ..Identity::default()
            },
            now,
        );
        let addresses = (0..ADDRESSES + 9).map(id).collect();
        let reachable = Identity {
            addresses: vec![(id(0), addresses)],
            ..Identity::default()
        };
        profile.reach.learn(&reachable, &id(0), now);
        for n in 0..CONSENTS + 9 {
            profile.reach.say(ConsentEntry {
                channel: Some(id(n)),
                list: Some(id(n)),
                state: Consent::Denied,
                at: now,
                source: ConsentSource::Changed,
                system: id(n),
            });
        }
        for n in 0..3_000 {
            profile
                .journal
                .remember(u64::MAX - n, now, Span::from_days(1));
            profile.journal.view(&product(0), now);
        }
        for n in 0..100 {
            let order = Order {
                order_id: id(n),
                cart_id: Some(id(n)),
                channel: crate::event::SalesChannel::Offline,
                total: Some(Money::from_minor(1)),
                discount: Some(Money::from_minor(1)),
                coupon: Some(id(n)),
                recurring: true,
                seller: Some(id(n)),
                products: (0..ORDER_LINES + 9).map(product).collect(),
            };
            profile
                .orders
                .place(&order, EventType::OrderCompleted, time(n));
            profile.carts.close(&order, time(n));
        }
        for n in 0..2_000 {
            let order = Order {
                order_id: format!("small-{n}"),
                cart_id: None,
                channel: crate::event::SalesChannel::Online,
                total: Some(Money::from_minor(i64::from(u32::MAX))),
                discount: None,
                coupon: None,
                recurring: false,
                seller: None,
                products: Vec::new(),
            };
            profile
                .orders
                .place(&order, EventType::OrderCompleted, time(0));
        }
        for n in 0..CARTS + 3 {
            for line in 0..CART_LINES + 9 {
                let line = product(1_000 + line);
                let change = CartChange::Add(&line);
                profile.carts.change(
                    &id(1_000 + n),
                    change,
                    time(5_000 + n),
                    &profile.orders,
                    now,
                );
            }
        }
    }

    #[test]
    fn all_limits_of_a_profile_together_stay_under_900_kib() {
        let mut profile = Profile::new(ProfileKey::customer(&id(0)));
        fold_too_much(&mut profile);
        profile.running.instances = (0..INSTANCES).map(instance).collect();
        profile.running.requests = (0..REQUESTS).map(request).collect();
        profile.running.watches = (0..WATCHES).map(watch).collect();
        profile.running.alias_until = Some(time(0));
        profile.links.visitors = (0..VISITORS)
            .map(|n| Visitor {
                id: u64::MAX,
                told: time(n),
                seen: Some(login()),
            })
            .collect();
        profile.activity.device = Some(Device {
            id: u64::MAX,
            seen: login(),
        });
        profile.links.addresses = vec!["0".repeat(32); ADDRESSES];
        for n in 0..100 {
            profile.links.lead_here(&format!("a:{n:0>36}"));
        }
        for n in 0..200 {
            profile.contacts.push(contact(n), time(0));
            profile.history.note(&"f".repeat(64), &id(n), time(n));
            let scopes = (0..SCOPE_BYTES / ID_BYTES)
                .map(|n| Scope::Product(id(n)))
                .collect();
            let on = (0..8).map(|n| BlockOn {
                channel: format!("{n:0>64}"),
                decision: DecisionId::of(&[]),
            });
            let block = Block {
                reason: Reason::ProfileErased,
                on: on.collect(),
                scopes,
                from: time(n),
                until: None,
                order_id: Some(id(n)),
                list: Some(id(n)),
                route: format!("c:{}", id(0)),
            };
            profile.push_block(block, time(0));
        }
        for n in 0..SCORES + 9 {
            let score = crate::event::Score {
                model: id(n).chars().rev().collect(),
                horizon: Some(id(n)),
                value: i64::MAX,
                valid_until: Some(time(n)),
            };
            profile.scores.learn(&score, time(n));
            profile
                .service
                .ticket(&id(n), EventType::TicketOpened, time(n));
            profile.service.feedback(10, time(n));
        }
        let mut bytes = std::collections::BTreeMap::new();
        profile.take_changes(&mut |section, _, value| {
            *bytes.entry(section).or_insert(0) += value.map_or(0, <[u8]>::len);
        });
        let total: usize = bytes.values().sum();
        assert!(total < 900 * 1_024, "{total} bytes: {bytes:?}");
        assert!(
            total > 400 * 1_024,
            "the test does not fill the profile: {bytes:?}"
        );
    }

    #[test]
    fn no_id_that_the_decoder_lets_pass_is_cut() {
        assert_eq!(ID_BYTES, crate::event::decode::MAX_ID);
    }
}
