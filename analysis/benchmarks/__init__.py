"""Whatever times or trains for comparison: throughput, recipes and baselines over several seeds, parts of a recipe."""
