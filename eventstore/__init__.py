"""An event store on NATS JetStream, with projections into DuckDB; knows events, never seeds."""
