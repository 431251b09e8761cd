"""What belongs to one run: its folder, logs, checkpoints, terminal lines, signals, and how it is resumed."""
