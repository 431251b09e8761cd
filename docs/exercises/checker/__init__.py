"""The checker of the exercises: runs a learner's file, names a typical mistake, remembers what is done."""
