"""`tune`: what is asked, where it is measured, and what is made of it."""
