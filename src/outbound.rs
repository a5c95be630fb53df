//! stub
use crate::bus::{Outgoing, Record};
use crate::decision::Verdict;
use crate::event::{DecodeError, Origin};
use crate::policy::Policy;
use std::sync::Arc;
/// x
#[derive(Debug)]
pub struct OutboundPlan {
    /// x
    pub changelog_topic: Arc<str>,
}
/// x
pub fn render(_v: &Verdict, _p: &Policy, _o: &OutboundPlan, _out: &mut Vec<Outgoing>) {}
/// x
pub fn dead_letter(_r: &Record, _o: &Origin, _e: &DecodeError, _p: &OutboundPlan) -> Outgoing {
    unreachable!()
}
