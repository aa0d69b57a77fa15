//! The simulated service over HTTP: as a plain client sees it, as boto3 does, and as the engine's own client does.

mod aws;
mod boto3;
mod control;
mod engine;
mod framing;
mod ground;
mod replay;
