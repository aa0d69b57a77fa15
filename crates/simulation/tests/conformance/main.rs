//! What the simulated service must do, one test per fact. A fact's doc comment names its source: AWS's documentation, the
//! tests that others validated against AWS ("validated"), or what was observed in public ("observed").

mod ground;
mod iterators;
mod lineages;
mod listings;
mod pages;
mod records;
mod refusals;
mod streams;
