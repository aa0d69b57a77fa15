//! A mirror table on the model, as a lane reaches it.

use std::sync::Arc;
use std::time::Duration;

use tailwater_model::KeySchema;
use tailwater_sink_postgres::{Answer, PostgresSettings, Server};

use super::backend::SessionTimes;
use super::server::ModelServer;
use super::session::ModelSession;
use super::statements::{ModelStatements, fault};

/// How much later than the server's own time-out a client stops waiting, as the sink does.
const ANSWER_GRACE: Duration = Duration::from_secs(10);

/// A mirror table on a [`ModelServer`].
#[derive(Clone, Debug)]
pub struct ModelTable {
    server: ModelServer,
    table: Arc<str>,
    times: SessionTimes,
    connect_timeout: Duration,
}

impl ModelTable {
    /// The table of these settings, for items with these keys.
    pub fn new(server: &ModelServer, settings: &PostgresSettings, keys: &KeySchema) -> Self {
        let table: Arc<str> = format!("\"{}\".\"{}\"", settings.schema, settings.table).into();
        server.state().tables.insert(Arc::clone(&table), keys.clone());
        let PostgresSettings { statement_timeout, lock_timeout, connect_timeout, .. } = *settings;
        let times = SessionTimes { statement_timeout, lock_timeout };
        Self { server: server.clone(), table, times, connect_timeout }
    }
}

impl Server for ModelTable {
    type Session = ModelStatements;

    fn place(&self) -> &str {
        "the model"
    }

    async fn connect(&self, pipeline: &str, role: &str) -> Answer<ModelStatements> {
        let application = format!("tailwater/{pipeline}/{role}");
        let within = self.times.statement_timeout + ANSWER_GRACE;
        let session = ModelSession::connect(&self.server, application, self.times, self.connect_timeout, within).await;
        Ok(ModelStatements { session: session.map_err(fault)?, table: Arc::clone(&self.table) })
    }
}
