//! The pipeline against real servers. One program, not one for each file: it is linked once, and while one test waits for a
//! server the others go on.

mod aws_environment;
mod bad_file;
mod bad_surroundings;
mod bounded_runs;
mod carry;
mod commands;
mod commit_cut;
mod demo;
mod examples;
mod followed;
mod harness;
mod kafka_carry;
mod kafka_cluster;
mod kafka_harness;
mod kafka_kill;
mod kafka_topics;
mod kafka_two_owners;
mod kill;
mod local_sinks;
mod permissions;
mod postgres_faults;
mod restart;
mod servers;
mod stream_replaced;
mod transforms;
mod two_owners;
mod unread_output;
