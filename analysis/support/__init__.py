"""What the analysis scripts share: the command line, reading a run, statistics, figures."""
