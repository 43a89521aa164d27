//! The store as a plain in-memory model.
