"""What befalls ranks and nodes, and who notices: on a lab of a test run, by the command line."""
