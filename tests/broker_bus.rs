//! The Kafka bus against a real broker: the one of `TIDEGATE_BOOTSTRAP`, or one that is started for these tests and stopped after them.
#![cfg(feature = "kafka")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected stops there"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};
use tidegate::bus::kafka::admin::{Admin, TopicSpec, internal_topics};
use tidegate::bus::kafka::{KafkaBus, Settings, connect};
use tidegate::bus::{
    Bus, ChangelogRecord, Failure, Farewell, InputId, NextOffset, Outgoing, Polled, Position,
    Progress, Record, Remedy, Source, Sources, Target, Turn,
};
use tidegate::clock::{Clock, SystemClock};

/// Nothing in these tests takes that long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(40);

// ---------------------------------------------------------------------------------------------------------------- the broker

/// A broker that stops when the last test lets go of it.
struct Broker {
    address: String,
    started: bool,
}

static BROKER: Mutex<Weak<Broker>> = Mutex::new(Weak::new());

/// Where the broker of this process lives.
fn directory() -> String {
    let cache = std::env::var("TIDEGATE_CACHE")
        .unwrap_or_else(|_| format!("{}/.cache/tidegate", std::env::var("HOME").unwrap()));
    format!("{cache}/kafka/bus-{}", std::process::id())
}

fn script(command: &str) -> std::process::Output {
    let root = env!("CARGO_MANIFEST_DIR");
    Command::new(format!("{root}/deploy/local/kafka"))
        .arg(command)
        .env("TIDEGATE_KAFKA_DIR", directory())
        .env("TIDEGATE_KAFKA_PORT", free_port())
        .output()
        .unwrap()
}

/// A port that nobody listens on, and not the one of a developer's broker.
fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

impl Broker {
    fn get() -> Arc<Self> {
        let mut shared = BROKER.lock().unwrap();
        if let Some(broker) = shared.upgrade() {
            return broker;
        }
        let broker = Arc::new(match std::env::var("TIDEGATE_BOOTSTRAP") {
            Ok(address) => Self {
                address,
                started: false,
            },
            Err(_) => {
                let up = script("up");
                assert!(
                    up.status.success(),
                    "{}",
                    String::from_utf8_lossy(&up.stderr)
                );
                Self {
                    address: String::from_utf8(up.stdout).unwrap().trim().to_owned(),
                    started: true,
                }
            }
        });
        *shared = Arc::downgrade(&broker);
        broker
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.started {
            script("reset");
            std::fs::remove_dir_all(directory()).ok();
        }
    }
}

/// An application of its own for each test, with its topics.
struct Shop {
    broker: Arc<Broker>,
    app: String,
    clock: Arc<dyn Clock>,
}

const PARTITIONS: i32 = 4;
const EVENTS: InputId = InputId(0);

impl Shop {
    fn open(name: &str) -> Self {
        let shop = Self::named(format!("{name}-{}", std::process::id()));
        let admin = Admin::connect(&shop.settings("admin", 0)).unwrap();
        let mut topics = internal_topics(&shop.app, PARTITIONS);
        topics.push(TopicSpec {
            ours: true,
            ..TopicSpec::input(&shop.clicks(), PARTITIONS)
        });
        let missing = admin.plan_topics(&topics).unwrap();
        assert_eq!(missing.len(), topics.len());
        assert_eq!(admin.apply_topics(&missing).unwrap().len(), topics.len());
        shop.until("the topics are there as wanted", || {
            match admin.plan_topics(&topics) {
                Ok(problems) => problems.is_empty().then_some(()),
                Err(_) => None,
            }
        });
        assert!(!admin.cluster_id().unwrap().is_empty());
        shop
    }

    /// One whose topics exist.
    fn named(app: String) -> Self {
        Self {
            broker: Broker::get(),
            app,
            clock: Arc::new(SystemClock::new()),
        }
    }

    fn clicks(&self) -> String {
        format!("{}-clicks", self.app)
    }

