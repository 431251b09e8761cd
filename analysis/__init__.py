"""Questions to a run, one a script. Reads what the loop wrote; the study and the fault collection also train."""
