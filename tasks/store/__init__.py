"""The record: one row a job, in SQLite or PostgreSQL."""