    fn settings(&self, instance: &str, worker: u16) -> Settings {
        let mut settings = Settings::new(&self.broker.address, &self.app, instance, worker);
        let source = |topic: String| Source {
            topic: topic.into(),
            lane: None,
        };
        let inputs = vec![
            source(format!("{}-events", self.app)),
            source(self.clicks()),
        ];
        settings.sources = Sources::new(inputs, PARTITIONS, BTreeMap::new());
        settings
    }

    fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = self.clock.elapsed() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(self.clock.elapsed() < deadline, "never: {what}");
        }
    }

    fn member(&self, instance: &str) -> Member {
        self.member_of(self.settings(instance, 0))
    }

    fn member_of(&self, settings: Settings) -> Member {
        Member {
            bus: connect(settings, self.clock.clone()).unwrap(),
            held: BTreeSet::new(),
            next: BTreeMap::new(),
            read: Vec::new(),
            lost: false,
        }
    }

    /// Writes `count` records into each partition of both inputs, in one transaction (so that there are markers), and aborts a
    /// second one.
    fn feed(&self, count: usize) {
        let mut settings = Settings::new(
            &self.broker.address,
            &format!("{}-feeder", self.app),
            "feeder",
            0,
        );
        settings.sources = Sources::direct(&[self.clicks().into()]);
        settings.changelog = format!("{}-profiles-changelog", self.app).into();
        let mut bus = connect(settings, self.clock.clone()).unwrap();
        for (turn, keep) in [(Turn::A, true), (Turn::B, false)] {
            bus.begin(turn).unwrap();
            for topic in [format!("{}-events", self.app), self.clicks()] {
                for partition in 0..PARTITIONS {
                    for number in 0..count {
                        bus.send(
                            turn,
                            outgoing(&topic, Target::Partition(partition), &format!("k-{number}")),
                        )
                        .unwrap();
                    }
                }
            }
            bus.drain(turn).unwrap();
            if keep {
                bus.commit(turn).unwrap();
            } else {
                bus.abort(turn).unwrap();
            }
        }
        bus.close(Farewell::Restart).unwrap();
    }
}

fn outgoing(topic: &str, target: Target, key: &str) -> Outgoing {
    Outgoing {
        topic: topic.into(),
        target,
        key: Some(key.as_bytes().to_vec()),
        value: Some(b"value".to_vec()),
        headers: vec![("h".to_owned(), b"1".to_vec())],
        changelog_of: None,
    }
}

// ---------------------------------------------------------------------------------------------------------------- a member

/// A worker without tasks: answers rebalances, resumes at the committed positions, keeps what it read.
struct Member {
    bus: KafkaBus,
    held: BTreeSet<i32>,
    next: BTreeMap<(InputId, i32), NextOffset>,
    read: Vec<Record>,
    lost: bool,
}

impl Member {
    fn turn(&mut self, wait: Duration) {
        match self.bus.poll(wait).unwrap() {
            Polled::Nothing => {}
            Polled::Record(record) => {
                let at = (record.input, record.partition);
                assert!(
                    self.held.contains(&record.partition),
                    "EO-5: a record of a partition not held"
                );
                self.next.insert(at, NextOffset::after(record.offset));
                self.read.push(record);
            }
            Polled::Grown(_) | Polled::Doubted(_) => {
                panic!("no topic grows here, and none is made anew")
            }
            Polled::Assigned(partitions) => {
                self.bus.assign(&partitions).unwrap();
                self.held.extend(&partitions);
                self.rewind(&partitions);
            }
            Polled::Revoked { partitions, lost } => {
                self.lost |= lost;
                self.bus.unassign(&partitions, lost).unwrap();
                for partition in partitions {
                    self.held.remove(&partition);
                    self.next.retain(|(_, of), _| *of != partition);
                }
            }
        }
    }

