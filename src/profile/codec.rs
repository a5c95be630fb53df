//! Sections to bytes and back: one version byte, then CBOR with numbered fields in maps, so that a field can be added without a
//! migration. `Running` carries its earliest due time in front, for the timer index (TM-2) to be rebuilt without decoding.

use minicbor::{Decode, Encode};

use super::contacts::Contact;
use super::journal::{self, JournalPart};
use super::orders::{self, OrdersPart};
use super::{Profile, Section, SectionError, SectionId};
use crate::value::Timestamp;

/// Version of every section's value.
const VERSION: u8 = 1;
/// Due time of a `Running` without timers.
const NEVER: i64 = i64::MAX;

/// Takes the changed sections: id, chunk, value (`None`: gone).
pub type Each<'a> = dyn FnMut(SectionId, u8, Option<&[u8]>) + 'a;

/// Why bytes are no section: what [`SectionError`] adds the place to.
enum Malformed {
    Version,
    Cbor(minicbor::decode::Error),
}

fn decode<'a, T: Decode<'a, ()>>(value: &'a [u8]) -> Result<T, Malformed> {
    match value.split_first() {
        Some((&VERSION, cbor)) => minicbor::decode(cbor).map_err(Malformed::Cbor),
        Some(_) | None => Err(Malformed::Version),
    }
}

fn encode<T: Encode<()>>(value: &T, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.push(VERSION);
    append(value, bytes);
}

fn append<T: Encode<()>>(value: &T, bytes: &mut Vec<u8>) {
    #[expect(
        clippy::expect_used,
        reason = "a Vec takes every byte and our types have no encoder of their own that could refuse"
    )]
    minicbor::encode(value, bytes).expect("writing CBOR to memory cannot fail");
}

fn put<T: for<'a> Decode<'a, ()>>(section: &mut Section<T>, value: &[u8]) -> Result<(), Malformed> {
    *section = Section::stored(decode(value)?);
    Ok(())
}

/// Hands a changed section out: its bytes, or its end when it became empty.
fn take<T: Encode<()> + Default + PartialEq>(
    section: &mut Section<T>,
    id: SectionId,
    bytes: &mut Vec<u8>,
    each: &mut Each<'_>,
) {
    if !section.take_changed() {
        return;
    }
    if section.value == T::default() {
        if std::mem::replace(&mut section.stored, false) {
            each(id, 0, None);
        }
        return;
    }
    section.stored = true;
    encode(&section.value, bytes);
    each(id, 0, Some(bytes));
}

impl Profile {
    /// Puts a stored section back. Sections may come in any order; each at most once per chunk.
    ///
    /// # Errors
    /// When the bytes are not what [`Self::take_changes`] wrote.
    pub fn put_section(
        &mut self,
        section: SectionId,
        chunk: u8,
        value: &[u8],
    ) -> Result<(), SectionError> {
        self.put_value(section, chunk, value)
            .map_err(|malformed| SectionError {
                section,
                chunk,
                version: value.first().copied(),
                source: match malformed {
                    Malformed::Version => None,
                    Malformed::Cbor(source) => Some(source),
                },
            })
    }

