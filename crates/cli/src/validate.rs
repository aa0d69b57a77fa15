//! `tailwater validate`: everything that can be known about pipeline files without connecting to anything.

use std::io::IsTerminal;

use tailwater_model::TroubleKind;

use crate::arguments::ValidateArguments;
use crate::configuration;
use crate::output::{self, CommandFailure, FindingsJson, Severity, Style, Summary, printable};

/// Checks the files and prints every finding: the findings are the answer.
pub fn run(arguments: &ValidateArguments) -> Result<(), CommandFailure> {
    let load = if arguments.without_secrets { configuration::load_without_secrets } else { configuration::load };
    let loaded = load(&arguments.paths);
    let summary = Summary::of(&loaded.findings, loaded.specs.len() + loaded.unmade);
    let fine = !loaded.has_faults();
    let told = if arguments.json {
        output::answer_json("validate", fine, summary.to_string(), &FindingsJson { findings: &loaded.findings })
    } else {
        let style = Style::of(std::io::stdout().is_terminal());
        let mut text = String::new();
        for spec in &loaded.specs {
            let mark = style.mark(Severity::Fine);
            let file = printable(&spec.file);
            text.push_str(&format!("{mark} {file}  pipeline {} into {}\n", spec.name, spec.sink.name()));
        }
        output::push_report(&loaded.findings, &summary, style, &mut text);
        output::answer_styled(text.trim_end())
    };
    // What is wrong with the files decides the exit code, whoever reads it.
    if fine { told.map_err(CommandFailure::from) } else { Err(CommandFailure::Told(TroubleKind::Config)) }
}
