//! The command as its users run it.

mod convert;
mod demo;
mod faults;
mod kill;
mod load;
mod postgres;
mod support;