    /// The committed offsets; there is no answer while a transaction's markers are on their way.
    fn committed(&mut self, partitions: &[i32]) -> Vec<(InputId, i32, Option<NextOffset>)> {
        loop {
            match self.bus.committed(partitions) {
                Ok(committed) => return committed,
                Err(failed) => assert_eq!(failed.remedy, Remedy::Retry, "{failed}"),
            }
        }
    }

    /// The end of a changelog partition, once it is at `high`: markers are written after `commit` and `abort` have returned.
    fn changelog_at(&mut self, shop: &Shop, partition: i32, high: i64) -> NextOffset {
        let high = NextOffset::at(high);
        let bus = &mut self.bus;
        shop.until("the marker is there", || {
            let found = bus.changelog_watermarks(partition).unwrap();
            (found.high == high).then_some(high)
        })
    }

    /// Reads on from the committed positions.
    fn rewind(&mut self, partitions: &[i32]) {
        if partitions.is_empty() {
            return;
        }
        let mut positions = Vec::new();
        for (input, partition, next) in self.committed(partitions) {
            let next = next.unwrap_or(NextOffset::START);
            self.next.insert((input, partition), next);
            positions.push(Position {
                input,
                partition,
                next,
            });
        }
        self.bus.resume(&positions).unwrap();
    }

    fn positions(&self) -> Vec<Position> {
        let next = self.next.iter();
        next.map(|((input, partition), next)| Position {
            input: *input,
            partition: *partition,
            next: *next,
        })
        .collect()
    }

    fn until(&mut self, shop: &Shop, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = shop.clock.elapsed() + PATIENCE;
        while !done(self) {
            self.turn(Duration::from_millis(10));
            assert!(shop.clock.elapsed() < deadline, "never: {what}");
        }
    }

    /// One transaction: `count` changelog records per held partition, and all positions.
    fn stage(&mut self, shop: &Shop, turn: Turn, count: usize) -> Vec<(i32, i64)> {
        self.bus.begin(turn).unwrap();
        let changelog = format!("{}-profiles-changelog", shop.app);
        for partition in self.held.clone() {
            for number in 0..count {
                let mut record = outgoing(&changelog, Target::Partition(partition), "profile");
                record.value = Some(vec![u8::try_from(number).unwrap()]);
                record.changelog_of = Some(partition);
                self.bus.send(turn, record).unwrap();
            }
        }
        self.bus.drain(turn).unwrap()
    }

    fn commit(&mut self, turn: Turn) -> Result<(), Failure> {
        let positions = self.positions();
        self.bus.send_offsets(turn, &positions)?;
        self.bus.commit(turn)
    }

    /// Everything readable of a changelog partition, and the position after it.
    fn changelog(
        &mut self,
        shop: &Shop,
        partition: i32,
        target: NextOffset,
    ) -> Vec<ChangelogRecord> {
        self.bus
            .open_changelog(partition, NextOffset::START)
            .unwrap();
        let mut all = Vec::new();
        let bus = &mut self.bus;
        shop.until("the changelog is read to its end", || {
            let mut there = None;
            for (of, chunk) in bus.read_changelogs(Duration::from_millis(20)).unwrap() {
                assert_eq!(of, partition);
                all.extend(chunk.records);
                if chunk.position >= Some(target) {
                    there = Some(());
                }
            }
            there
        });
        self.bus.close_changelog(partition).unwrap();
        all
    }

    /// The first offsets that are left of what stands in `<app>-events`.
    fn first_events(&mut self) -> Vec<i64> {
        let all: Vec<i32> = (0..PARTITIONS).collect();
        // A leader that does not answer at once is asked again.
        let kept = self.bus.input_watermarks(&all).unwrap_or_default();
        let events = kept.into_iter().filter(|(input, _, _)| *input == EVENTS);
        events.map(|(_, _, kept)| kept.low.get()).collect()
    }

    fn progress(&mut self) -> Vec<Progress> {
        let mut all = Vec::new();
        self.bus.progress(&mut |progress| all.push(progress));
        all
    }

