//! A recorded log, dealt out to partitions and inputs, and kept so that each partition can be read again and again.
//!
//! The merge by record time may have to look at the end of a log before its beginning, so the whole log is placed before anything of it
//! is decided. What does not fit into [`IN_MEMORY`] lies in one file without a name in the system's directory for temporary files
//! (`TMPDIR`): it is gone when the process is, however it ends, because it holds what customers did.
//!
//! ```text
//!   line ─► partition × input ─► buffer ──(full)──► block of the file
//!                                   └──────┬───────────┘
//!                     one partition, its inputs merged by record time
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use crate::bus::{InputId, Record};
use crate::event::{Body, Event, EventType};
use crate::task::fold::ANCHOR;
use crate::task::merge::Merge;
use crate::value::{Money, Timestamp};

/// What of a log is held in memory before it goes to the file (LM-1).
const IN_MEMORY: usize = 64 << 20;
/// The least that is written at once.
const SMALLEST_BLOCK: usize = 4 << 10;

/// What an order or refund comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paid {
    Order(Money),
    Back(Money),
}

impl Paid {
    pub(super) fn of(event: &Event) -> Option<Self> {
        match &event.body {
            Body::Order(order) if event.kind == EventType::OrderCompleted => {
                order.total.map(Self::Order)
            }
            Body::Refund(refund) => refund.total.map(Self::Back),
            Body::Order(_)
            | Body::Browse(_)
            | Body::CartLine(_)
            | Body::CartSnapshot(_)
            | Body::Checkout(_)
            | Body::OrderStatus(_)
            | Body::Receipt(_)
            | Body::Identity(_)
            | Body::Consent(_)
            | Body::Ticket(_)
            | Body::Feedback(_)
            | Body::Score(_)
            | Body::Merge(_)
            | Body::Erasure
            | Body::SendRequest(_) => None,
        }
    }

    /// A tag, then minor units.
    fn encode(paid: Option<Self>) -> [u8; 9] {
        let (tag, amount) = match paid {
            None => (0, Money::ZERO),
            Some(Self::Order(total)) => (1, total),
            Some(Self::Back(total)) => (2, total),
        };
        let mut bytes = [tag; 9];
        if let Some((_, rest)) = bytes.split_first_mut() {
            rest.copy_from_slice(&amount.minor().to_be_bytes());
        }
        bytes
    }

    fn decode(tag: u8, minor: i64) -> Option<Self> {
        let amount = Money::from_minor(minor);
        match tag {
            1 => Some(Self::Order(amount)),
            2 => Some(Self::Back(amount)),
            _ => None,
        }
    }
}

/// A stretch of the file.
#[derive(Clone, Copy, Debug)]
struct Block {
    at: u64,
    bytes: usize,
}

/// The records of one input in one partition, in arrival order.
#[derive(Debug, Default)]
struct Stream {
    records: u64,
    blocks: Vec<Block>,
    /// What came after the last block.
    rest: Vec<u8>,
}

/// A log, placed.
#[derive(Debug)]
pub(super) struct Spool {
    inputs: usize,
    /// By partition, then input.
    streams: Vec<Stream>,
    /// Bytes of a stream that are held in memory.
    held: usize,
    file: Option<File>,
    end: u64,
}

impl Spool {
    /// Without a record yet.
    pub(super) fn new(partitions: i32, inputs: usize) -> Self {
        let streams = usize::try_from(partitions).unwrap_or_default() * inputs;
        Self {
            inputs,
            streams: (0..streams).map(|_| Stream::default()).collect(),
            held: (IN_MEMORY / streams.max(1)).max(SMALLEST_BLOCK),
            file: None,
            end: 0,
        }
    }

    /// Puts a record behind those of its partition and input. Its offset is the one that `feed` would get on new topics.
    pub(super) fn push(
        &mut self,
        partition: i32,
        input: InputId,
        time: Timestamp,
        key: Option<&[u8]>,
        line: &[u8],
        paid: Option<Paid>,
    ) -> io::Result<()> {
        let Some(place) = self.place(partition, input) else {
            return Ok(());
        };
        let Some(stream) = self.streams.get_mut(place) else {
            return Ok(());
        };
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        stream.records += 1;
        let rest = &mut stream.rest;
        rest.extend_from_slice(&time.millis().to_be_bytes());
        rest.extend_from_slice(&Paid::encode(paid));
        rest.extend_from_slice(&key.map_or([u8::MAX; 4], length));
        rest.extend_from_slice(&length(line));
        rest.extend_from_slice(key.unwrap_or_default());
        rest.extend_from_slice(line);
        if rest.len() < self.held {
            return Ok(());
        }
        if self.file.is_none() {
            self.file = Some(nameless_file()?);
        }
        if let Some(file) = &self.file {
            file.write_all_at(rest, self.end)?;
            stream.blocks.push(Block {
                at: self.end,
                bytes: rest.len(),
            });
            self.end += rest.len() as u64;
            rest.clear();
        }
        Ok(())
    }

