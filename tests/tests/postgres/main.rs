//! Pipelines into Postgres, on real servers. One program for all: most of the time these tests wait, and so they wait
//! together. They begin in the order of their names, and the longest waits have the first names.

mod another_owner;
mod another_stream;
mod carry;
mod commit_cut;
mod faults;
mod kill;
mod restart;
mod transforms;
