"""Model weights on nodes: from a hub to one of them, and from node to node. Knows no SSH and serves no model."""
