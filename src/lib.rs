//! kvstore
#![forbid(unsafe_code)]
pub mod keymap;
pub mod model;
