//! The suite that compares a database to the model.
