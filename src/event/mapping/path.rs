//! A path into a record: `properties.products[0].sku`, `$key`, `$header.tenant`.
//!
//! ```text
//! path  = [root] hop*        root = $record | $key | $header.NAME | $time     (without one: the record, or in a list its element)
//! hop   = NAME | ["any name"] | [3] | [only]                                  joined by dots where two names meet
//! ```
//! `[only]` is the element of a list that must not have a second one: where two mean two events, one of them would be lost.

use std::borrow::Cow;
use std::fmt;

/// Where a path begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// Where the field stands: the record, or the element of the list that is being mapped.
    Here,
    /// The record's value, also from within a list.
    Record,
    /// The record's key, as text.
    Key,
    /// The record's timestamp.
    Time,
    /// The last header of that name, as text.
    Header(String),
}

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// Into an object.
    Name(Box<str>),
    /// Into a list, from 0.
    Index(usize),
    /// Into a list of at most one.
    Only,
}

/// A path as written and as walked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) root: Root,
    pub(super) hops: Vec<Hop>,
    written: Box<str>,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// Why a text is no path, for people, and what to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) &'static str, pub(super) &'static str);

/// How deep a path may go; JSON itself is read no deeper than 128.
const DEEPEST: usize = 32;

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub(super) fn parse(text: &str) -> Result<Self, Unreadable> {
        let (root, rest) = root(text)?;
        let mut hops = Vec::new();
        let mut rest = rest;
        while !rest.is_empty() {
            let (hop, after) = hop(rest, hops.is_empty() && root == Root::Here)?;
            hops.push(hop);
            rest = after;
        }
        if hops.len() > DEEPEST {
            return Err(Unreadable("is too deep", "a path has at most 32 steps"));
        }
        if hops.is_empty() && root == Root::Here {
            return Err(Unreadable(
                "is empty",
                "write a path such as properties.order_id",
            ));
        }
        Ok(Self {
            root,
            hops,
            written: text.into(),
        })
    }
}

fn root(text: &str) -> Result<(Root, &str), Unreadable> {
    if !text.starts_with('$') {
        return Ok((Root::Here, text));
    }
    let ends = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
    if let Some(rest) = text.strip_prefix("$record").filter(|rest| ends(rest)) {
        return Ok((Root::Record, rest));
    }
    if let Some(name) = text
        .strip_prefix("$header.")
        .filter(|name| !name.is_empty())
    {
        // A header's name may hold dots and anything else.
        return Ok((Root::Header(name.to_owned()), ""));
    }
    match text {
        "$key" => Ok((Root::Key, "")),
        "$time" => Ok((Root::Time, "")),
        _ => Err(Unreadable(
            "begins with no known root",
            "the roots are $record, $key, $time and $header.NAME; a name that begins with $ is written [\"$name\"]",
        )),
    }
}

/// The first hop of `rest`; `bare`: a name may stand here without a dot before it.
fn hop(rest: &str, bare: bool) -> Result<(Hop, &str), Unreadable> {
    const NAME: Unreadable = Unreadable(
        "has a step without a name",
        "join names by single dots; a name with dots, brackets or quotes is written [\"a.b\"]",
    );
    if let Some(inside) = rest.strip_prefix("[\"") {
        let (name, after) = inside.split_once("\"]").ok_or(NAME)?;
        return Ok((Hop::Name(name.into()), after));
    }
    if let Some(inside) = rest.strip_prefix('[') {
        let (index, after) = inside.split_once(']').ok_or(NAME)?;
        if index == "only" {
            return Ok((Hop::Only, after));
        }
        let index = index.parse().map_err(|_| {
            Unreadable(
                "has brackets that hold no place in a list",
                "write [0] for the first, [only] for the only one, [\"name\"] for a name",
            )
        })?;
        return Ok((Hop::Index(index), after));
    }
    let named = match rest.strip_prefix('.') {
        Some(named) if !bare => named,
        Some(_) => return Err(NAME),
        None if bare => rest,
        None => return Err(NAME),
    };
    let end = named.find(['.', '[', ']', '"']).unwrap_or(named.len());
    let (name, after) = named.split_at(end);
    if name.is_empty() {
        return Err(NAME);
    }
    Ok((Hop::Name(name.into()), after))
}

/// How the names of a record are compared with those of a mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Letter by letter.
    #[default]
    Exact,
    /// Letters and digits only, in any case: `order_id`, `orderId`, `Order ID` and `ORDER-ID` are one.
    Loose,
}

impl Spelling {
    /// Do these mean the same?
    pub(super) fn same(self, ours: &str, theirs: &str) -> bool {
        match self {
            Self::Exact => ours == theirs,
            Self::Loose => loose(ours).eq(loose(theirs)),
        }
    }

    /// The one spelling of all that mean the same: a key for tables.
    pub(super) fn folded(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::Exact => Cow::Borrowed(name),
            Self::Loose => Cow::Owned(loose(name).collect()),
        }
    }
}

fn loose(name: &str) -> impl Iterator<Item = char> {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .map(|c| c.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_through_names_places_and_names_that_need_quotes() {
        let path = Path::parse(r#"a.b-c[0]["d.e"][only].f"#).unwrap();
        let name = |name: &str| Hop::Name(name.into());
        let hops = [
            name("a"),
            name("b-c"),
            Hop::Index(0),
            name("d.e"),
            Hop::Only,
            name("f"),
        ];
        assert_eq!(
            (path.root, path.hops.as_slice()),
            (Root::Here, hops.as_slice())
        );
        let path = Path::parse("$record[1]").unwrap();
        assert_eq!((path.root, path.hops), (Root::Record, vec![Hop::Index(1)]));
        let path = Path::parse("$header.x.tenant").unwrap();
        assert_eq!(
            (path.root, path.hops),
            (Root::Header("x.tenant".to_owned()), vec![])
        );
    }

    #[test]
    fn what_is_no_path_is_told_why() {
        for text in [
            "", ".a", "a..b", "a.", "a[x]", "a[", "a]b", "$keys", "$header.", "a\"b", "a[0]b",
        ] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn loose_names_differ_in_letters_and_digits_only() {
        for theirs in ["Order ID", "orderId", "ORDER-ID", "order_id"] {
            assert!(Spelling::Loose.same("order_id", theirs), "{theirs}");
        }
        assert!(!Spelling::Loose.same("order_id", "order_ids"));
        assert!(!Spelling::Exact.same("order_id", "orderId"));
    }
}
