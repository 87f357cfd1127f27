"""Makes kernel tables: a search that measures little, on one GPU or many."""
