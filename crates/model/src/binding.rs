//! I11: a target and its progress belong together. Each sink tells what it finds at a claim and stores what progress is bound to;
//! whether that fits is decided here, for all of them.
//!
//! What does not fit is refused, at every start again, until the person who runs the pipeline restores what is missing or
//! *adopts* the target as it is: by a token that the refusal tells and the file repeats. A token is made of the facts and of a
//! random salt that the refusal leaves with the progress. Every claim that succeeds uses the salt up, whether the token was needed
//! or not, and lost progress takes it along: so no token is good twice.

#[cfg(test)]
mod tests;

use crate::contract::{PipelineIdentity, Trouble, TroubleKind};
use crate::key::KeySchema;

/// What adopting a target without progress means.
const BEGINS_ANEW: &str = "the pipeline begins anew where `start` says; changes that were carried before may come again and \
                           cover newer ones, and what the stream does not hold any more stays missing";

/// What the progress of a pipeline was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The table or topic that is written to, in the sink's own words.
    pub target: String,
    /// The DynamoDB table that is read, with its key.
    pub source: String,
}

impl Binding {
    /// What a pipeline's file says.
    pub fn new(target: impl Into<String>, identity: &PipelineIdentity, keys: &KeySchema) -> Self {
        let keys: Vec<String> =
            keys.attributes().map(|attribute| format!("{:?} {:?}", attribute.name, attribute.kind)).collect();
        Self { target: target.into(), source: format!("{} with the key {}", identity.stream.table, keys.join(", ")) }
    }
}

/// What is in a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// It is not there.
    Missing,
    /// There is nothing in it.
    Empty,
    /// It has rows or messages.
    Filled,
}

/// What a claim finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetFacts {
    /// The pipeline's name.
    pub pipeline: String,
    /// What its file says.
    pub wanted: Binding,
    /// What its progress was made for. Nothing in progress from before this was stored.
    pub bound: Option<Binding>,
    /// It has progress. Where it has begun, that takes a shard: a stream that is known keeps one at the least.
    pub has_progress: bool,
    /// A shard was stored since its progress was bound. Never taken back, whatever is forgotten later.
    pub has_begun: bool,
    /// It has written to its target, or was bound to one that had something in it. Never taken back, whatever is forgotten later.
    pub has_written: bool,
    /// What is in the target that the file names.
    pub state: TargetState,
    /// That one has the name of the bound one and is another: made again, or it lost what was written since it was bound.
    pub is_another: bool,
    /// The target has more in it than its progress can know of.
    pub is_ahead: bool,
    /// A pipeline that was bound to the same target after this one.
    pub newer_pipeline: Option<String>,
    /// What the last refusal left for its token.
    pub salt: Option<String>,
}

/// What a claim does with the binding. Whichever it is, the salt is used up: no token outlives a start that succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It stands.
    Bound,
    /// It is to be stored, in the place of any other.
    Bind,
    /// So it is, because the file has the token.
    Adopt,
}

impl Fit {
    /// What has become of the token that the file has.
    pub fn token_words(self) -> &'static str {
        match self {
            Self::Adopt => "the token was used: `adopt` can be removed from the file",
            Self::Bound | Self::Bind => "the token in the file was not needed and does nothing: `adopt` can be removed",
        }
    }
}

/// Why target and progress do not belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The target has something in it, and there is no progress.
    NoProgress,
    /// Part of the progress is gone. Only a sink that keeps it in several places can find that.
    ProgressGone,
    /// Another pipeline was bound to it.
    OtherPipeline,
    /// The progress is of another table, or of another key.
    OtherSource,
    /// The progress is of another target.
    OtherTarget,
    /// The target is gone.
    Missing,
    /// The target was made again, or has lost what it had.
    Replaced,
    /// The progress is older than the target.
    Ahead,
}