    fn place(&self, partition: i32, input: InputId) -> Option<usize> {
        let input = usize::from(input.0);
        let partition = usize::try_from(partition).ok()?;
        (input < self.inputs).then_some(partition * self.inputs + input)
    }

    /// How many partitions there are.
    pub(super) fn partitions(&self) -> i32 {
        i32::try_from(self.streams.len() / self.inputs.max(1)).unwrap_or(i32::MAX)
    }

    /// How many records there are.
    pub(super) fn records(&self) -> u64 {
        self.streams.iter().map(|stream| stream.records).sum()
    }

    /// The records of a partition, its inputs merged by record time.
    pub(super) fn partition(&self, partition: i32) -> Merged<'_> {
        let cursors = (0..self.inputs).filter_map(|input| {
            let input = InputId(u16::try_from(input).ok()?);
            Some(Cursor {
                input,
                partition,
                file: self.file.as_ref(),
                stream: self.streams.get(self.place(partition, input)?)?,
                block: 0,
                bytes: Vec::new(),
                at: 0,
                offset: 0,
            })
        });
        Merged {
            cursors: cursors.collect(),
            merge: Merge::new(self.inputs),
            paid: BTreeMap::new(),
            paid_forwarded: VecDeque::new(),
            forwarded: 0,
        }
    }
}

/// A file that only this process can find.
fn nameless_file() -> io::Result<File> {
    let mut attempt = 0_u32;
    loop {
        let name = format!("tidegate-log-{}-{attempt}", std::process::id());
        let path: PathBuf = std::env::temp_dir().join(name);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        match opened {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 1_000 => {
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Reads one stream from its beginning.
struct Cursor<'a> {
    input: InputId,
    partition: i32,
    file: Option<&'a File>,
    stream: &'a Stream,
    /// The block that is read next; one behind the last stands for what is in memory.
    block: usize,
    bytes: Vec<u8>,
    at: usize,
    offset: i64,
}

impl Cursor<'_> {
    fn next(&mut self) -> io::Result<Option<(Record, Option<Paid>)>> {
        if self.at >= self.bytes.len() && !self.load()? {
            return Ok(None);
        }
        let mut rest = self.bytes.get(self.at..).unwrap_or_default();
        let read = read_record(&mut rest).ok_or(io::ErrorKind::InvalidData)?;
        self.at = self.bytes.len() - rest.len();
        let record = Record {
            input: self.input,
            partition: self.partition,
            offset: self.offset,
            timestamp: read.time,
            key: read.key.map(<[u8]>::to_vec),
            value: Some(read.line.to_vec()),
            headers: Vec::new(),
        };
        self.offset += 1;
        Ok(Some((record, read.paid)))
    }

    /// The next stretch of bytes; false when there is none.
    fn load(&mut self) -> io::Result<bool> {
        self.at = 0;
        self.bytes.clear();
        match (self.stream.blocks.get(self.block), self.file) {
            (Some(block), Some(file)) => {
                self.bytes.resize(block.bytes, 0);
                file.read_exact_at(&mut self.bytes, block.at)?;
            }
            _ if self.block == self.stream.blocks.len() => {
                self.bytes.extend_from_slice(&self.stream.rest);
            }
            _ => return Ok(false),
        }
        self.block += 1;
        Ok(!self.bytes.is_empty())
    }
}

/// A record as it was written.
struct Written<'a> {
    time: Timestamp,
    paid: Option<Paid>,
    key: Option<&'a [u8]>,
    line: &'a [u8],
}

fn read_record<'a>(rest: &mut &'a [u8]) -> Option<Written<'a>> {
    let time = Timestamp::from_millis(i64::from_be_bytes(*take(rest)?));
    let [tag] = *take(rest)?;
    let minor = i64::from_be_bytes(*take(rest)?);
    let key = u32::from_be_bytes(*take(rest)?);
    let line = u32::from_be_bytes(*take(rest)?);
    let mut bytes = |length: u32| {
        let (bytes, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        *rest = after;
        Some(bytes)
    };
    let key = if key == u32::MAX {
        None
    } else {
        Some(bytes(key)?)
    };
    Some(Written {
        time,
        paid: Paid::decode(tag, minor),
        key,
        line: bytes(line)?,
    })
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (bytes, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(bytes)
}

/// One partition's records, the oldest head of its inputs first.
pub(super) struct Merged<'a> {
    cursors: Vec<Cursor<'a>>,
    merge: Merge,
    /// Of the heads.
    paid: BTreeMap<InputId, Option<Paid>>,
    /// Of what was forwarded and waits, in order.
    paid_forwarded: VecDeque<Option<Paid>>,
    /// Next offset of what is forwarded.
    forwarded: i64,
}

