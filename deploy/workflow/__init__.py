"""What the commands do, step by step, over the rooms below; each is a generator of events and prints nothing."""
