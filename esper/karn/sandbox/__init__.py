"""Where blueprints are watched that were built to do harm: a process of its own, with limits, that may be killed."""