impl Merged<'_> {
    /// Puts a record behind those that were forwarded to this partition before.
    pub(super) fn forwarded(
        &mut self,
        partition: i32,
        key: Vec<u8>,
        value: Vec<u8>,
        timestamp: Timestamp,
        paid: Option<Paid>,
    ) {
        self.paid_forwarded.push_back(paid);
        self.merge.push(Record {
            input: ANCHOR,
            partition,
            offset: self.forwarded,
            timestamp,
            key: Some(key),
            value: Some(value),
            headers: Vec::new(),
        });
        self.forwarded += 1;
    }

    /// The time of the record whose turn it is.
    pub(super) fn next_time(&mut self) -> io::Result<Option<Timestamp>> {
        self.fill()?;
        Ok(self.merge.head(|_| true))
    }

    /// Every input that has a record left shows its head.
    fn fill(&mut self) -> io::Result<()> {
        for cursor in &mut self.cursors {
            if self.merge.waiting(cursor.input) == 0
                && let Some((record, paid)) = cursor.next()?
            {
                self.paid.insert(record.input, paid);
                self.merge.push(record);
            }
        }
        Ok(())
    }

    /// The record whose turn it is, and what its order or refund comes to.
    pub(super) fn next(&mut self) -> io::Result<Option<(Record, Option<Paid>)>> {
        self.fill()?;
        let next = self.merge.next(|_| true);
        Ok(next.map(|record| {
            let forwarded = match record.input {
                ANCHOR => self.paid_forwarded.pop_front(),
                _ => None,
            };
            let paid = forwarded.or_else(|| self.paid.get(&record.input).copied());
            (record, paid.flatten())
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_through_the_file_comes_back_merged_as_it_was_placed() {
        let mut spool = Spool::new(2, 3);
        spool.held = 40;
        for number in 0..100_i64 {
            let input = InputId(u16::try_from(number % 3).unwrap());
            // The second input runs ahead of the others.
            let time = Timestamp::from_millis(number + if input.0 == 1 { 50 } else { 0 });
            let line = format!("line {number}");
            let key = (number % 5 != 0).then(|| number.to_string().into_bytes());
            let paid = (number % 7 == 0).then(|| Paid::Back(Money::from_minor(-number)));
            let partition = i32::try_from(number % 2).unwrap();
            spool
                .push(
                    partition,
                    input,
                    time,
                    key.as_deref(),
                    line.as_bytes(),
                    paid,
                )
                .unwrap();
        }
        assert!(spool.file.is_some(), "nothing went to the file");
        assert_eq!((spool.records(), spool.partitions()), (100, 2));
        let mut seen = Vec::new();
        for partition in 0..2 {
            let mut records = spool.partition(partition);
            let (mut last, mut offsets) = (Timestamp::ZERO, [0_i64; 3]);
            while let Some((record, paid)) = records.next().unwrap() {
                assert!(record.timestamp >= last);
                last = record.timestamp;
                let next = &mut offsets[usize::from(record.input.0)];
                assert_eq!(record.offset, *next);
                *next += 1;
                let text = String::from_utf8(record.value.unwrap()).unwrap();
                let number: i64 = text.strip_prefix("line ").unwrap().parse().unwrap();
                assert_eq!(record.key.is_some(), number % 5 != 0);
                let owed = (number % 7 == 0).then(|| Paid::Back(Money::from_minor(-number)));
                assert_eq!(paid, owed);
                seen.push(number);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }
}