    fn caught_up(&mut self) -> bool {
        let all = self.progress();
        all.len() == 2 * self.held.len()
            && all
                .iter()
                .all(|progress| progress.delivered >= progress.end)
    }
}

// ---------------------------------------------------------------------------------------------------------------- the tests

#[test]
fn transactions_in_turn_carry_offsets_and_changelog_over_markers() {
    let shop = Shop::open("turns");
    shop.feed(50);
    let mut member = shop.member("one");
    member.until(&shop, "all partitions assigned", |member| {
        member.held.len() == 4
    });
    // Markers of the feeder's commit and all of its aborted records lie behind the last record: progress moves over them.
    member.until(&shop, "read to the fresh ends", Member::caught_up);
    assert_eq!(member.read.len(), 2 * 4 * 50);
    let headers = vec![("h".to_owned(), Some(b"1".to_vec()))];
    assert!(member.read.iter().all(|record| record.headers == headers));

    let mut highest = BTreeMap::new();
    let mut turn = Turn::A;
    for _ in 0..6 {
        highest.extend(member.stage(&shop, turn, 10));
        member.commit(turn).unwrap();
        assert!(!member.bus.suspect(turn));
        turn = turn.next();
    }
    let committed = member.committed(&[0, 1, 2, 3]);
    let sent: Vec<_> = member
        .positions()
        .iter()
        .map(|position| (position.input, position.partition, Some(position.next)))
        .collect();
    assert_eq!(committed, sent);

    // An aborted transaction is not read, and the position stands behind its marker.
    member.stage(&shop, turn, 7);
    member.bus.abort(turn).unwrap();
    for partition in 0..PARTITIONS {
        // Ten times six records, six markers; seven aborted ones and theirs.
        let target = member.changelog_at(&shop, partition, 60 + 6 + 7 + 1);
        let records = member.changelog(&shop, partition, target);
        assert_eq!(records.len(), 60, "partition {partition}");
        assert_eq!(records.last().unwrap().offset, highest[&partition]);
    }
    // And the aborted batch is done again by the same producer.
    member.stage(&shop, turn, 1);
    member.commit(turn).unwrap();
    member.bus.close(Farewell::Restart).unwrap();
}

#[test]
fn the_high_watermark_counts_an_open_transaction_that_readers_do_not_see() {
    let shop = Shop::open("open");
    let mut member = shop.member("one");
    member.until(&shop, "all partitions assigned", |member| {
        member.held.len() == 4
    });
    member.stage(&shop, Turn::A, 3);
    member.commit(Turn::A).unwrap();
    member.changelog_at(&shop, 2, 3 + 1);
    member.stage(&shop, Turn::B, 5);
    member.changelog_at(&shop, 2, 3 + 1 + 5);
    // A reader gets to the last stable offset, which is before it: not at the end.
    assert_eq!(member.changelog(&shop, 2, NextOffset::at(4)).len(), 3);
    member.bus.open_changelog(2, NextOffset::at(4)).unwrap();
    let waited = member
        .bus
        .read_changelogs(Duration::from_millis(300))
        .unwrap();
    assert!(
        waited.iter().all(|(_, chunk)| chunk.records.is_empty()
            && chunk.position == Some(NextOffset::at(4)))
    );
    member.commit(Turn::B).unwrap();
    let target = member.changelog_at(&shop, 2, 3 + 1 + 5 + 1);
    assert_eq!(member.changelog(&shop, 2, target).len(), 8);
    member.bus.close(Farewell::Restart).unwrap();
}

