//! Who owns a pipeline: shown, looked at and handed over, through a session of its own beside those of the lanes.

use std::sync::Arc;

use tailwater_model::{Owner, Ownership, Trouble};

use crate::fence::{Holder, fenced};
use crate::lane::{LaneIdentity, Shared};
use crate::session::SqlFault;
use crate::sql::PostgresServer;
use crate::statements::{Answer, Server, Statements, StoredOwner};

/// The claim of a pipeline on PostgreSQL.
pub type PostgresOwnership = MirrorOwnership<PostgresServer>;

/// The claim of a pipeline, with a session that is made when it is first needed, and anew after any fault.
pub struct MirrorOwnership<S: Server> {
    /// Its first lane: every lane has the claim.
    lane: LaneIdentity,
    shared: Arc<Shared<S>>,
    /// Taken out as long as it is used: a future that is dropped half-way leaves nothing behind.
    session: Option<S::Session>,
}

impl<S: Server> std::fmt::Debug for MirrorOwnership<S> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the settings and the connection, which know the password.
        out.debug_struct("MirrorOwnership").field("lane", &self.lane).finish_non_exhaustive()
    }
}

impl<S: Server> MirrorOwnership<S> {
    pub(crate) fn new(lane: LaneIdentity, shared: Arc<Shared<S>>) -> Self {
        Self { lane, shared, session: None }
    }

    async fn session(&mut self) -> Answer<S::Session> {
        match self.session.take() {
            Some(session) => Ok(session),
            None => self.shared.server.connect(&self.lane.pipeline.name, "owner").await,
        }
    }

    /// Who holds the pipeline, after life was shown where it is ours.
    async fn try_show_life(&mut self) -> Answer<Holder> {
        let mut session = self.session().await?;
        session.begin().await?;
        let holder = if session.show_life(&self.lane).await? { Holder::Us } else { session.holder(&self.lane).await? };
        session.commit().await?;
        self.session = Some(session);
        Ok(holder)
    }

    async fn try_look(&mut self) -> Answer<Option<StoredOwner>> {
        let mut session = self.session().await?;
        session.begin().await?;
        let stored = session.owner(&self.lane.pipeline.name).await?;
        session.commit().await?;
        self.session = Some(session);
        Ok(stored)
    }

    async fn try_release(&mut self) -> Answer<()> {
        let mut session = self.session().await?;
        session.begin().await?;
        session.hand_over(&self.lane).await?;
        session.commit().await
    }

    fn trouble(&self, doing: &str, fault: &SqlFault) -> Trouble {
        fault.trouble(&format!("{doing} of pipeline \"{}\"", self.lane.pipeline.name), self.lane.place())
    }
}

impl<S: Server> Ownership for MirrorOwnership<S> {
    fn mark(&self) -> &str {
        self.lane.owner()
    }

    async fn show_life(&mut self) -> Result<(), Trouble> {
        match Box::pin(self.try_show_life()).await {
            Ok(Holder::Us) => Ok(()),
            Ok(holder) => Err(fenced(&self.lane, holder).into_trouble()),
            Err(fault) => Err(self.trouble("showing the life", &fault)),
        }
    }

    async fn owner(&mut self) -> Result<Owner, Trouble> {
        match Box::pin(self.try_look()).await {
            Ok(None | Some(StoredOwner { released: true, .. })) => Ok(Owner::Nobody),
            Ok(Some(StoredOwner { owner, claim, life, .. })) => {
                Ok(Owner::Somebody { life: format!("{owner} {claim} {life}"), mark: owner })
            }
            Err(fault) if fault.is_of_missing_table() => Ok(Owner::Nobody),
            Err(fault) => Err(self.trouble("looking at the owner", &fault)),
        }
    }

    async fn release(&mut self) -> Result<(), Trouble> {
        Box::pin(self.try_release()).await.map_err(|fault| self.trouble("handing over the lanes", &fault))
    }
}
