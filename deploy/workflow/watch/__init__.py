"""The steps of watching a cluster: attend, take down, keep what tells why, start again."""