#[test]
fn partitions_move_with_all_their_inputs_when_a_member_joins_and_leaves() {
    let shop = Shop::open("moves");
    shop.feed(5);
    let mut one = shop.member("one");
    one.until(&shop, "all partitions assigned", |one| one.held.len() == 4);
    one.until(&shop, "read to the fresh ends", Member::caught_up);
    // A transaction that is open when the rebalance comes: it commits before the answer, or the group has moved on and it aborts.
    one.stage(&shop, Turn::A, 2);
    let mut two = shop.member("two");
    let mut outcome = None;
    let deadline = shop.clock.elapsed() + PATIENCE;
    while one.held.len() != 2 || two.held.len() != 2 {
        if outcome.is_none() && one.held.len() == 4 {
            match one.bus.poll(Duration::from_millis(10)).unwrap() {
                Polled::Revoked { partitions, lost } => {
                    assert!(!lost && partitions.len() == 2);
                    outcome = Some(one.commit(Turn::A));
                    one.bus.unassign(&partitions, lost).unwrap();
                    for partition in partitions {
                        one.held.remove(&partition);
                        one.next.retain(|(_, of), _| *of != partition);
                    }
                }
                Polled::Assigned(none) => one.bus.assign(&none).unwrap(),
                Polled::Nothing | Polled::Record(_) | Polled::Grown(_) | Polled::Doubted(_) => {}
            }
        } else {
            one.turn(Duration::from_millis(10));
        }
        two.turn(Duration::from_millis(10));
        assert!(
            one.held.is_disjoint(&two.held),
            "EO-5: two owners of a partition"
        );
        assert!(
            shop.clock.elapsed() < deadline,
            "never: two partitions each"
        );
    }
    let committed = match outcome.unwrap() {
        Ok(()) => true,
        Err(failed) => {
            assert_eq!(failed.remedy, Remedy::Abort, "{failed}");
            one.bus.abort(Turn::A).unwrap();
            false
        }
    };
    assert!(!one.bus.suspect(Turn::A));
    // What one committed is not read again by two.
    two.until(&shop, "two read to the fresh ends", Member::caught_up);
    assert_eq!(two.read.len(), if committed { 0 } else { 2 * 2 * 5 });

    // Leaving for good hands over at once, not after the session.
    one.stage(&shop, Turn::B, 1);
    let before = shop.clock.elapsed();
    one.bus.close(Farewell::Leave).unwrap();
    two.until(&shop, "everything is two's", |two| two.held.len() == 4);
    let took = shop.clock.elapsed() - before;
    assert!(took < Duration::from_secs(5), "took {took:?}");
    two.bus.close(Farewell::Restart).unwrap();

    // A restart under the same name gets everything back at once, although the member did not leave.
    let before = shop.clock.elapsed();
    let mut again = shop.member("two");
    again.until(&shop, "assigned again", |again| again.held.len() == 4);
    let took = shop.clock.elapsed() - before;
    assert!(took < Duration::from_secs(5), "took {took:?}");
}

#[test]
fn a_fenced_member_joins_anew_when_the_ghost_is_forgotten_and_yields_to_a_live_namesake() {
    let shop = Shop::open("ghost");
    let mut one = shop.member("one");
    one.until(&shop, "all partitions assigned", |one| one.held.len() == 4);
    // Another client joins under the same name and is gone without a word: as after a join whose answer was lost.
    let mut ghost = shop.member("one");
    ghost.until(&shop, "the ghost is a member", |ghost| {
        ghost.held.len() == 4
    });
    one.until(&shop, "fenced", |one| one.lost && one.held.is_empty());
    ghost.bus.close(Farewell::Restart).unwrap();
    one.until(&shop, "all partitions assigned again", |one| {
        one.held.len() == 4
    });
    // The ghost's producers had our producers' names too.
    let bus = &mut one.bus;
    shop.until("the producer is made anew", || bus.remake(Turn::A).ok());
    one.stage(&shop, Turn::A, 1);
    one.commit(Turn::A).unwrap();

    // A namesake that goes on living has the name.
    let mut namesake = shop.member("one");
    let deadline = shop.clock.elapsed() + PATIENCE;
    let refused = loop {
        namesake.turn(Duration::from_millis(5));
        match one.bus.poll(Duration::from_millis(5)) {
            Ok(Polled::Revoked { partitions, lost }) => {
                one.bus.unassign(&partitions, lost).unwrap();
            }
            Ok(Polled::Assigned(partitions)) => assert!(partitions.is_empty()),
            Ok(Polled::Nothing | Polled::Record(_) | Polled::Grown(_) | Polled::Doubted(_)) => {}
            Err(refused) => break refused,
        }
        assert!(shop.clock.elapsed() < deadline, "never: refused");
    };
    assert_eq!(refused.remedy, Remedy::Fatal, "{refused}");
    assert_eq!(namesake.held.len(), 4);
}

