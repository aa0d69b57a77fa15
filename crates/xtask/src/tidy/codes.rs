//! Codes that sinks share: one code and one kind for one thing, whichever sink meets it. The kind is the exit code, and scripts
//! go by both.

use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Expr, ExprCall, ExprLit, ExprPath, Lit};

use super::Finding;

/// All of them, with the kind of trouble that each is. A code of one sink alone has its name in it: `sink.kafka.timeout`.
const SHARED: [(&str, &str); 10] = [
    ("sink.claim_lost", "ClaimLost"),
    ("sink.dead_letter_rate", "Config"),
    ("sink.lane_count", "Config"),
    ("sink.newer_schema", "Environment"),
    ("sink.not_open", "Runtime"),
    ("sink.progress_missing", "DataAtRisk"),
    ("sink.progress_unreadable", "DataAtRisk"),
    ("sink.step_refused", "Runtime"),
    ("sink.table_shape", "Environment"),
    ("sink.taken_over", "Replaced"),
];

/// Holds one file of a sink to the list.
pub(super) fn check(path: &Path, content: &str) -> Vec<Finding> {
    let is_of_sink = path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("sink-"));
    // What is no Rust is told by another rule.
    let Some(file) = is_of_sink.then(|| syn::parse_file(content).ok()).flatten() else { return Vec::new() };
    let mut visitor = Visitor { path, findings: Vec::new() };
    visitor.visit_file(&file);
    visitor.findings
}

struct Visitor<'a> {
    path: &'a Path,
    findings: Vec<Finding>,
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if let Some((kind, code, line)) = told(call) {
            let known = SHARED.iter().find(|(shared, _)| *shared == code);
            if known.is_none_or(|(_, shared)| *shared != kind) {
                let what = format!("`{code}` is told as {kind}");
                let to_do =
                    "take the code and the kind that another sink has for it (tidy/codes.rs), or name this sink in it";
                self.findings.push(Finding::error(self.path, line, what, to_do));
            }
        }
        visit::visit_expr_call(self, call);
    }
}

/// Kind, code and line of a `Trouble::new(TroubleKind::…, "sink.…", …)` whose code names no sink.
fn told(call: &ExprCall) -> Option<(String, String, usize)> {
    let arguments: Vec<&Expr> = call.args.iter().collect();
    let [kind, Expr::Lit(ExprLit { lit: Lit::Str(code), .. }), ..] = arguments.as_slice() else { return None };
    let (kind, text) = (names(kind)?.pop()?, code.value());
    let is_trouble = names(&call.func)?.ends_with(&["Trouble".to_owned(), "new".to_owned()]);
    let is_shared = text.strip_prefix("sink.").is_some_and(|rest| !rest.contains('.'));
    (is_trouble && is_shared).then(|| (kind, text, code.span().start().line))
}

/// The names of a path such as `Trouble::new`.
fn names(expression: &Expr) -> Option<Vec<String>> {
    let Expr::Path(ExprPath { path, .. }) = expression else { return None };
    Some(path.segments.iter().map(|segment| segment.ident.to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_has_one_code_and_one_kind_in_every_sink() {
        let finds = |path: &str, told: &str| {
            let content = format!("fn a() -> Trouble {{\n    Trouble::new({told}, message).advise(\"\")\n}}\n");
            check(Path::new(path), &content).into_iter().map(|finding| (finding.line, finding.what)).collect::<Vec<_>>()
        };
        let kafka = "crates/sink-kafka/src/a.rs";
        for (code, kind) in SHARED {
            assert!(finds(kafka, &format!("TroubleKind::{kind}, \"{code}\"")).is_empty(), "{code}");
        }
        let other_kind = finds(kafka, "TroubleKind::Config, \"sink.taken_over\"");
        assert_eq!(other_kind, [(2, "`sink.taken_over` is told as Config".to_owned())]);
        let other_code = finds(kafka, "TroubleKind::Runtime, \"sink.steps_broken\"");
        assert_eq!(other_code, [(2, "`sink.steps_broken` is told as Runtime".to_owned())]);
        assert!(finds(kafka, "TroubleKind::Config, \"sink.kafka.property\"").is_empty());
        assert!(finds("crates/cli/src/a.rs", "TroubleKind::Config, \"sink.keeps_nothing\"").is_empty());
    }
}
