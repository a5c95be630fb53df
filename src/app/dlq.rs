//! `dlq`: what the dead letters are, and another try at them once their cause is mended.
//!
//! A letter is read as its input is configured *now*. What it has become goes to `<app>-events`, where the running application folds it
//! as any other event: other readers of the input see nothing twice, and it need not stand where its key belongs. What is still no
//! event goes behind the others in `<app>-dlq`. Both happen in the transaction that moves the place of `dlq`: each letter once.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::exit::{Exit, Stop};
use super::{kafka, registry};
use crate::bus::kafka::letters::DeadLetters;
use crate::bus::{NextOffset, Outgoing, Record, Target};
use crate::clock::SystemClock;
use crate::config::{Config, internal_topic};
use crate::engine::forward::{Forward, Matter};
use crate::engine::{Plan, profile_of};
use crate::event::avro::registered::Registered;
use crate::event::mapping::Read;
use crate::event::{DecodeError, Event, Origin, Refusal};
use crate::outbound::letter::Letter;
use crate::outbound::{self, OutboundPlan};
use crate::plan;
use crate::task::fold::{FoldPlan, LARGEST_FORWARD, decode_anywhere};

/// So many letters, or bytes of them, go into one transaction.
const LETTERS: usize = 500;
const BYTES: usize = 8 << 20;

/// Which letters are meant.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Read from this topic; `None`: any.
    pub topic: Option<String>,
    /// Refused for this, as in `Malformed` or `tidegate.event.Malformed`; `None`: whatever.
    pub reason: Option<String>,
}

impl Wanted {
    fn matches(&self, letter: &Letter) -> bool {
        let class = letter.class.rsplit('.').next().unwrap_or_default();
        self.topic
            .as_ref()
            .is_none_or(|topic| *topic == letter.topic)
            && self
                .reason
                .as_ref()
                .is_none_or(|reason| *reason == class || *reason == letter.class)
    }
}

/// What became of the letters.
#[derive(Clone, Debug, Default)]
pub struct Replayed {
    /// Events now, and on their way to their profiles.
    pub handed_on: u64,
    /// Left out, as the configuration says now, or events of nobody.
    pub left: u64,
    /// Still dead, by what is said of them now.
    pub stay: BTreeMap<String, u64>,
}

fn connect(config: &Config) -> Result<DeadLetters, Stop> {
    let topic = internal_topic(&config.app.id, "dlq");
    let settings = kafka::settings(config, 0)?;
    let clock = Arc::new(SystemClock::new());
    Ok(DeadLetters::connect(
        &settings,
        &topic,
        config.topics.partitions,
        clock,
    )?)
}

/// Calls `each` with every letter that nobody has handed on yet.
///
/// # Errors
/// When the brokers do not answer, or `each` fails.
pub fn list(
    config: &Config,
    wanted: &Wanted,
    each: &mut dyn FnMut(Letter) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut letters = connect(config)?;
    for open in letters.open()? {
        letters.read(open, &mut |_, record| match Letter::of(&record) {
            Some(letter) if wanted.matches(&letter) => each(letter),
            Some(_) | None => Ok(()),
        })?;
    }
    Ok(())
}

/// Tries every wanted letter again. Those that are not wanted stay, behind the others.
///
/// # Errors
/// When the brokers do not answer; each letter was handed on, or still stands where it stood.
pub fn replay(config: &Config, flows: Plan, wanted: &Wanted) -> Result<Replayed, Stop> {
    let wrong = |error: &dyn std::fmt::Display| Stop::new(Exit::Config, error.to_string());
    let again = Again {
        fold: plan::fold_plan(config, flows, plan::clock_kind(config))
            .map_err(|error| wrong(&error))?,
        outbound: plan::outbound_plan(config).map_err(|error| wrong(&error))?,
        wanted,
    };
    let (client, mut known) = (registry::client(config)?, Registered::default());
    let mut letters = connect(config)?;
    letters.begin()?;
    let mut replayed = Replayed::default();
    // Looked at after that: whoever was at it before has ended, and what it did is known.
    for open in letters.open()? {
        let (mut batch, mut next) = (Batch::default(), open.from);
        letters.read(open, &mut |letters, record| {
            next = NextOffset::after(record.offset);
            if let Some(client) = &client {
                let so_far = std::mem::take(&mut known);
                let records = std::slice::from_ref(&record);
                known =
                    registry::schemas_of(client, records, so_far)?.map_err(registry::refused)?;
            }
            batch.add(again.of(record, &known, &mut replayed));
            if batch.is_full() {
                letters.hand_on(open.partition, next, &batch.take())?;
            }
            Ok::<(), Stop>(())
        })?;
        if batch.letters > 0 {
            letters.hand_on(open.partition, next, &batch.take())?;
        }
    }
    Ok(replayed)
}

