//! What a running process takes of a changed configuration, and what waits for a restart.

use std::collections::BTreeSet;

use super::node::{Node, Value};
use super::overrides::join;
use super::sections::Config;
use super::setting::Setting as _;

impl Config {
    /// This configuration with what a running process takes of a new one: flows, policy with its control group, and of channels mode,
    /// cost, quiet hours and breaker.
    #[must_use]
    pub fn taking(&self, new: &Self) -> Self {
        let mut taken = Self {
            flows: new.flows.clone(),
            policy: new.policy.clone(),
            control_group: new.control_group,
            control_salt: new.control_salt.clone(),
            ..self.clone()
        };
        for (name, channel) in &mut taken.channels {
            if let Some(new) = new.channels.get(name) {
                channel.mode = new.mode;
                channel.cost = new.cost.clone();
                channel.quiet_hours.clone_from(&new.quiet_hours);
                channel.breaker = new.breaker.clone();
            }
        }
        taken
    }

    /// The settings in which two configurations differ, by path; secrets by kind only.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        compare(&self.print(), &other.print(), "", &mut found);
        // A secret prints as its kind alone.
        for (section, differs) in [
            ("identity", self.identity != other.identity),
            ("kafka", self.kafka != other.kafka),
        ] {
            if differs && !found.iter().any(|path| path.starts_with(section)) {
                found.push(format!("a secret of {section}"));
            }
        }
        found
    }
}

fn compare(one: &Node, other: &Node, path: &str, found: &mut Vec<String>) {
    if let (Value::Map(_), Value::Map(_)) = (&one.value, &other.value) {
        let entries = [one, other].into_iter().filter_map(Node::entries).flatten();
        let keys: BTreeSet<&String> = entries.map(|(key, _)| key).collect();
        let nothing = Node::unwritten(Value::Null);
        for key in keys {
            let (one, other) = (one.get(key), other.get(key));
            let path = join(path, key);
            compare(
                one.unwrap_or(&nothing),
                other.unwrap_or(&nothing),
                &path,
                found,
            );
        }
    } else if one.value != other.value {
        found.push(path.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mode, Overrides};

    #[test]
    fn flows_policy_and_how_channels_are_used_are_taken_and_the_rest_is_named() {
        let text = include_str!("../trial/built_in.yaml");
        let old = Config::parse("t.yaml", text, &Overrides::default()).unwrap();
        let flags = [
            "policy.min_gap=1h",
            "control_group=5%",
            "flows=[other]",
            "channels.sms.mode=stopped",
            "channels.sms.cost=0.07",
            "channels.sms.quiet_hours={from: \"22:00\", to: \"07:00\"}",
            "channels.sms.breaker.failures=3",
            "channels.sms.needs_address=false",
            "commit.max_records=7",
            "identity.address_key=another-secret-of-theirs",
        ];
        let flags = Overrides {
            flags: flags.map(str::to_owned).into(),
            ..Overrides::default()
        };
        let new = Config::parse("t.yaml", text, &flags).unwrap();
        let taken = old.taking(&new);
        assert_eq!(taken.channels["sms"].mode, Mode::Stopped);
        assert_eq!((&taken.policy, &taken.flows), (&new.policy, &new.flows));
        assert_eq!(taken.control_group, new.control_group);
        let (sms, wanted) = (&taken.channels["sms"], &new.channels["sms"]);
        assert_eq!(sms.quiet_hours, wanted.quiet_hours);
        assert_eq!((&sms.cost, &sms.breaker), (&wanted.cost, &wanted.breaker));
        let left = [
            "channels.sms.needs_address",
            "commit.max_records",
            "a secret of identity",
        ];
        assert_eq!(taken.differences(&new), left);
    }
}
