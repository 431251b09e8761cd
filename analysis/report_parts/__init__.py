"""The parts of analysis/report.py: a module for each section of the page, its charts, style sheet and script."""
