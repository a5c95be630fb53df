//! What makes sense of the registry's settings only together.

use super::problem::Problem;
use super::sections::{Config, Format};

impl Config {
    /// Does anything need the schema registry?
    #[must_use]
    pub fn needs_registry(&self) -> bool {
        let inputs = self.inputs.iter().map(|input| input.format);
        let channels = self.channels.values().map(|channel| channel.format);
        let log = std::iter::once(self.topics.decisions_format);
        inputs
            .chain(channels)
            .chain(log)
            .any(|format| format == Format::Avro)
    }

    pub(super) fn check_registry(&self, problems: &mut Vec<Problem>) {
        let registry = &self.registry;
        if self.topics.decisions_format == Format::AvroSingleObject {
            problems.push(Problem::of(
                "topics.decisions_format",
                "is not for the decision log",
                "write json, or avro with a registry",
            ));
        }
        let mut wrong = |path: &str, what: &str, remedy: &str| {
            problems.push(Problem::of(path, what, remedy));
        };
        match registry.url.as_deref() {
            None if self.needs_registry() => wrong(
                "registry.url",
                "is required where something is in the format `avro`",
                "write the registry's address, such as https://registry:8081",
            ),
            None => {}
            Some(url) => {
                let rest = url
                    .strip_prefix("http://")
                    .or_else(|| url.strip_prefix("https://"));
                let authority = rest.and_then(|rest| rest.split('/').next());
                if authority.is_none_or(str::is_empty) || url.contains(['?', '#', ' ']) {
                    wrong(
                        "registry.url",
                        "is no address of a registry",
                        "write it with its scheme: https://registry:8081",
                    );
                } else if authority.is_some_and(|authority| authority.contains('@')) {
                    wrong(
                        "registry.url",
                        "holds a login, which would be printed with it",
                        "write `registry.user` and `registry.password`",
                    );
                }
            }
        }
        if registry.user.is_some() != registry.password.is_some() {
            wrong(
                "registry.user",
                "and `registry.password` go together",
                "write both or neither",
            );
        }
        if registry.user.is_some() && registry.token.is_some() {
            wrong(
                "registry.token",
                "stands beside a name and a password",
                "write one login",
            );
        }
    }
}
