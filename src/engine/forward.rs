//! What one profile tells another: the records of `<app>-events`, the only way anything changes partition (engine.md §6a).
//!
//! | record | from → to | what it brings |
//! |---|---|---|
//! | event | an alias, or an address → who it is | the event, as it was read, with where it was read |
//! | link | a customer → a visitor | this customer logged in on your device |
//! | unlink | a visitor → a customer | the device follows this login now, which is another's; a link answers where a later one is known |
//! | hand-over | an alias → who it is | everything that it held |
//! | holds | a person → an address | I am reached under you (no more) |
//! | erased | a customer → an alias | we are erased: so are you, if you are mine still |
//! | leaves | an erased person → an address | I am no more; that much I had forbidden |
//! | bars | an address → a person | those who were reached under me before had forbidden that |
//!
//! Each is produced in the transaction that caused it, keyed by the profile that it is for.

use std::sync::Arc;

use minicbor::{Decode, Encode};

use crate::event::{Currencies, DecodeContext, DecodeError, DecodeRules, Event, Limits};
use crate::event::{Origin, Refusal, json};
use crate::profile::links::{Bars, Login};
use crate::profile::running::Armed;
use crate::profile::{Profile, SectionError, SectionId};
use crate::value::{ProfileKey, Timestamp};

/// First byte of a record.
const VERSION: u8 = 1;
/// An event may grow when it is written in our own shape; what was small enough to be read must be so again. The task bounds it.
const LARGEST: usize = 2;

/// An alias that a record was passed on by.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hop {
    /// Its key.
    #[n(0)]
    pub profile: String,
    /// The login that it is an alias since.
    #[n(1)]
    pub login: Login,
}

/// Everything that a profile held, section by section, as the store keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Estate(Vec<(u8, u8, Vec<u8>)>);

impl Estate {
    /// Of what was taken out of a profile.
    #[must_use]
    pub fn of(mut taken: Profile) -> Self {
        let mut sections = Vec::new();
        taken.take_changes(&mut |section, chunk, value| {
            sections.extend(value.map(|value| (section as u8, chunk, value.to_vec())));
        });
        Self(sections)
    }

    /// As a profile again.
    ///
    /// # Errors
    /// When a section is none of ours.
    pub fn open(&self, key: &ProfileKey) -> Result<Profile, SectionError> {
        let mut profile = Profile::new(key.clone());
        for (section, chunk, value) in &self.0 {
            let id = SectionId::from_byte(*section).ok_or(SectionError {
                section: SectionId::Identity,
                chunk: *chunk,
                version: None,
                source: None,
            })?;
            profile.put_section(id, *chunk, value)?;
        }
        Ok(profile)
    }
}

/// What a forwarded record brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matter {
    /// An event, with where it was first read.
    Event {
        /// As it was decoded.
        event: Box<Event>,
        /// Where it stands.
        origin: Origin,
        /// Of a history input.
        history: bool,
    },
    /// A customer logged in on this visitor's device.
    Link {
        /// Who.
        customer: ProfileKey,
        /// When.
        login: Login,
        /// Where that was read.
        origin: Origin,
    },
    /// This customer's device follows another login.
    Unlink {
        /// The visitor.
        visitor: String,
        /// Whose it is now; `None` on a device that belongs to nobody.
        now: Option<String>,
        /// The login that it follows, or that made it nobody's.
        login: Login,
        /// Where the login was read by which this came to light.
        origin: Origin,
    },
    /// Everything that another profile held.
    Handover {
        /// Whose it was.
        from: ProfileKey,
        /// Because of this login.
        login: Login,
        /// Where that was read.
        origin: Origin,
        /// What it held.
        estate: Estate,
    },
    /// A profile is reached under this address, or no more.
    Holds {
        /// Which profile.
        profile: ProfileKey,
        /// Is it?
        holds: bool,
        /// The record that told it.
        armed: Armed,
    },
    /// A profile is erased, and with it its aliases.
    Erased {
        /// Keys under which it was known, its own and those of its aliases.
        names: Vec<String>,
        /// The event that said so.
        by: Login,
        /// Where that was read.
        origin: Origin,
    },
    /// An erased profile is not reached under this address any more.
    Leaves {
        /// Which profile; `None`: it was gone already, and whoever is reached there now is told.
        profile: Option<ProfileKey>,
        /// What it had forbidden.
        bars: Bars,
    },
    /// What was forbidden under an address that this profile is reached under now.
    Bars {
        /// Its keyed hash.
        address: String,
        /// What.
        bars: Bars,
        /// The record that told of the address, or of what is forbidden.
        armed: Armed,
    },
}

