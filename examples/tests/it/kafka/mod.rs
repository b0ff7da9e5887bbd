//! Kafka, a real one: messages into PostgreSQL and files, and rows out into topics.

mod cluster;
mod connect;
mod dead_letters;
mod exactly_once;
mod groups;
mod metadata;
mod read;
mod rest;
mod write;
