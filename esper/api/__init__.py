"""The public face: wrap, attach, unwrap, blueprint, open_run."""