/// One record of `<app>-events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The profile that it is for: its id is the record's key.
    pub to: ProfileKey,
    /// The aliases that passed it on, in order.
    pub hops: Vec<Hop>,
    /// The aliases lead in a circle, and this profile's is the weakest in it: it is none any more, and takes the matter in.
    pub settle: bool,
    /// What it brings.
    pub matter: Matter,
}

/// [`Origin`] as it is written.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Place {
    #[n(0)]
    topic: String,
    #[n(1)]
    partition: i32,
    #[n(2)]
    offset: i64,
    #[n(3)]
    timestamp: Timestamp,
}

impl Place {
    fn of(origin: &Origin) -> Self {
        Self {
            topic: origin.topic.to_string(),
            partition: origin.partition,
            offset: origin.offset,
            timestamp: origin.timestamp,
        }
    }
    fn origin(self) -> Origin {
        Origin {
            topic: Arc::from(self.topic),
            partition: self.partition,
            offset: self.offset,
            timestamp: self.timestamp,
        }
    }
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Part {
    #[n(0)]
    section: u8,
    #[n(1)]
    chunk: u8,
    #[cbor(n(2), with = "minicbor::bytes")]
    value: Vec<u8>,
}

/// [`Matter`] as it is written. Numbers are part of records that may lie in the topic over an upgrade: append only.
#[derive(Encode, Decode)]
enum Wire {
    #[n(0)]
    Event {
        #[cbor(n(0), with = "minicbor::bytes")]
        event: Vec<u8>,
        #[n(1)]
        origin: Place,
        #[n(2)]
        history: bool,
    },
    #[n(1)]
    Link {
        #[n(0)]
        customer: String,
        #[n(1)]
        login: Login,
        #[n(2)]
        origin: Place,
    },
    #[n(2)]
    Unlink {
        #[n(0)]
        visitor: String,
        #[n(1)]
        now: Option<String>,
        #[n(2)]
        login: Login,
        #[n(3)]
        origin: Place,
    },
    #[n(3)]
    Handover {
        #[n(0)]
        from: String,
        #[n(1)]
        login: Login,
        #[n(2)]
        origin: Place,
        #[n(3)]
        estate: Vec<Part>,
    },
    #[n(4)]
    Holds {
        #[n(0)]
        profile: String,
        #[n(1)]
        holds: bool,
        #[n(2)]
        armed: Option<Armed>,
    },
    #[n(5)]
    Erased {
        #[n(0)]
        names: Vec<String>,
        #[n(1)]
        by: Login,
        #[n(2)]
        origin: Place,
    },
    #[n(6)]
    Leaves {
        #[n(0)]
        profile: Option<String>,
        #[n(1)]
        bars: Bars,
    },
    #[n(7)]
    Bars {
        #[n(0)]
        address: String,
        #[n(1)]
        bars: Bars,
        #[n(2)]
        armed: Armed,
    },
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Envelope {
    #[n(0)]
    to: String,
    #[cbor(n(1), skip_if = "Vec::is_empty")]
    hops: Vec<Hop>,
    #[cbor(n(2), default)]
    settle: bool,
    #[n(3)]
    matter: Wire,
}

impl Forward {
    /// To this profile, from where it began.
    #[must_use]
    pub const fn new(to: ProfileKey, matter: Matter) -> Self {
        Self {
            to,
            hops: Vec::new(),
            settle: false,
            matter,
        }
    }

