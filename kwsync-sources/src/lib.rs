//! Sources for kwsync pipelines: files, databases and streams as Arrow batches.
