"""The machinery of the walkthroughs: sections, comparison, checks, figures, command line, documents."""
