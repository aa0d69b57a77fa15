//! Names and ARNs of tables. AWS takes either where a table is named; the embedded database knows names alone, and its ARNs
//! have a region of its own.

use dynoxide::streams::table_arn;
use serde_json::{Map, Value};

use crate::service::Service;

/// Puts names where a request names tables of this account by their ARNs.
pub(super) fn take_names(request: &mut Map<String, Value>, service: &Service) {
    let ours = service.table_arn("");
    take_name(request, &ours);
    if let Some(Value::Object(items)) = request.get_mut("RequestItems") {
        let named = std::mem::take(items).into_iter().map(|(table, rest)| (name_of(table, &ours), rest));
        *items = named.collect();
    }
    let transacted = request.get_mut("TransactItems").and_then(Value::as_array_mut);
    for kinds in transacted.into_iter().flatten().filter_map(Value::as_object_mut) {
        kinds.values_mut().filter_map(Value::as_object_mut).for_each(|item| take_name(item, &ours));
    }
}

fn take_name(request: &mut Map<String, Value>, ours: &str) {
    if let Some(Value::String(table)) = request.get_mut("TableName") {
        *table = name_of(std::mem::take(table), ours);
    }
}

fn name_of(table: String, ours: &str) -> String {
    table.strip_prefix(ours).filter(|name| !name.contains('/')).map(str::to_owned).unwrap_or(table)
}

/// Moves every ARN of a table's description (its own, its indexes') to this account.
pub(super) fn move_arns(description: &mut Map<String, Value>, service: &Service) {
    let (theirs, ours) = (table_arn(""), service.table_arn(""));
    for (field, value) in description {
        match value {
            Value::String(arn) if field.ends_with("Arn") => {
                if let Some(rest) = arn.strip_prefix(&theirs) {
                    *arn = format!("{ours}{rest}");
                }
            }
            Value::Object(inner) => move_arns(inner, service),
            Value::Array(list) => {
                list.iter_mut().filter_map(Value::as_object_mut).for_each(|inner| move_arns(inner, service));
            }
            _ => {}
        }
    }
}
