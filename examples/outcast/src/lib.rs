//! Outcast.