    fn put_value(&mut self, section: SectionId, chunk: u8, value: &[u8]) -> Result<(), Malformed> {
        match section {
            SectionId::Person => put(&mut self.person, value),
            SectionId::Reach => put(&mut self.reach, value),
            SectionId::Activity => put(&mut self.activity, value),
            SectionId::Journal => {
                let part = if chunk < journal::VIEWS {
                    JournalPart::Keys(decode(value)?)
                } else {
                    JournalPart::Views(decode(value)?)
                };
                self.journal.put_stored(chunk, part);
                Ok(())
            }
            SectionId::Carts => put(&mut self.carts, value),
            SectionId::Running => match value.split_at_checked(9) {
                Some((head, cbor)) if head.first() == Some(&VERSION) => {
                    let running = minicbor::decode(cbor).map_err(Malformed::Cbor)?;
                    self.running = Section::stored(running);
                    Ok(())
                }
                Some(_) | None => Err(Malformed::Version),
            },
            SectionId::Orders => {
                let part = if chunk == 0 {
                    OrdersPart::Totals(decode(value)?)
                } else if chunk < orders::KNOWN {
                    OrdersPart::Recent(Box::new(decode(value)?))
                } else {
                    OrdersPart::Known(decode(value)?)
                };
                self.orders.parts.put_stored(chunk, part);
                Ok(())
            }
            SectionId::Contacts => {
                self.contacts
                    .parts
                    .put_stored(chunk, decode::<Contact>(value)?);
                Ok(())
            }
            SectionId::Blocks => put(&mut self.blocks, value),
            SectionId::History => put(&mut self.history, value),
            SectionId::Scores => put(&mut self.scores, value),
            SectionId::Service => put(&mut self.service, value),
            SectionId::Identity => put(&mut self.links, value),
            // Nothing writes these yet; a value there is of a newer version.
            SectionId::Supply | SectionId::Rhythm | SectionId::Attribution => {
                Err(Malformed::Version)
            }
        }
    }

    /// Hands out each section that changed since the last call, encoded; `None` where a chunk or section became empty and is to be deleted.
    pub fn take_changes(&mut self, each: &mut Each<'_>) {
        let bytes = &mut Vec::with_capacity(256);
        take(&mut self.person, SectionId::Person, bytes, each);
        take(&mut self.reach, SectionId::Reach, bytes, each);
        take(&mut self.activity, SectionId::Activity, bytes, each);
        self.journal.take_changes(|chunk, part| {
            match part {
                Some(JournalPart::Keys(keys)) => encode(keys, bytes),
                Some(JournalPart::Views(views)) => encode(views, bytes),
                None => {}
            }
            each(SectionId::Journal, chunk, part.map(|_| &bytes[..]));
        });
        take(&mut self.carts, SectionId::Carts, bytes, each);
        self.take_running(bytes, each);
        self.orders.parts.take_changes(|chunk, part| {
            match part {
                Some(OrdersPart::Totals(totals)) => encode(totals, bytes),
                Some(OrdersPart::Recent(order)) => encode(order, bytes),
                Some(OrdersPart::Known(known)) => encode(known, bytes),
                None => {}
            }
            each(SectionId::Orders, chunk, part.map(|_| &bytes[..]));
        });
        self.contacts.parts.take_changes(|chunk, part| {
            if let Some(contact) = part {
                encode(contact, bytes);
            }
            each(SectionId::Contacts, chunk, part.map(|_| &bytes[..]));
        });
        take(&mut self.blocks, SectionId::Blocks, bytes, each);
        take(&mut self.history, SectionId::History, bytes, each);
        take(&mut self.scores, SectionId::Scores, bytes, each);
        take(&mut self.service, SectionId::Service, bytes, each);
        take(&mut self.links, SectionId::Identity, bytes, each);
    }

    fn take_running(&mut self, bytes: &mut Vec<u8>, each: &mut Each<'_>) {
        if !self.running.take_changed() {
            return;
        }
        if self.running.is_empty() {
            if std::mem::replace(&mut self.running.stored, false) {
                each(SectionId::Running, 0, None);
            }
            return;
        }
        self.running.stored = true;
        let due = self.next_due().map_or(NEVER, Timestamp::millis);
        bytes.clear();
        bytes.push(VERSION);
        bytes.extend_from_slice(&due.to_be_bytes());
        append(&self.running.value, bytes);
        each(SectionId::Running, 0, Some(bytes));
    }

    /// Reads the earliest due time out of a stored [`SectionId::Running`] value without decoding the rest (for restore).
    #[must_use]
    pub fn due_of_stored(running_value: &[u8]) -> Option<Timestamp> {
        let due = running_value.get(1..9)?.try_into().ok()?;
        let due = i64::from_be_bytes(due);
        (due != NEVER).then(|| Timestamp::from_millis(due))
    }
}
