//! Types and contracts of kwsync: schemas, batches with row origin, errors, decoders, sources, sinks and pipelines.