impl TargetFacts {
    /// What is to become of the binding. `adopt` is what the file says.
    ///
    /// # Errors
    /// When target and progress do not belong together, and nobody has adopted them as they are.
    pub fn fit(&self, adopt: Option<&str>) -> Result<Fit, Misfit> {
        let Some(misfit) = self.misfit() else {
            return Ok(if self.stands() { Fit::Bound } else { Fit::Bind });
        };
        self.adopted(misfit, adopt)
    }

    /// The same where the sink itself has found that they do not belong together.
    ///
    /// # Errors
    /// When nobody has adopted them as they are.
    pub fn adopted(&self, misfit: Misfit, adopt: Option<&str>) -> Result<Fit, Misfit> {
        let token = self.salt.as_ref().map(|salt| self.token(misfit, salt));
        if token.is_some() && token.as_deref() == adopt { Ok(Fit::Adopt) } else { Err(misfit) }
    }

    /// Whether a claim that comes to this stores that something was written, which must be in the target from then on. An
    /// empty target that was adopted has lost nothing any more.
    pub fn is_written(&self, fit: Fit) -> bool {
        self.state == TargetState::Filled || (self.has_written && fit == Fit::Bind)
    }

    /// What has become of the target since the claim, if a lane must not go on with it.
    pub fn loss(&self) -> Option<Misfit> {
        match self.state {
            TargetState::Missing => Some(Misfit::Missing),
            _ => self.is_another.then_some(Misfit::Replaced),
        }
    }

    /// The progress was made for the very target and source that are there now.
    fn stands(&self) -> bool {
        let is_there = self.state != TargetState::Missing && !self.is_another && !self.is_ahead;
        self.has_progress && is_there && self.bound.as_ref() == Some(&self.wanted)
    }

    fn misfit(&self) -> Option<Misfit> {
        if !self.has_progress || !self.has_written {
            // Nothing is lost with a target that nothing was written to. What others wrote is there all the same.
            let is_known = self.stands() || (self.has_progress && self.bound.is_none());
            let is_lost = self.has_begun && !self.has_progress;
            return match &self.newer_pipeline {
                Some(_) => Some(Misfit::OtherPipeline),
                None if is_lost => Some(Misfit::NoProgress),
                None if self.has_progress && self.is_ahead => Some(Misfit::Ahead),
                None => (self.state == TargetState::Filled && !is_known).then_some(Misfit::NoProgress),
            };
        }
        match &self.bound {
            Some(bound) if bound.source != self.wanted.source => Some(Misfit::OtherSource),
            Some(bound) if bound.target != self.wanted.target => Some(Misfit::OtherTarget),
            _ if self.newer_pipeline.is_some() => Some(Misfit::OtherPipeline),
            _ if self.state == TargetState::Missing => Some(Misfit::Missing),
            _ if self.is_ahead => Some(Misfit::Ahead),
            _ => self.is_another.then_some(Misfit::Replaced),
        }
    }

    /// For exactly these facts.
    fn token(&self, misfit: Misfit, salt: &str) -> String {
        let bound = self.bound.as_ref().map_or(["", ""], |bound| [&*bound.target, &*bound.source]);
        let newer = self.newer_pipeline.as_deref().unwrap_or_default();
        let [target, source] = bound;
        let facts =
            [salt, misfit.code(), &self.pipeline, &self.wanted.target, &self.wanted.source, target, source, newer];
        format!("{:08x}", crc32fast::hash(facts.join("\n").as_bytes()))
    }

    /// The refusal, with both ways on. `salt` is what is stored now.
    pub fn refusal(&self, misfit: Misfit, salt: &str) -> Trouble {
        self.refusal_with(misfit, salt, "")
    }

    /// The refusal with what is to be known of restoring in this sink.
    pub fn refusal_with(&self, misfit: Misfit, salt: &str, restoring: &str) -> Trouble {
        let (message, restore, adopted) = self.words(misfit);
        let token = self.token(misfit, salt);
        Trouble::new(TroubleKind::DataAtRisk, misfit.code(), message).advise(format!(
            "{restore}{restoring}; or write adopt = \"{token}\" into the sink's section once and start again: {adopted}"
        ))
    }

