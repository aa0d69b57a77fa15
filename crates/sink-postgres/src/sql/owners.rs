//! Statements about who owns a pipeline.

use sqlx::Row;

use crate::inline::Inline;
use crate::lane::LaneIdentity;
use crate::session::{Session, SqlFault};
use crate::statements::StoredOwner;

const OWN_SQL: &str = "
insert into tailwater.owners (pipeline, owner, claim, life) values ($1, $2::uuid, 1, 1)
on conflict (pipeline) do update set owner = excluded.owner, claim = owners.claim + 1, life = owners.life + 1,
    released = false, claimed_at = now(), shown_at = now()
returning claim";

const SHOW_LIFE_SQL: &str = "
update tailwater.owners set life = life + 1, shown_at = now() where pipeline = $1 and owner = $2::uuid returning 1";

const HAND_OVER_SQL: &str = "
update tailwater.owners set released = true where pipeline = $1 and owner = $2::uuid";

const OWNER_SQL: &str = "
select owner::text, claim, life, released from tailwater.owners where pipeline = $1";

pub(super) async fn own(session: &mut Session, pipeline: &str, owner: &str) -> Result<i64, SqlFault> {
    let rows = session.ask(Inline::new(OWN_SQL).text(pipeline).text(owner).sql()).await?;
    Ok(rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?)
}

pub(super) async fn show_life(session: &mut Session, lane: &LaneIdentity) -> Result<bool, SqlFault> {
    let show = Inline::new(SHOW_LIFE_SQL).text(&lane.pipeline.name).text(&lane.owner);
    Ok(!session.ask(show.sql()).await?.is_empty())
}

pub(super) async fn hand_over(session: &mut Session, lane: &LaneIdentity) -> Result<(), SqlFault> {
    session.run(Inline::new(HAND_OVER_SQL).text(&lane.pipeline.name).text(&lane.owner).sql()).await
}

pub(super) async fn owner(session: &mut Session, pipeline: &str) -> Result<Option<StoredOwner>, SqlFault> {
    let rows = session.ask(Inline::new(OWNER_SQL).text(pipeline).sql()).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(StoredOwner {
        owner: row.try_get(0)?,
        claim: row.try_get(1)?,
        life: row.try_get(2)?,
        released: row.try_get(3)?,
    }))
}
