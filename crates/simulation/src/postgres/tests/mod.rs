//! The manners, each as an interleaving in paused time.

mod interleavings;
mod statements;
