//! The sink against a real PostgreSQL: every test in a database of its own.

mod belonging;
mod brake;
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
mod refused_rows;
mod table_shapes;
mod tls;
mod users_code;
