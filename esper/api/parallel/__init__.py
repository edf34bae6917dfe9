"""Several processes that train one model on different data: the first decides and records, the others follow."""
