//! Rules about the Rust in a file: how long a function may be, and that every exception says why.

use std::path::Path;

use proc_macro2::Span;
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, ImplItemFn, ItemFn, Meta, Signature, Token, TraitItemFn};

use super::Finding;

/// The most lines that a function may have, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Holds one file's Rust to the rules.
pub(super) fn check(path: &Path, content: &str) -> Vec<Finding> {
    let file = match syn::parse_file(content) {
        Ok(file) => file,
        Err(error) => {
            let line = error.span().start().line;
            return vec![Finding::error(path, line, format!("this is not Rust ({error})"), "make it compile")];
        }
    };
    let mut visitor = Visitor { path, findings: Vec::new() };
    visitor.visit_file(&file);
    visitor.findings
}

struct Visitor<'a> {
    path: &'a Path,
    findings: Vec<Finding>,
}

impl Visitor<'_> {
    fn measure(&mut self, signature: &Signature, block: &Block) {
        let first = signature.fn_token.span.start().line;
        let last = block.brace_token.span.close().end().line;
        let lines = last + 1 - first;
        if lines > FUNCTION_LINES_MAX {
            let what = format!("function `{}` has {lines} lines of at most {FUNCTION_LINES_MAX}", signature.ident);
            self.findings.push(Finding::error(self.path, first, what, "take out a step that has a name"));
        }
    }

    fn want_reason(&mut self, meta: &Meta, span: Span) {
        let Meta::List(list) = meta else { return };
        let Ok(arguments) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else { return };
        if list.path.is_ident("cfg_attr") {
            for nested in &arguments {
                self.want_reason(nested, span);
            }
        }
        let makes_exception = list.path.is_ident("allow") || list.path.is_ident("expect");
        let says_why = |argument: &Meta| matches!(argument, Meta::NameValue(pair) if pair.path.is_ident("reason"));
        if makes_exception && !arguments.iter().any(says_why) {
            let to_do = "add `reason = \"...\"`, or repair what the lint finds";
            self.findings.push(Finding::error(self.path, span.start().line, "an exception without a reason", to_do));
        }
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(block) = &function.default {
            self.measure(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        self.want_reason(&attribute.meta, attribute.pound_token.span);
        visit::visit_attribute(self, attribute);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(content: &str) -> Vec<(usize, String)> {
        check(Path::new("a.rs"), content).into_iter().map(|finding| (finding.line, finding.what)).collect()
    }

    /// A function of this many lines, at the given depth of wrapping.
    fn function(lines: usize) -> String {
        format!("fn long() {{\n{}}}\n", "    let _ = 1;\n".repeat(lines - 2))
    }

    #[test]
    fn a_function_may_have_seventy_lines() {
        assert!(findings(&function(70)).is_empty());
    }

    #[test]
    fn a_longer_function_is_found_wherever_it_is() {
        let long = function(71);
        let what = "function `long` has 71 lines of at most 70".to_owned();
        assert_eq!(findings(&long), [(1, what.clone())]);
        assert_eq!(findings(&format!("/// Doc.\n{long}")), [(2, what.clone())]);
        assert_eq!(findings(&format!("impl A {{\n{long}}}\n")), [(2, what.clone())]);
        assert_eq!(findings(&format!("trait A {{\n{long}}}\n")), [(2, what.clone())]);
        assert_eq!(findings(&format!("mod tests {{\nmod more {{\n{long}}}\n}}\n")), [(3, what)]);
    }

    #[test]
    fn an_exception_says_why() {
        let what = "an exception without a reason".to_owned();
        assert_eq!(findings("\n#[allow(dead_code)]\nfn a() {}\n"), [(2, what.clone())]);
        assert_eq!(findings("#![expect(dead_code)]\n"), [(1, what.clone())]);
        assert_eq!(findings("fn a() {\n    #[allow(unused)]\n    let b = 1;\n}\n"), [(2, what.clone())]);
        assert_eq!(findings("#[cfg_attr(test, allow(dead_code))]\nfn a() {}\n"), [(1, what)]);
        assert!(findings("#[allow(dead_code, reason = \"because\")]\nfn a() {}\n").is_empty());
        assert!(findings("#[cfg_attr(test, expect(dead_code, reason = \"because\"))]\nfn a() {}\n").is_empty());
        assert!(findings("#[derive(Debug)]\n#[cfg(test)]\nstruct A;\n").is_empty());
    }

    #[test]
    fn broken_rust_is_told() {
        assert_eq!(findings("fn a( {}\n").len(), 1);
    }
}
