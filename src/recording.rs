//! A recorded log of events: JSON Lines, plain or gzip, all streams mixed, in arrival order. `replay` and `feed` read it alike.
//!
//! [`Lines`] hands out lines; [`Placing`] tells where a line belongs: which input, partition, key and time. Both commands place every
//! line in the same way, so a log that is fed to a broker and read by `run` is the log that `replay` saw.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

use crate::bus::InputId;
use crate::config::Config;
use crate::event::mapping::{Beside, Encoding, Read as Reads, Reading};
use crate::event::{DecodeContext, DecodeRules, Event, EventType, Stream, json};
use crate::partitioner;
use crate::plan;
use crate::value::Timestamp;

/// Bytes of a line; a longer one is no event but another kind of file.
const LONGEST_LINE: u64 = 64 << 20;

/// Why a recorded log cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {file}")]
pub struct RecordingError {
    /// Which file; `-` is standard input.
    pub file: String,
    /// What the system said.
    pub source: io::Error,
}

/// The lines of several files, one after the other.
pub struct Lines {
    files: std::vec::IntoIter<PathBuf>,
    current: Option<(String, Box<dyn BufRead>)>,
    read: Rc<Cell<u64>>,
}

impl Lines {
    /// Of these files; `-` is standard input.
    #[must_use]
    pub fn of(files: Vec<PathBuf>) -> Self {
        Self {
            files: files.into_iter(),
            current: None,
            read: Rc::default(),
        }
    }

    /// How many bytes of the files were read so far, as they lie on the disk.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.read.get()
    }

    /// Reads the next line that is not blank into `line`, without its line feed; false after the last one.
    ///
    /// # Errors
    /// When a file cannot be read, or holds a line beyond every bound.
    pub fn next_into(&mut self, line: &mut Vec<u8>) -> Result<bool, RecordingError> {
        loop {
            let Some((file, reader)) = &mut self.current else {
                let Some(path) = self.files.next() else {
                    return Ok(false);
                };
                self.current = Some(open(&path, &self.read)?);
                continue;
            };
            let failed = |source| RecordingError {
                file: file.clone(),
                source,
            };
            line.clear();
            let read = reader
                .by_ref()
                .take(LONGEST_LINE)
                .read_until(b'\n', line)
                .map_err(failed)?;
            if read == 0 {
                self.current = None;
                continue;
            }
            if read as u64 == LONGEST_LINE && !line.ends_with(b"\n") {
                let source =
                    io::Error::new(io::ErrorKind::InvalidData, "a line of more than 64 MiB");
                return Err(failed(source));
            }
            let end = line.trim_ascii_end().len();
            line.truncate(end);
            if !line.is_empty() {
                return Ok(true);
            }
        }
    }
}

/// Counts what passes through it.
struct Counted<R> {
    inner: R,
    read: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}

fn open(
    path: &PathBuf,
    read: &Rc<Cell<u64>>,
) -> Result<(String, Box<dyn BufRead>), RecordingError> {
    let file = path.display().to_string();
    let failed = |source| RecordingError {
        file: file.clone(),
        source,
    };
    let raw: Box<dyn Read> = if file == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let counted = Counted {
        inner: raw,
        read: Rc::clone(read),
    };
    let mut reader = BufReader::with_capacity(1 << 18, counted);
    // By content, because standard input has no name to go by.
    let zipped = reader
        .fill_buf()
        .map_err(failed)?
        .starts_with(&[0x1f, 0x8b]);
    let lines: Box<dyn BufRead> = if zipped {
        Box::new(BufReader::with_capacity(
            1 << 18,
            MultiGzDecoder::new(reader),
        ))
    } else {
        Box::new(reader)
    };
    Ok((file, lines))
}

/// Where a line belongs.
#[derive(Debug)]
pub struct Placed {
    /// Which input.
    pub input: InputId,
    /// Which partition of it.
    pub partition: i32,
    /// The record's key: the customer id, else the anonymous id.
    pub key: Option<Vec<u8>>,
    /// The record's timestamp: `received_at`, else `event_time`; of a line that is no event, the time of the line before it.
    pub time: Timestamp,
    /// What it holds, if it is an event.
    pub event: Option<Event>,
}

/// Gives each line its place.
pub struct Placing<'a> {
    rules: &'a DecodeRules,
    inputs: Vec<(Stream, Option<InputId>)>,
    /// Every line is a record of this input, in its own shape.
    only: Option<(InputId, Option<&'a Reading>)>,
    partitions: i32,
    last: Timestamp,
}