#[test]
fn a_newer_producer_of_the_same_name_ends_the_older_ones_transaction() {
    let shop = Shop::open("fence");
    let mut member = shop.member("one");
    member.until(&shop, "all partitions assigned", |member| {
        member.held.len() == 4
    });
    // Made anew in the middle of a transaction: the broker aborts the old one.
    member.stage(&shop, Turn::A, 4);
    let bus = &mut member.bus;
    shop.until("the producer is made anew", || bus.remake(Turn::A).ok());
    member.stage(&shop, Turn::A, 1);
    member.commit(Turn::A).unwrap();

    // Taken over by somebody who is not in the group: the next call says so, and the membership is not to blame.
    member.stage(&shop, Turn::B, 4);
    let usurper: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &shop.broker.address)
        .set("transactional.id", format!("{}/one-0-b", shop.app))
        .create()
        .unwrap();
    usurper.init_transactions(PATIENCE).unwrap();
    assert_eq!(member.commit(Turn::B).unwrap_err().remedy, Remedy::Remake);
    assert!(member.bus.suspect(Turn::B));
    assert_eq!(
        member.bus.begin(Turn::B).unwrap_err().remedy,
        Remedy::Remake
    );
    drop(usurper);
    let bus = &mut member.bus;
    shop.until("the producer is made anew", || bus.remake(Turn::B).ok());
    member.stage(&shop, Turn::B, 2);
    member.commit(Turn::B).unwrap();
    let target = member.bus.changelog_watermarks(1).unwrap().high;
    assert_eq!(member.changelog(&shop, 1, target).len(), 1 + 2);
}

#[test]
#[should_panic(expected = "EO-4")]
fn a_transaction_without_offsets_is_a_broken_invariant() {
    let shop = Shop::open("empty");
    let mut member = shop.member("one");
    member.bus.begin(Turn::A).unwrap();
    let _never = member.bus.send_offsets(Turn::A, &[]);
}

const CHILD: &str = "TIDEGATE_TEST_CHILD";

/// The victim of the next test: commits one transaction, leaves a second one open, offsets sent, and waits to be killed.
#[test]
fn victim() {
    let Ok(app) = std::env::var(CHILD) else {
        return;
    };
    let shop = Shop::named(app);
    let mut member = shop.member("one");
    member.until(&shop, "all partitions assigned", |member| {
        member.held.len() == 4
    });
    member.until(&shop, "read to the fresh ends", Member::caught_up);
    member.stage(&shop, Turn::A, 1);
    member
        .next
        .values_mut()
        .for_each(|next| *next = NextOffset::at(5));
    member.commit(Turn::A).unwrap();
    member.stage(&shop, Turn::B, 1);
    let all = member.progress();
    for progress in all {
        member
            .next
            .insert((progress.input, progress.partition), progress.delivered);
    }
    let positions = member.positions();
    member.bus.send_offsets(Turn::B, &positions).unwrap();
    println!("transaction open");
    loop {
        member.bus.poll(Duration::from_secs(1)).unwrap();
    }
}

fn spawn_victim(shop: &Shop) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env(CHILD, &shop.app)
        .env("TIDEGATE_BOOTSTRAP", &shop.broker.address)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let open = lines
        .map_while(Result::ok)
        .any(|line| line.contains("transaction open"));
    assert!(open, "the victim ended before its time");
    child
}

