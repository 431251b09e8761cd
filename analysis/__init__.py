"""Questions to a run, one a script. Reads what the loop wrote; never trains."""
