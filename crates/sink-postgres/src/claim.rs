//! Taking a pipeline over: schema, table and all lanes in one transaction. Every error here is told at once, for at a
//! start somebody is looking; only the locks of an earlier owner are waited for.

use std::sync::Arc;

use tailwater_model::{Claimed, Fit, KeySchema, Misfit, PipelineIdentity, Trouble, TroubleKind};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::brake::WHERE_TO_LOOK;
use crate::lane::{LaneIdentity, MirrorLane, PostgresLane, Shared};
use crate::open::read_only_trouble;
use crate::ownership::{MirrorOwnership, PostgresOwnership};
use crate::session::SqlFault;
use crate::settings::PostgresSettings;
use crate::sql::PostgresServer;
use crate::statements::{Server, Statements, Unready};

/// What a wait for somebody else's locks ends with; the second one where `statement_timeout` is the shorter of the two.
const LOCKED_CODES: [&str; 2] = ["sink.postgres.lock_timeout", "sink.postgres.statement_timeout"];

/// Takes over all lanes of the pipeline: from now on no earlier process can write. Makes the schema `tailwater` and the
/// mirror table when they are missing, and compares the table when it is there. Index is lane.
///
/// # Errors
/// Trouble of kind `Config` for names, another lane count (`sink.lane_count`), a brake on dead letters that this number does
/// not lift (`sink.dead_letter_rate`); of kind `DataAtRisk` where progress and table do not belong together (I11); of kind
/// `Environment` for a table of another shape (`sink.table_shape`) and for everything that the server refuses.
pub async fn claim(
    settings: &PostgresSettings,
    identity: &PipelineIdentity,
    keys: &KeySchema,
) -> Result<Claimed<PostgresLane, PostgresOwnership>, Trouble> {
    claim_on(PostgresServer::new(settings, keys)?, settings, identity, keys).await
}

/// [`claim`] on any server that knows the statements. Of the settings it takes the manner of deleting and the bounds.
///
/// # Errors
/// As for [`claim`].
pub async fn claim_on<S: Server>(
    server: S,
    settings: &PostgresSettings,
    identity: &PipelineIdentity,
    keys: &KeySchema,
) -> Result<Claimed<MirrorLane<S>, MirrorOwnership<S>>, Trouble> {
    let lanes = lane_count(identity)?;
    let owner = take_when_free(&server, settings, (identity, keys), Take::ForGood).await?;
    let place = server.place().to_owned();
    let shared = Arc::new(Shared {
        server,
        keys: keys.clone(),
        delete: settings.delete,
        table: format!("{}.{}", settings.schema, settings.table),
        statement_timeout: settings.statement_timeout,
        dead_letters_per_minute_max: settings.dead_letters_per_minute_max,
    });
    let pipeline = Arc::new(identity.clone());
    let identity = |number| LaneIdentity::new(Arc::clone(&pipeline), number, &owner, &place);
    let ownership = MirrorOwnership::new(identity(0), Arc::clone(&shared));
    let lanes = (0..lanes).map(|number| MirrorLane::new(identity(number), Arc::clone(&shared))).collect();
    Ok(Claimed { lanes, ownership })
}

/// Whether the pipeline could be claimed. Takes nothing from anybody, and leaves everything as it is; but a refusal that may be
/// lifted by a token stores what that is made of.
///
/// # Errors
/// As for [`claim`].
pub async fn check_claim(
    settings: &PostgresSettings,
    identity: &PipelineIdentity,
    keys: &KeySchema,
) -> Result<(), Trouble> {
    let server = PostgresServer::new(settings, keys)?;
    take_when_free(&server, settings, (identity, keys), Take::AndGiveBack).await.map(drop)
}

/// Whether a claim is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Take {
    ForGood,
    /// To see whether it could be made.
    AndGiveBack,
}

/// A claim that was made.
#[derive(Clone, Debug)]
pub(crate) struct OwnClaim {
    /// Random mark of whoever made it.
    pub(crate) owner: String,
    /// Each is greater than the one before.
    pub(crate) number: i64,
}

/// Takes the pipeline, again and again while the rows are locked. An owner that was frozen or cut off inside its transaction keeps its locks until
/// the server ends that session: after one statement and one silence, each of which may last `statement_timeout`. So a
/// take-over needs nobody.
async fn take_when_free<S: Server>(
    server: &S,
    settings: &PostgresSettings,
    (identity, keys): (&PipelineIdentity, &KeySchema),
    how: Take,
) -> Result<OwnClaim, Trouble> {
    let place = server.place();
    let deadline = Instant::now() + 2 * settings.statement_timeout + settings.lock_timeout;
    loop {
        let mut session = Box::pin(server.connect(&identity.name, "claim"))
            .await
            .map_err(|fault| fault.trouble("connecting", place))?;
        let trouble = match Box::pin(take(&mut session, settings, (identity, keys), place, how)).await {
            Ok(owner) => return Ok(owner),
            Err(fault) => fault.trouble(place),
        };
        if !LOCKED_CODES.contains(&trouble.code) {
            return Err(trouble);
        }
        if Instant::now() >= deadline {
            return Err(trouble.advise(
                "another session keeps the pipeline's rows locked: pg_blocking_pids and pg_stat_activity show it; end it \
                 and start again",
            ));
        }
        // Each try has waited for `lock_timeout` or `statement_timeout` already: no pause is needed.
        warn!(code = trouble.code, "{trouble}; an earlier owner holds the pipeline: trying again");
    }
}