impl<'a> Placing<'a> {
    /// Among the inputs of `config`, each with that many partitions.
    #[must_use]
    pub fn new(config: &Config, rules: &'a DecodeRules, partitions: i32) -> Self {
        let streams = [
            Stream::Clickstream,
            Stream::Purchases,
            Stream::Deliveries,
            Stream::Customers,
            Stream::Requests,
        ];
        Self {
            rules,
            inputs: streams
                .map(|stream| (stream, plan::input_of(config, stream)))
                .to_vec(),
            only: None,
            partitions,
            last: Timestamp::ZERO,
        }
    }

    /// All lines are records of `input`, which reads them so.
    #[must_use]
    pub const fn of_input(mut self, input: InputId, reading: Option<&'a Reading>) -> Self {
        self.only = Some((input, reading));
        self
    }

    /// How events are read.
    #[must_use]
    pub const fn rules(&self) -> &'a DecodeRules {
        self.rules
    }

    /// Where `line` belongs; `Err` with its stream when no input carries that.
    ///
    /// # Errors
    /// The stream that the configuration does not read.
    pub fn place(&mut self, line: &[u8]) -> Result<Placed, Stream> {
        let context = DecodeContext {
            rules: self.rules,
            record_timestamp: None,
        };
        let read = match self.only {
            Some((_, Some(reading))) => {
                reading.read(line, Encoding::Json, Beside::default(), &context)
            }
            Some((_, None)) | None => json::decode(line, &context).map(Reads::Event),
        };
        let Ok(Reads::Event(event)) = read else {
            return self.unreadable(line);
        };
        let stream = event.kind.stream();
        let input = match self.only {
            Some((input, _)) => input,
            None => self.input(stream).ok_or(stream)?,
        };
        self.last = event.received_at.unwrap_or(event.event_time);
        let id = event.customer_id.as_ref().or(event.anonymous_id.as_ref());
        let key = id.map(|id| id.clone().into_bytes());
        Ok(Placed {
            input,
            partition: self.partition(key.as_deref(), line),
            key,
            time: self.last,
            event: Some(event),
        })
    }

    /// A line that is no event, or none of ours, goes where its type says if that much can be read, else to the first input: what it is, is found there.
    fn unreadable(&self, line: &[u8]) -> Result<Placed, Stream> {
        #[derive(serde::Deserialize)]
        struct Typed {
            r#type: String,
        }
        let kind = serde_json::from_slice::<Typed>(line).ok();
        let stream = kind
            .and_then(|typed| EventType::parse(&typed.r#type))
            .map(EventType::stream);
        let named = stream.and_then(|stream| self.input(stream));
        let input = match self.only {
            Some((input, _)) => input,
            None => named.unwrap_or(InputId(1)),
        };
        Ok(Placed {
            input,
            partition: self.partition(None, line),
            key: None,
            time: self.last,
            event: None,
        })
    }

    fn input(&self, stream: Stream) -> Option<InputId> {
        self.inputs
            .iter()
            .find(|(carried, _)| *carried == stream)
            .and_then(|(_, input)| *input)
    }

    /// Nobody's events are spread by their bytes, so that `feed` and `replay` agree on their partition, whose clock they move.
    fn partition(&self, key: Option<&[u8]>, line: &[u8]) -> i32 {
        partitioner::partition(key.unwrap_or(line), self.partitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn plain_and_zipped_files_are_read_one_after_the_other_without_blank_lines() {
        let directory = std::env::temp_dir().join(format!("tidegate-lines-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (plain, zipped) = (directory.join("a.jsonl"), directory.join("b.jsonl.gz"));
        std::fs::write(&plain, "one\r\n\n  \ntwo").unwrap();
        let mut encoder = flate2::write::GzEncoder::new(
            File::create(&zipped).unwrap(),
            flate2::Compression::fast(),
        );
        encoder.write_all(b"three\nfour\n").unwrap();
        encoder.finish().unwrap();
        let mut lines = Lines::of(vec![plain, zipped]);
        let (mut line, mut all) = (Vec::new(), Vec::new());
        while lines.next_into(&mut line).unwrap() {
            all.push(String::from_utf8(line.clone()).unwrap());
        }
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(all, ["one", "two", "three", "four"]);
        assert!(
            Lines::of(vec!["/nowhere".into()])
                .next_into(&mut line)
                .is_err()
        );
    }
}
