"""Will these nodes run these ranks? Checks with stable ids, from what one round trip a node showed. Pure."""
