"""What watching a cluster comes to: what was seen, what is wrong, why, and what to do. Pure: it does none of it."""
