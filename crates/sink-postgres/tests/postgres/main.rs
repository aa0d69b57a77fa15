//! The sink against a real PostgreSQL: every test in a database of its own.

mod claims;
mod commits;
mod dead_letters;
mod fences;
mod ground;
mod older_schema;
mod pooler;
mod progress;
mod recoveries;
mod refusals;
mod tls;
mod users_code;
