//! A shop of one partition, driven through `step` alone: the scenarios and the properties run on it.

#![allow(dead_code, reason = "each test crate uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate::decision::Verdict;
use tidegate::engine::{Input, Ledger, Plan, step};
use tidegate::event::{DecodeContext, DecodeRules, EventType, Origin, json};
use tidegate::flow::FlowSet;
use tidegate::flow::compile::{FlowFile, Surroundings, compile};
use tidegate::policy::{Channel, ChannelMode, Policy};
use tidegate::profile::{Profile, SectionId};
use tidegate::value::{ProfileKey, Timestamp};

/// The shipped flows, as files.
pub(crate) fn shipped() -> Vec<(String, String)> {
    [
        (
            "abandoned_cart.yaml",
            include_str!("../../deploy/flows/abandoned_cart.yaml"),
        ),
        (
            "welcome.yaml",
            include_str!("../../deploy/flows/welcome.yaml"),
        ),
        (
            "post_purchase.yaml",
            include_str!("../../deploy/flows/post_purchase.yaml"),
        ),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into()
}

fn channel(name: &str) -> (Arc<str>, Channel) {
    let name: Arc<str> = name.into();
    let channel = Channel {
        name: Arc::clone(&name),
        topic: Arc::clone(&name),
        mode: ChannelMode::Active,
        quiet_hours: Vec::new(),
        cost: 0,
        budget: None,
        breaker: None,
        needs_address: true,
        expose_address: false,
        expose: Vec::new(),
        reports: vec![
            EventType::Sent,
            EventType::Delivered,
            EventType::Opened,
            EventType::Clicked,
        ],
    };
    (name, channel)
}

/// A policy in which nothing stands in the way.
pub(crate) fn open_policy() -> Policy {
    Policy {
        channels: ["email", "push", "sms"].into_iter().map(channel).collect(),
        control_salt: "salt".to_owned(),
        address_key: [7; 32],
        ..Policy::default()
    }
}

pub(crate) fn flows(files: &[(String, String)], policy: &Policy) -> FlowSet {
    let files: Vec<FlowFile<'_>> = files
        .iter()
        .map(|(name, text)| FlowFile { name, text })
        .collect();
    compile(&files, &Surroundings::of(policy)).unwrap_or_else(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{}", all.join("\n"))
    })
}

/// A shop of one partition: profiles, their timers, and what was decided.
pub(crate) struct Shop {
    pub(crate) plan: Plan,
    pub(crate) ledger: Ledger,
    rules: DecodeRules,
    pub(crate) profiles: BTreeMap<ProfileKey, Profile>,
    pub(crate) stored: BTreeMap<ProfileKey, BTreeMap<(SectionId, u8), Vec<u8>>>,
    pub(crate) clock: Timestamp,
    offset: i64,
    /// Does every step check that the profile survives being stored? Off where a hundred thousand walks ask something else.
    pub(crate) is_checked: bool,
    pub(crate) verdicts: Vec<Verdict>,
}

impl Shop {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            rules: DecodeRules::of_shop(&plan.policy.currency),
            plan,
            ledger: Ledger::new(0),
            profiles: BTreeMap::new(),
            stored: BTreeMap::new(),
            clock: Timestamp::ZERO,
            offset: 0,
            is_checked: true,
            verdicts: Vec::new(),
        }
    }

    /// Fires what is due up to `until`, in due order.
    pub(crate) fn run_to(&mut self, until: Timestamp) {
        loop {
            let next = self
                .profiles
                .iter()
                .filter_map(|(key, profile)| Some((profile.next_due()?, key.clone())))
                .min();
            let Some((due, key)) = next.filter(|(due, _)| *due <= until) else {
                break;
            };
            self.clock = self.clock.max(due);
            let profile = self.profiles.get_mut(&key).unwrap();
            step(
                &self.plan,
                &mut self.ledger,
                profile,
                Input::Timer,
                self.clock,
                &mut self.verdicts,
            );
            self.after(&key);
        }
        self.clock = self.clock.max(until);
    }

    pub(crate) fn event(&mut self, line: &str, record_time: Option<Timestamp>, history: bool) {
        let context = DecodeContext {
            rules: &self.rules,
            record_timestamp: record_time,
        };
        let event =
            json::decode(line.as_bytes(), &context).unwrap_or_else(|e| panic!("{e}: {line}"));
        let at = record_time.unwrap_or(event.effective_time);
        self.run_to(at);
        let Some(key) = event.profile_key() else {
            return;
        };
        let origin = Origin {
            topic: "t".into(),
            partition: 0,
            offset: self.offset,
            timestamp: at,
        };
        self.offset += 1;
        let profile = self
            .profiles
            .entry(key.clone())
            .or_insert_with(|| Profile::new(key.clone()));
        let input = Input::Event {
            event: &event,
            origin: &origin,
            history,
        };
        step(
            &self.plan,
            &mut self.ledger,
            profile,
            input,
            self.clock,
            &mut self.verdicts,
        );
        self.after(&key);
    }

    /// What must hold after every step: the changes, applied to what is stored, give the same profile back, and its timer is found
    /// in the stored bytes (TM-2).
    fn after(&mut self, key: &ProfileKey) {
        if !self.is_checked {
            return;
        }
        let profile = self.profiles.get_mut(key).unwrap();
        let stored = self.stored.entry(key.clone()).or_default();
        profile.take_changes(&mut |section, chunk, value| match value {
            Some(value) => {
                stored.insert((section, chunk), value.to_vec());
            }
            None => assert!(
                stored.remove(&(section, chunk)).is_some(),
                "deleted what was never stored"
            ),
        });
        let mut restored = Profile::new(key.clone());
        for ((section, chunk), value) in stored.iter() {
            restored.put_section(*section, *chunk, value).unwrap();
        }
        assert!(restored == *profile, "a restored profile differs");
        let running = stored.get(&(SectionId::Running, 0));
        assert_eq!(
            running.and_then(|value| Profile::due_of_stored(value)),
            profile.next_due()
        );
    }
}
