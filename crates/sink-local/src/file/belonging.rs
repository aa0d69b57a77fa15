//! A data file and its progress belong together (I11).

use std::path::Path;

use sqlx::sqlite::SqliteConnection;
use tailwater_model::{Binding, Fit, KeySchema, Misfit, PipelineIdentity, TargetFacts, Trouble, TroubleKind};

use super::data_file::DataLook;
use super::recorded::{self, Recorded};
use super::{FileSettings, progress_path};
use crate::database::{Access, Fault, begin, closed, connect};
use crate::progress::{LaneClaim, TargetLook, bind, confirm, leave_salt, migrate, target_facts};

/// Holds the file and the progress that stands for `recorded` bytes of it to one another (I11), and binds the progress of a claim to
/// it: what nothing is recorded of, or what is adopted, stands for the whole file. Without a claim it only looks. A refusal leaves its
/// salt.
pub(super) async fn bind_to_file(
    settings: &FileSettings,
    identity: &PipelineIdentity,
    keys: &KeySchema,
    (recorded, look): (Option<Recorded>, DataLook),
    claim: Option<&LaneClaim>,
) -> Result<(), Trouble> {
    let path = progress_path(&settings.path);
    let wanted = Binding::new(format!("the file {}", settings.path.display()), identity, keys);
    let held = async {
        let mut connection = connect(&path, Access::Create).await?;
        let held = hold(&mut connection, settings, wanted, (recorded, look), (identity.name.as_str(), claim)).await;
        closed(connection, held).await
    };
    held.await.map_err(|fault: Fault| fault.into_trouble(&path))
}

async fn hold(
    connection: &mut SqliteConnection,
    settings: &FileSettings,
    wanted: Binding,
    (recorded, look): (Option<Recorded>, DataLook),
    (pipeline, claim): (&str, Option<&LaneClaim>),
) -> Result<(), Fault> {
    let mut transaction = begin(connection).await?;
    migrate(&mut transaction).await?;
    let unmarked = TargetLook { state: look.state, keeps_rows: false, marks: Vec::new() };
    let stored = target_facts(&mut transaction, pipeline, wanted.clone(), &unmarked).await?;
    // A file may be moved, together with its progress.
    let bound = stored.bound.clone().map(|bound| Binding { target: wanted.target.clone(), ..bound });
    let target = TargetFacts {
        bound,
        has_progress: recorded.is_some() && stored.has_progress,
        has_written: stored.has_written || recorded.is_some_and(|recorded| recorded.length > 0),
        is_another: look.has_lost,
        is_ahead: look.is_ahead,
        ..stored
    };
    let fit = match target.fit(settings.adopt.as_deref()) {
        Ok(fit) => fit,
        Err(misfit) => {
            let refusal =
                target.refusal_with(misfit, &leave_salt(&mut transaction, pipeline).await?, restoring(misfit));
            transaction.commit().await?;
            return Err(Fault::halt(refusal));
        }
    };
    let takes_all = recorded.is_none() || fit == Fit::Adopt;
    if takes_all && look.is_torn {
        return Err(Fault::halt(torn(&settings.path)));
    }
    let Some(claim) = claim else { return Ok(transaction.rollback().await?) };
    if takes_all {
        recorded::store(&mut transaction, claim, look.length).await?;
    }
    match fit {
        Fit::Bound => confirm(&mut transaction, pipeline, target.is_written(fit)).await?,
        Fit::Bind | Fit::Adopt => bind(&mut transaction, pipeline, &wanted, target.is_written(fit)).await?,
    }
    transaction.commit().await?;
    if settings.adopt.is_some() {
        tracing::info!(pipeline, "{}", fit.token_words());
    }
    Ok(())
}

fn restoring(misfit: Misfit) -> &'static str {
    match misfit {
        Misfit::OtherPipeline | Misfit::OtherSource | Misfit::OtherTarget => "",
        _ => " (the data file with the .progress beside it, and with .progress-wal where there is one)",
    }
}

/// What comes next would be joined to it. The token stays good.
fn torn(path: &Path) -> Trouble {
    let message = format!("the last line of the data file {} does not end with a line feed", path.display());
    Trouble::new(TroubleKind::DataAtRisk, "sink.file.torn_line", message)
        .advise("add a line feed, or cut that line off, and start again as you did now")
}
