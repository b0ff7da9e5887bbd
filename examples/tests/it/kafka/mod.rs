//! Kafka, a real one: messages into PostgreSQL and files, and rows out into topics.

mod cluster;
mod read;
mod write;