    /// The trouble of a lane that finds this loss while the pipeline runs.
    pub fn loss_trouble(&self, misfit: Misfit) -> Trouble {
        let (message, ..) = self.words(misfit);
        Trouble::new(TroubleKind::DataAtRisk, misfit.code(), format!("while the pipeline ran: {message}"))
            .advise("restore the target as it was; another start says how to go on, with it or without it")
    }

    /// What was found, how to mend it, and what adopting means.
    fn words(&self, misfit: Misfit) -> (String, &'static str, &'static str) {
        let Self { pipeline, wanted: Binding { target, source }, .. } = self;
        match misfit {
            Misfit::NoProgress if self.has_begun => (
                format!("pipeline \"{pipeline}\" was begun on {target}, and its progress has lost all shards"),
                "restore the progress that was made with it",
                BEGINS_ANEW,
            ),
            Misfit::NoProgress => (
                format!("{target} has something in it, and pipeline \"{pipeline}\" has no progress that belongs to it"),
                "restore the progress that was made with it, or name an empty target",
                BEGINS_ANEW,
            ),
            Misfit::ProgressGone => (
                format!("part of the progress of pipeline \"{pipeline}\", by which it wrote to {target}, is gone"),
                "restore the progress as it was",
                "the pipeline goes on with what is left of its progress, and the rest begins anew where `start` says: changes that \
                 were carried before may come again, and what is not read anew stays missing",
            ),
            Misfit::OtherPipeline => (
                format!(
                    "{target} belongs to pipeline \"{}\", so pipeline \"{pipeline}\" may not write to it",
                    self.newer_pipeline.as_deref().unwrap_or_default()
                ),
                "name another target",
                "it belongs to this pipeline then, the other one is refused at its next start, and what that one has written \
                 stays",
            ),
            Misfit::OtherSource => (
                format!(
                    "the progress of pipeline \"{pipeline}\" is of table {}, and now it is to read table {source}",
                    self.bound.as_ref().map_or("", |bound| &bound.source)
                ),
                "name the table as before, or give this pipeline another name and target",
                "what the other table left in the target stays there",
            ),
            Misfit::OtherTarget => (
                format!(
                    "pipeline \"{pipeline}\" has written to {}, and now its file names {target}",
                    self.bound.as_ref().map_or("", |bound| &bound.target)
                ),
                "name the target as before, or give this pipeline another name to begin anew",
                "the pipeline goes on where its progress is; what it wrote before is not in the new target unless you bring it \
                 there",
            ),
            Misfit::Missing => (
                format!("{target} does not exist, although pipeline \"{pipeline}\" has written to it"),
                "restore it",
                "the pipeline goes on where its progress is, with an empty target: what it wrote before is missing there",
            ),
            Misfit::Ahead => (
                format!(
                    "{target} has more in it than one commit behind what the progress of pipeline \"{pipeline}\" knows of: the progress \
                     is older, or somebody else wrote"
                ),
                "restore the progress that belongs to it",
                "nothing is cut off; the pipeline goes on where its progress is, and what it carries again stands there twice",
            ),
            Misfit::Replaced => (
                format!(
                    "{target} is not as pipeline \"{pipeline}\" left it: it was made again, or has lost what it had"
                ),
                "restore it together with the progress",
                "the pipeline goes on where its progress is; what the target has lost stays missing there",
            ),
        }
    }
}

impl Misfit {
    /// The stable code, the same in every sink.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoProgress => "sink.target_without_progress",
            Self::ProgressGone => "sink.progress_gone",
            Self::OtherPipeline => "sink.target_taken",
            Self::OtherSource => "sink.source_changed",
            Self::OtherTarget => "sink.target_changed",
            Self::Missing => "sink.target_missing",
            Self::Replaced => "sink.target_replaced",
            Self::Ahead => "sink.target_ahead",
        }
    }
}
