//! Bulk writers for Arrow batches: files and databases, every row accounted for.
