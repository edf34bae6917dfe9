"""The modules that blueprints stand for: plain compositions of torch.nn, traceable by torch.fx and torch.export."""
