"""What `bench run` can measure; each module is one suite."""
