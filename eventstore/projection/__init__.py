"""Projections: events to rows in DuckDB, rows and position in one transaction."""