    /// The record's value; events in our own shape, their money in the shop's currency.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a Vec takes every byte and our types have no encoder of their own that could refuse"
    )]
    pub fn encode(&self, currencies: &Currencies) -> Vec<u8> {
        let envelope = Envelope {
            to: self.to.as_str().to_owned(),
            hops: self.hops.clone(),
            settle: self.settle,
            matter: wire(&self.matter, currencies),
        };
        let mut bytes = vec![VERSION];
        minicbor::encode(&envelope, &mut bytes).expect("writing CBOR to memory cannot fail");
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When it did not: somebody else wrote into the topic, or a newer version did.
    pub fn decode(value: &[u8], rules: &DecodeRules) -> Result<Self, DecodeError> {
        let malformed = || DecodeError::new(Refusal::Malformed);
        let (version, cbor) = value.split_first().ok_or_else(malformed)?;
        if *version != VERSION {
            return Err(DecodeError::new(Refusal::UnknownSchema));
        }
        let envelope: Envelope = minicbor::decode(cbor).map_err(|_| malformed())?;
        let key = |text: &str| ProfileKey::parse(text).ok_or_else(malformed);
        let matter = match envelope.matter {
            Wire::Event {
                event,
                origin,
                history,
            } => {
                let origin = origin.origin();
                Matter::Event {
                    event: Box::new(reread(&event, &origin, rules)?),
                    origin,
                    history,
                }
            }
            Wire::Link {
                customer,
                login,
                origin,
            } => Matter::Link {
                customer: key(&customer)?,
                login,
                origin: origin.origin(),
            },
            Wire::Unlink {
                visitor,
                now,
                login,
                origin,
            } => Matter::Unlink {
                visitor,
                now,
                login,
                origin: origin.origin(),
            },
            Wire::Handover {
                from,
                login,
                origin,
                estate,
            } => {
                let from = key(&from)?;
                let parts = estate
                    .into_iter()
                    .map(|part| (part.section, part.chunk, part.value));
                let estate = Estate(parts.collect());
                estate.open(&from).map_err(|_| malformed())?;
                Matter::Handover {
                    from,
                    login,
                    origin: origin.origin(),
                    estate,
                }
            }
            Wire::Holds {
                profile,
                holds,
                armed,
            } => Matter::Holds {
                profile: key(&profile)?,
                holds,
                armed: armed.unwrap_or_default(),
            },
            Wire::Erased { names, by, origin } => Matter::Erased {
                names,
                by,
                origin: origin.origin(),
            },
            Wire::Leaves { profile, bars } => Matter::Leaves {
                profile: profile.as_deref().map(key).transpose()?,
                bars,
            },
            Wire::Bars {
                address,
                bars,
                armed,
            } => Matter::Bars {
                address,
                bars,
                armed,
            },
        };
        Ok(Self {
            to: key(&envelope.to)?,
            hops: envelope.hops,
            settle: envelope.settle,
            matter,
        })
    }
}

fn reread(bytes: &[u8], origin: &Origin, rules: &DecodeRules) -> Result<Event, DecodeError> {
    let record_timestamp = Some(origin.timestamp);
    if bytes.len() <= rules.limits.record_bytes {
        let context = DecodeContext {
            rules,
            record_timestamp,
        };
        return json::decode(bytes, &context);
    }
    let rules = DecodeRules {
        limits: Limits {
            record_bytes: rules.limits.record_bytes.saturating_mul(LARGEST),
        },
        ..rules.clone()
    };
    let context = DecodeContext {
        rules: &rules,
        record_timestamp,
    };
    json::decode(bytes, &context)
}

fn wire(matter: &Matter, currencies: &Currencies) -> Wire {
    match matter {
        Matter::Event {
            event,
            origin,
            history,
        } => Wire::Event {
            event: json::encode(event, currencies),
            origin: Place::of(origin),
            history: *history,
        },
        Matter::Link {
            customer,
            login,
            origin,
        } => Wire::Link {
            customer: customer.as_str().to_owned(),
            login: login.clone(),
            origin: Place::of(origin),
        },
        Matter::Unlink {
            visitor,
            now,
            login,
            origin,
        } => Wire::Unlink {
            visitor: visitor.clone(),
            now: now.clone(),
            login: login.clone(),
            origin: Place::of(origin),
        },
        Matter::Handover {
            from,
            login,
            origin,
            estate,
        } => Wire::Handover {
            from: from.as_str().to_owned(),
            login: login.clone(),
            origin: Place::of(origin),
            estate: estate
                .0
                .iter()
                .map(|(section, chunk, value)| Part {
                    section: *section,
                    chunk: *chunk,
                    value: value.clone(),
                })
                .collect(),
        },
        Matter::Holds {
            profile,
            holds,
            armed,
        } => Wire::Holds {
            profile: profile.as_str().to_owned(),
            holds: *holds,
            armed: Some(armed.clone()),
        },
        Matter::Erased { names, by, origin } => Wire::Erased {
            names: names.clone(),
            by: by.clone(),
            origin: Place::of(origin),
        },
        Matter::Leaves { profile, bars } => Wire::Leaves {
            profile: profile.as_ref().map(|profile| profile.as_str().to_owned()),
            bars: bars.clone(),
        },
        Matter::Bars {
            address,
            bars,
            armed,
        } => Wire::Bars {
            address: address.clone(),
            bars: bars.clone(),
            armed: armed.clone(),
        },
    }
}