fn lane_count(identity: &PipelineIdentity) -> Result<i32, Trouble> {
    i32::try_from(identity.lanes).ok().filter(|lanes| *lanes > 0).ok_or_else(|| {
        Trouble::new(TroubleKind::Config, "sink.lane_count", format!("{} lanes are not possible", identity.lanes))
            .advise("set lanes to 1 or more")
    })
}

impl Unready {
    fn trouble(self, place: &str) -> Trouble {
        match self {
            Self::Sql(fault) => fault.trouble("claiming the pipeline", place),
            Self::Told(trouble) => trouble,
        }
    }
}

impl From<SqlFault> for Unready {
    fn from(fault: SqlFault) -> Self {
        Self::Sql(fault)
    }
}

/// One transaction. Any error leaves by `?` and drops the connection, which rolls back.
async fn take<S: Statements>(
    session: &mut S,
    settings: &PostgresSettings,
    (identity, keys): (&PipelineIdentity, &KeySchema),
    place: &str,
    how: Take,
) -> Result<OwnClaim, Unready> {
    let lanes = lane_count(identity).map_err(Unready::Told)?;
    session.begin().await?;
    if let Some(trouble) = read_only_trouble(session.write_access().await?, place) {
        return Err(Unready::Told(trouble));
    }
    session.prepare().await?;
    let target = session.target_facts(identity, keys, settings.delete).await?;
    let fit = match target.fit(settings.adopt.as_deref()) {
        Ok(fit) => fit,
        Err(misfit) => {
            // Nothing else was written.
            let salt = session.leave_salt(&identity.name).await?;
            session.commit().await?;
            return Err(Unready::Told(target.refusal_with(misfit, &salt, restoring(misfit))));
        }
    };
    session.make_target(identity).await?;
    check_lane_count(session.lane_count(&identity.name).await?, identity)?;
    let owner = session.new_owner().await?;
    session.take_lanes(&identity.name, lanes, &owner).await?;
    // Only now: no lane of an earlier owner can store a brake any more.
    let per_minute_max = settings.dead_letters_per_minute_max;
    if let Some(brake) = session.lift_brakes(&identity.name, per_minute_max).await? {
        return Err(Unready::Told(brake.trouble(&identity.name, per_minute_max, WHERE_TO_LOOK)));
    }
    let number = session.own(&identity.name, &owner).await?;
    session.add_stream(identity).await?;
    match fit {
        Fit::Bound => session.confirm(&identity.name, target.is_written(fit)).await?,
        Fit::Bind | Fit::Adopt => session.bind(&identity.name, &target.wanted, target.is_written(fit)).await?,
    }
    match how {
        Take::ForGood => session.commit().await?,
        Take::AndGiveBack => session.rollback().await?,
    }
    if how == Take::ForGood && settings.adopt.is_some() {
        info!(pipeline = identity.name.as_str(), "{}", fit.token_words());
    }
    Ok(OwnClaim { owner, number })
}

/// A dump is read into a new table, whose oid is another one; and the refused start has made the schema for its salt.
fn restoring(misfit: Misfit) -> &'static str {
    match misfit {
        Misfit::NoProgress => {
            " (`drop schema tailwater cascade` before it is read from a dump, unless other pipelines have progress there)"
        }
        Misfit::Missing | Misfit::Replaced => {
            "; what was read from a dump is another table to Postgres, so the next start tells a token for it: write that one"
        }
        _ => "",
    }
}

fn check_lane_count(stored: i64, identity: &PipelineIdentity) -> Result<(), Unready> {
    if stored == 0 || stored == i64::from(identity.lanes) {
        return Ok(());
    }
    let trouble = Trouble::new(
        TroubleKind::Config,
        "sink.lane_count",
        format!(
            "pipeline \"{}\" was started with {stored} lanes, and its file says {}: shards are dealt to lanes by this number",
            identity.name, identity.lanes
        ),
    );
    Err(Unready::Told(trouble.advise(format!(
        "set lanes = {stored} to go on. Another number means to begin anew for now, where `start` says: \
         stop the pipeline and delete its rows from tailwater.lanes, tailwater.streams and tailwater.shards; \
         the next start tells how the table is adopted"
    ))))
}
