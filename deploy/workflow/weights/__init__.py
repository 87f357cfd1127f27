"""`model`: the steps of its commands, as generators of events."""