#[derive(Default)]
struct Batch {
    outgoing: Vec<Outgoing>,
    bytes: usize,
    letters: usize,
}

impl Batch {
    fn add(&mut self, outgoing: Option<Outgoing>) {
        self.letters += 1;
        self.bytes += outgoing
            .as_ref()
            .and_then(|of| of.value.as_ref())
            .map_or(0, Vec::len);
        self.outgoing.extend(outgoing);
    }

    const fn is_full(&self) -> bool {
        self.letters >= LETTERS || self.bytes >= BYTES
    }

    fn take(&mut self) -> Vec<Outgoing> {
        std::mem::take(self).outgoing
    }
}

/// Another try at letters.
struct Again<'a> {
    fold: FoldPlan,
    outbound: OutboundPlan,
    wanted: &'a Wanted,
}

impl Again<'_> {
    /// What is to be published instead of the letter; nothing when nobody needs it any more.
    fn of(
        &self,
        found: Record,
        registered: &Registered,
        replayed: &mut Replayed,
    ) -> Option<Outgoing> {
        let stays = |found: Record, why: String, replayed: &mut Replayed| {
            *replayed.stay.entry(why).or_default() += 1;
            Some(self.same(found))
        };
        let Some(letter) = Letter::of(&found) else {
            return stays(found, "not written by tidegate".to_owned(), replayed);
        };
        if !self.wanted.matches(&letter) {
            return Some(self.same(found));
        }
        if !letter.whole {
            let text = "too large to be kept whole: it stands only where it came from";
            return stays(found, text.to_owned(), replayed);
        }
        let mut inputs = self.fold.inputs.iter().skip(1);
        let Some(input) = inputs.find(|input| *input.source.topic == *letter.topic) else {
            return stays(
                found,
                format!("{} is no input any more", letter.topic),
                replayed,
            );
        };
        match decode_anywhere(input, &letter.record, &self.fold, registered) {
            Ok(Read::Event(event)) => {
                let handed = self.forward(event, &letter, input.history);
                let length = handed.as_ref().and_then(|of| of.value.as_ref());
                match length.map(Vec::len) {
                    Some(length) if length > LARGEST_FORWARD => {
                        let error = DecodeError::new(Refusal::Oversize);
                        return stays(found, format!("{}: {error}", letter.topic), replayed);
                    }
                    Some(_) => replayed.handed_on += 1,
                    None => replayed.left += 1,
                }
                handed
            }
            Ok(Read::Left(_)) => {
                replayed.left += 1;
                None
            }
            Err(error) => stays(found, format!("{}: {error}", letter.topic), replayed),
        }
    }

    /// The event for its profile; `None` for one of nobody.
    fn forward(&self, event: Event, letter: &Letter, history: bool) -> Option<Outgoing> {
        let to = profile_of(&self.fold.plan, &event)?;
        let record = &letter.record;
        let matter = Matter::Event {
            event: Box::new(event),
            origin: Origin {
                topic: letter.topic.as_str().into(),
                partition: record.partition,
                offset: record.offset,
                timestamp: record.timestamp,
            },
            history,
        };
        let forward = Forward::new(to, matter);
        let currencies = &self.fold.decode.currencies;
        Some(outbound::forward(
            &forward,
            record.timestamp,
            currencies,
            &self.outbound,
        ))
    }

    /// The letter as it is.
    fn same(&self, found: Record) -> Outgoing {
        let headers = found.headers.into_iter();
        Outgoing {
            topic: Arc::clone(&self.outbound.dead_letters_topic),
            target: Target::Key,
            key: found.key,
            value: found.value,
            headers: headers
                .map(|(name, value)| (name, value.unwrap_or_default()))
                .collect(),
            changelog_of: None,
        }
    }
}
