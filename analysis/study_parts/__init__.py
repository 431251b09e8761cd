"""The parts of analysis/study.py: the design, its runs, their table, the effects, the figures and the documents."""
