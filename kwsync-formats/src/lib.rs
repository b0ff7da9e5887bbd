//! Fast zero-copy parsers and encoders between time-series protocols and Arrow batches.
