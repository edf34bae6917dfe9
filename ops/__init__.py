"""How people run Esper and look into it."""