#[test]
fn a_killed_member_is_back_at_once_and_what_it_left_open_is_gone() {
    let shop = Shop::open("kill");
    shop.feed(20);
    let mut child = spawn_victim(&shop);
    child.kill().unwrap();
    child.wait().unwrap();

    let before = shop.clock.elapsed();
    let mut member = shop.member("one");
    let connected = shop.clock.elapsed() - before;
    member.until(&shop, "assigned again", |member| member.held.len() == 4);
    let assigned = shop.clock.elapsed() - before;
    member.until(&shop, "a first record", |member| !member.read.is_empty());
    let read = shop.clock.elapsed() - before;
    println!("connected {connected:?}, assigned {assigned:?}, first record {read:?}");
    assert!(read < Duration::from_secs(5), "took {read:?}");
    member.until(&shop, "read to the fresh ends", Member::caught_up);
    // Positions 5 were committed with a; those that went to b did not count.
    assert_eq!(member.read.len(), 2 * 4 * 15);
    for partition in 0..PARTITIONS {
        let target = member.bus.changelog_watermarks(partition).unwrap().high;
        assert_eq!(member.changelog(&shop, partition, target).len(), 1);
    }
    let from_events = |record: &&Record| record.input == EVENTS;
    assert_eq!(member.read.iter().filter(from_events).count(), 4 * 15);
    member.stage(&shop, Turn::A, 1);
    member.commit(Turn::A).unwrap();

    // What was read and committed can be trimmed, and the start tells.
    let admin = Admin::connect(&shop.settings("admin", 0)).unwrap();
    let keep_from: Vec<(i32, NextOffset)> = (0..PARTITIONS)
        .map(|partition| (partition, member.next[&(EVENTS, partition)]))
        .collect();
    admin
        .trim(&format!("{}-events", shop.app), &keep_from)
        .unwrap();
    let partitions: Vec<i32> = (0..PARTITIONS).collect();
    let ends = member.bus.input_watermarks(&partitions).unwrap();
    assert_eq!(ends.len(), 2 * partitions.len());
    for (input, partition, ends) in ends {
        let kept = keep_from.iter().find(|(of, _)| *of == partition);
        let wanted = match (input, kept) {
            (EVENTS, Some((_, next))) => *next,
            _ => NextOffset::START,
        };
        assert_eq!(ends.low, wanted, "input {input:?} partition {partition}");
    }
}

#[test]
fn of_the_events_everything_committed_but_the_last_is_deleted_and_nothing_else() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .init();
    let shop = Shop::open("trim");
    shop.feed(10);
    let mut settings = shop.settings("one", 0);
    settings.trim_every = Duration::from_millis(100);
    let mut member = shop.member_of(settings);
    member.until(&shop, "everything is read", |member| {
        member.read.len() == 2 * 4 * 10 && member.caught_up()
    });
    let to = |member: &mut Member, next: i64| {
        for ((input, _), at) in &mut member.next {
            if *input == EVENTS {
                *at = NextOffset::at(next);
            }
        }
    };
    to(&mut member, 5);
    member.stage(&shop, Turn::A, 1);
    member.commit(Turn::A).unwrap();
    // The rest of them in a transaction that stays open, while trimming goes on.
    to(&mut member, 9);
    member.stage(&shop, Turn::B, 1);
    let positions = member.positions();
    member.bus.send_offsets(Turn::B, &positions).unwrap();
    member.until(&shop, "four are deleted", |member| {
        member.first_events() == [4; 4]
    });
    let since = shop.clock.elapsed();
    member.until(&shop, "it was trimmed again and again", |member| {
        assert!(member.first_events().iter().all(|first| *first == 4));
        shop.clock.elapsed() > since + Duration::from_secs(1)
    });
    member.bus.commit(Turn::B).unwrap();
    member.until(&shop, "all but the last", |member| {
        member.first_events() == [8; 4]
    });
}
